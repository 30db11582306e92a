"""Native pixels of one compressed frame (PS3.5 8.2, Annex G for RLE); meant to run in the limited child process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from medseg.exchange.dicom.codecs.layout import PixelLayout, stored_values
from medseg.exchange.dicom.codecs.syntaxes import HTJ2K, JPEG, JPEG_2000, JPEG_LS, JPEG_XL, RLE

_J2K_START = b"\xff\x4f\xff\x51"
_RLE_HEADER_BYTES = 64


def _decode_jpeg_2000(codestream: bytes) -> NDArray[Any]:
    return np.asarray(imagecodecs.jpeg2k_decode(codestream, numthreads=1))


def _decode_jpeg(codestream: bytes) -> NDArray[Any]:
    return np.asarray(imagecodecs.jpeg8_decode(codestream))


def _decode_jpeg_ls(codestream: bytes) -> NDArray[Any]:
    return np.asarray(imagecodecs.jpegls_decode(codestream))


def _decode_jpeg_xl(codestream: bytes) -> NDArray[Any]:
    return np.asarray(imagecodecs.jpegxl_decode(codestream, numthreads=1))


DECODERS: dict[str, Callable[[bytes], NDArray[Any]]] = {
    **dict.fromkeys(JPEG, _decode_jpeg),
    **dict.fromkeys(JPEG_LS, _decode_jpeg_ls),
    **dict.fromkeys((*JPEG_2000, *HTJ2K), _decode_jpeg_2000),
    **dict.fromkeys(JPEG_XL, _decode_jpeg_xl),
}
"""Transfer syntaxes and what decodes a frame of theirs; RLE is decoded here."""


ENDED = (*JPEG, *JPEG_LS, *JPEG_2000, *HTJ2K)
END_OF_IMAGE = b"\xff\xd9"
"""The last marker of these streams; some codecs fill up what is missing without a word."""


def decode_frame(codestream: bytes, syntax: str, layout: PixelLayout) -> NDArray[Any]:
    """The stored values (rows, columns) of one frame. Raises ValueError where the stream is not such a frame."""
    if syntax == RLE:
        return stored_values(_decode_rle(codestream, layout), layout)
    if syntax in ENDED and not codestream.rstrip(b"\0").endswith(END_OF_IMAGE):
        raise ValueError("the compressed image does not end with its end marker: it was cut off")
    decoded = DECODERS[syntax](codestream).squeeze()
    if decoded.shape != (layout.rows, layout.columns):
        raise ValueError(
            f"the compressed image is {' x '.join(map(str, decoded.shape))} where the header says "
            f"{layout.rows} x {layout.columns}"
        )
    if not np.issubdtype(decoded.dtype, np.integer):
        raise ValueError(f"the compressed image holds {decoded.dtype} where the header says integers")
    return _as_stored(decoded, codestream, syntax, layout)


def _as_stored(decoded: NDArray[Any], codestream: bytes, syntax: str, layout: PixelLayout) -> NDArray[Any]:
    low, high = int(decoded.min()), int(decoded.max())
    if low < 0:  # a codec that knows signs: the values are final
        if not layout.is_signed or low < -(1 << (layout.bits_stored - 1)):
            raise ValueError(
                f"the compressed image reaches {low}, which the header's {layout.bits_stored} bits cannot hold"
            )
        return decoded.astype(layout.dtype)
    if high >= 1 << layout.bits_stored:
        raise ValueError(
            f"the compressed image reaches {high}, which the header's {layout.bits_stored} bits cannot hold"
        )
    words = decoded.astype(f"u{layout.bits_allocated // 8}")
    if not layout.is_signed or np.issubdtype(decoded.dtype, np.signedinteger):
        return words.view(layout.dtype)
    # unsigned codes of signed numbers: the sign stands in the highest bit of the stream's own precision
    bits = _jpeg_2000_bits(codestream) if syntax in (*JPEG_2000, *HTJ2K) else layout.bits_stored
    shift = layout.bits_allocated - min(bits, layout.bits_stored)
    return (words.view(layout.dtype) << shift) >> shift


def _jpeg_2000_bits(codestream: bytes) -> int:
    """The precision in the SIZ segment (ISO 15444-1 A.5.1), whose Ssiz byte holds bits - 1."""
    start = codestream.find(_J2K_START)
    return (codestream[start + 42] & 0x7F) + 1


def _decode_rle(codestream: bytes, layout: PixelLayout) -> NDArray[Any]:
    """Words of an RLE frame: one PackBits segment for each byte of a pixel, the highest byte first."""
    count = layout.bits_allocated // 8
    if len(codestream) < _RLE_HEADER_BYTES:
        raise ValueError("the RLE frame is shorter than its header")
    header = np.frombuffer(codestream[:_RLE_HEADER_BYTES], dtype="<u4")
    if header[0] != count:
        raise ValueError(f"the RLE frame has {header[0]} segments where {count} belong")
    ends = [*header[2 : count + 1].tolist(), len(codestream)]
    pixels = layout.rows * layout.columns
    planes = np.empty((pixels, count), dtype=np.uint8)
    for segment, (start, end) in enumerate(zip(header[1 : count + 1].tolist(), ends, strict=True)):
        if not _RLE_HEADER_BYTES <= start <= end <= len(codestream):
            raise ValueError("the RLE frame's segments lie outside it")
        plane = np.frombuffer(imagecodecs.packbits_decode(codestream[start:end]), dtype=np.uint8)
        if not pixels <= len(plane) <= pixels + 1:
            raise ValueError(f"an RLE segment holds {len(plane)} pixels where {pixels} belong")
        planes[:, count - 1 - segment] = plane[:pixels]  # little-endian words
    words: NDArray[Any] = planes.reshape(-1).view(f"<u{count}").reshape(layout.rows, layout.columns)
    return words.astype(words.dtype.newbyteorder("="), copy=False)
