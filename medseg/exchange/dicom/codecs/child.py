"""DecoderProcess: the parent's end of the child that decodes compressed frames.

A codec is a C library fed with bytes from outside: it may crash, hang or ask for all memory. In a child, that costs
one frame and not the program.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.exchange.dicom.codecs import worker
from medseg.exchange.dicom.codecs.layout import PixelLayout

FRAME_SECONDS = 30.0
"""No believable frame takes longer to decode."""

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; main()"


class DecoderProcess:
    """Decodes compressed frames in a child process, started with the first frame; use it as a context manager."""

    def __init__(self, frame_seconds: float = FRAME_SECONDS) -> None:
        self._frame_seconds = frame_seconds
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def decode(self, codestream: bytes, syntax: str, layout: PixelLayout, where: str) -> NDArray[Any]:
        """The stored values (rows, columns) of one frame; `where` names it in errors.

        Raises InputError where the frame cannot be decoded, crashes the decoder, or takes too long.
        """
        child = self._running()
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("the decoder's pipes are closed")
        timed_out = threading.Event()

        def stop() -> None:
            timed_out.set()
            child.kill()

        clock = threading.Timer(self._frame_seconds, stop)
        clock.start()
        try:
            worker.write_message(child.stdin, {"syntax": syntax, "layout": asdict(layout)}, codestream)
            answer = worker.read_message(child.stdout)
        except (BrokenPipeError, ConnectionResetError):
            answer = None
        finally:
            clock.cancel()
        if answer is None:
            self.close()
            reason = (
                f"took more than {self._frame_seconds:g} s to decode" if timed_out.is_set() else "crashed the decoder"
            )
            raise InputError(f"{where}: its compressed pixel data {reason}: it is damaged. Send the file again.")
        facts, payload = answer
        if "error" in facts:
            raise InputError(
                f"{where}: its compressed pixel data cannot be decoded ({str(facts['error']).rstrip('.')}). "
                "Send the file again."
            )
        return np.frombuffer(payload, dtype=layout.dtype).reshape(layout.rows, layout.columns)

    def close(self) -> None:
        """End the child, where there is one."""
        if self._child is None:
            return
        child, self._child = self._child, None
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        child.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            start = _START.format(module=worker.__name__)
            self._child = subprocess.Popen(
                [sys.executable, "-c", start, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._child
