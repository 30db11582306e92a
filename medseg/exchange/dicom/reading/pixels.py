"""The stored pixels of a stack's frames: lengths checked against the header, compressed frames decoded in a child."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRBigEndian

from medseg.core.errors import InputError
from medseg.exchange.dicom.codecs.child import DecoderProcess
from medseg.exchange.dicom.codecs.layout import PixelLayout, stored_values
from medseg.exchange.dicom.codecs.syntaxes import DECODED
from medseg.exchange.dicom.elements import DAMAGE, lenient, whole
from medseg.exchange.dicom.files import read_dataset, transfer_syntax
from medseg.exchange.dicom.reading.image_file import Frame

MOST_BYTES = 4 << 30
"""The largest volume that is read, in stored bytes."""

NATIVE_SYNTAXES = (
    "", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
)  # fmt: skip
_FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}


def stored_pixels(frames: tuple[Frame, ...]) -> Iterator[tuple[int, FileDataset, NDArray[Any]]]:
    """Position in `frames`, the dataset, and the stored values (rows, columns) of each, file by file.

    Raises InputError for pixel data that is missing, shorter or longer than the header says, or cannot be decoded.
    """
    _require_room(frames)
    by_file: dict[Path, list[int]] = {}
    for position, frame in enumerate(frames):
        by_file.setdefault(frame.file.path, []).append(position)
    with ExitStack() as cleanup, lenient():
        decoder = cleanup.enter_context(DecoderProcess())
        for path, positions in by_file.items():
            dataset = read_dataset(path, with_pixels=True)
            wanted = [frames[position].number for position in positions]
            for position, pixels in zip(positions, _frames_of(dataset, path, wanted, decoder), strict=True):
                yield position, dataset, pixels


def _require_room(frames: tuple[Frame, ...]) -> None:
    file = frames[0].file
    needed = file.rows * file.columns * len(frames) * max(1, (whole(file.header, "BitsAllocated", "") or 16) // 8)
    if needed > MOST_BYTES:
        raise InputError(
            f"{file.path.name} and its series promise {needed / 2**30:.1f} GiB of pixels; "
            f"at most {MOST_BYTES / 2**30:.0f} GiB are read"
        )


def _frames_of(dataset: FileDataset, path: Path, wanted: list[int], decoder: DecoderProcess) -> Iterator[NDArray[Any]]:
    name = path.name
    for keyword, dtype in _FLOATS.items():
        if keyword in dataset:
            yield from _native(dataset, keyword, np.dtype(dtype), name, wanted)
            return
    if "PixelData" not in dataset:
        raise InputError(f"{name} holds no pixel data: it is truncated, or its pixels were left out. Send it again.")
    layout = _layout(dataset, name)
    syntax = transfer_syntax(dataset)
    if syntax in NATIVE_SYNTAXES:
        for words in _native(dataset, "PixelData", np.dtype(f"u{layout.bits_allocated // 8}"), name, wanted):
            yield stored_values(words, layout)
    elif syntax in DECODED:
        yield from _compressed(dataset, syntax, layout, name, wanted, decoder)
    else:
        raise InputError(f"{name} is stored in the transfer syntax {syntax}, which is not read. Send it uncompressed.")


def _layout(dataset: FileDataset, name: str) -> PixelLayout:
    def said(keyword: str) -> int:
        value = whole(dataset, keyword, name)
        if value is None:
            raise InputError(f"{name} does not say its {keyword}: its header is damaged. Send the file again.")
        return value

    if whole(dataset, "SamplesPerPixel", name) not in (None, 1):
        raise InputError(f"{name} is a colour image; a scan has one value a pixel")
    allocated, stored = said("BitsAllocated"), said("BitsStored")
    high = whole(dataset, "HighBit", name)
    high = stored - 1 if high is None else high
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise InputError(
            f"{name} stores {stored} bits, the highest at {high}, in {allocated} allocated: that cannot be. "
            "Send the file again."
        )
    return PixelLayout(said("Rows"), said("Columns"), allocated, stored, high, said("PixelRepresentation") == 1)


def _native(
    dataset: FileDataset, keyword: str, dtype: np.dtype[Any], name: str, wanted: list[int]
) -> Iterator[NDArray[Any]]:
    rows, columns = whole(dataset, "Rows", name) or 0, whole(dataset, "Columns", name) or 0
    count = whole(dataset, "NumberOfFrames", name) or 1
    try:
        data = bytes(dataset[keyword].value or b"")
    except DAMAGE as error:
        raise InputError(f"{name}: its pixel data cannot be read ({error}). Send the file again.") from error
    needed = rows * columns * dtype.itemsize * count
    if not needed <= len(data) <= needed + needed % 2:
        what = "shorter" if len(data) < needed else "longer"
        raise InputError(
            f"{name}: its pixel data is {what} than its header says: {len(data)} bytes where "
            f"{count} x {rows} x {columns} pixels of {dtype.itemsize} bytes are {needed}. It is damaged or "
            "truncated. Send the file again."
        )
    order: Literal["<", ">"] = ">" if transfer_syntax(dataset) == ExplicitVRBigEndian else "<"
    pixels = np.frombuffer(data, dtype=dtype.newbyteorder(order), count=rows * columns * count)
    for number in wanted:
        frame = pixels[number * rows * columns : (number + 1) * rows * columns].reshape(rows, columns)
        yield frame.astype(dtype, copy=False)


def _compressed(
    dataset: FileDataset, syntax: str, layout: PixelLayout, name: str, wanted: list[int], decoder: DecoderProcess
) -> Iterator[NDArray[Any]]:
    count = whole(dataset, "NumberOfFrames", name) or 1
    try:
        streams = list(generate_frames(dataset.PixelData, number_of_frames=count))
    except DAMAGE as error:
        raise InputError(f"{name}: its compressed frames cannot be told apart ({error}). Send it again.") from error
    if len(streams) != count:
        raise InputError(f"{name} holds {len(streams)} compressed frames where its header says {count}. Send it again.")
    for number in wanted:
        where = name if count == 1 else f"{name} frame {number + 1}"
        yield decoder.decode(streams[number], syntax, layout, where)
