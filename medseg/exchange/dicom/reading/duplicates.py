"""Copies of one image: the same object sent twice counts once; two objects under one UID are refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

from medseg.core.errors import InputError
from medseg.exchange.dicom.elements import DAMAGE
from medseg.exchange.dicom.files import read_dataset, sop_instance
from medseg.exchange.dicom.reading.image_file import Frame


def without_duplicates(frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """Each image once, and a warning for each copy that was dropped.

    Raises InputError where two files have one SOPInstanceUID and different pixels or places.
    """
    seen: dict[tuple[str, int], Frame] = {}
    kept: list[Frame] = []
    warnings: dict[Path, str] = {}
    for frame in frames:
        key = (sop_instance(frame.file.header), frame.number)
        first = seen.get(key) if key[0] else None
        if first is None or first.file is frame.file:
            seen[key] = frame
            kept.append(frame)
            continue
        if not _is_same(first, frame):
            raise InputError(
                f"{first.name} and {frame.name} claim to be one object (the same SOPInstanceUID) and differ. "
                "Remove the wrong one."
            )
        warnings[frame.file.path] = f"{frame.file.path.name} is a copy of {first.file.path.name} and was left out"
    return kept, list(warnings.values())


def _is_same(first: Frame, second: Frame) -> bool:
    near = bool(abs(first.plane.position - second.plane.position).max() < 1e-3)
    return near and first.rescale == second.rescale and _pixel_hash(first) == _pixel_hash(second)


def _pixel_hash(frame: Frame) -> str:
    dataset = read_dataset(frame.file.path, with_pixels=True)
    digest = hashlib.sha256()
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        try:
            if keyword in dataset:
                digest.update(bytes(dataset[keyword].value or b""))
        except DAMAGE as error:
            raise InputError(f"{frame.name}: its pixel data cannot be read ({error}). Send the file again.") from error
    return digest.hexdigest()
