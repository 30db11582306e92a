"""Frames as headers give them, for the rules that look at no pixel: sorting, grids and phases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

from medseg.exchange.dicom.reading.image_file import Frame, ImageFile, image_file

Place = tuple[float, float, float]

ORIGIN: Place = (10.0, 20.0, 30.0)
"""LPS+ mm, of the first slice."""

NORMAL_HEAD: Place = (0.0, 0.0, 1.0)


def header(**said: object) -> FileDataset:
    """An axial image of 2 columns and 3 rows, with what is said instead; None leaves an element out."""
    usual: dict[str, object] = {
        "Rows": 3,
        "Columns": 2,
        "ImagePositionPatient": list(ORIGIN),
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": ["0.9", "0.7"],
        "SliceThickness": "2.5",
        "FrameOfReferenceUID": "1.2.4",
    }
    dataset = Dataset()
    for keyword, value in (usual | said).items():
        if value is not None:
            setattr(dataset, keyword, value)
    return FileDataset("made", dataset)


def image(name: str, **said: object) -> ImageFile:
    return image_file(Path(name), header(**said))


def frame(name: str, **said: object) -> Frame:
    (found,) = image(name, **said).frames
    return found


def frames_at(steps_mm: Sequence[float], towards: Place = NORMAL_HEAD, **said: object) -> list[Frame]:
    """Frames `0000.dcm`, `0001.dcm` ... so many mm from the first slice in a direction, in the order given."""
    return [
        frame(
            f"{number:04}.dcm",
            **{"ImagePositionPatient": [start + step * way for start, way in zip(ORIGIN, towards, strict=True)]} | said,
        )
        for number, step in enumerate(steps_mm)
    ]
