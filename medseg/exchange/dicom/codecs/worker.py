"""The child process that decodes: reads frames from stdin, writes their pixels to stdout, under limits it sets itself.

A message is a length (4 bytes, little-endian), a JSON text of that length, and as many bytes as its "size" says.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import IO, Any

MOST_MEMORY_BYTES = 3 << 30
"""Address space of the child: Python, the codecs, and one frame of any believable size."""

_LENGTH = struct.Struct("<I")


def write_message(stream: IO[bytes], facts: dict[str, Any], payload: bytes | memoryview = b"") -> None:
    """Write one message; "size" is filled in."""
    head = json.dumps({**facts, "size": len(payload)}).encode()
    stream.write(_LENGTH.pack(len(head)))
    stream.write(head)
    stream.write(payload)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next message, or None where the stream ends before one is complete."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    head = stream.read(_LENGTH.unpack(length)[0])
    try:
        facts = json.loads(head)
    except ValueError:
        return None
    payload = stream.read(int(facts["size"]))
    return (facts, payload) if len(payload) == int(facts["size"]) else None


def main() -> None:
    """Answer every frame on stdin until it ends."""
    _limit_itself()
    from medseg.exchange.dicom.codecs.decode import decode_frame
    from medseg.exchange.dicom.codecs.layout import PixelLayout

    source, target = sys.stdin.buffer, sys.stdout.buffer
    while (message := read_message(source)) is not None:
        facts, codestream = message
        try:
            pixels = decode_frame(codestream, facts["syntax"], PixelLayout(**facts["layout"]))
        except Exception as error:  # noqa: BLE001 - every codec has errors of its own; all mean "damaged"
            write_message(target, {"error": str(error) or type(error).__name__})
        else:
            write_message(target, {"dtype": pixels.dtype.str}, pixels.tobytes())


def _limit_itself() -> None:
    try:
        import resource
    except ImportError:  # not on Windows: there, the parent's clock is the only limit
        return
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
