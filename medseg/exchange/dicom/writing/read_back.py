"""deliver: an object appears only after its file was read back by its plain headers and found to say the same.

Readers here are this package's own over pydicom's elements; the library that made an object has no part in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.exchange.dicom.elements import items, text
from medseg.exchange.dicom.files import read_dataset
from medseg.exchange.dicom.writing.source import COPIED, Source

PLACE_TOLERANCE = 0.02
"""How far, in voxels, a written plane may lie from its place in the mask; rounding to 16 characters is far below."""

_PREAMBLE = b"\0" * 128 + b"DICM"


def deliver(dataset: Dataset, path: Path, source: Source, require: Callable[[Path], None]) -> None:
    """Write an object, read it back, and let it appear at `path` only where nothing was wrong.

    `require` raises InputError where the content of the file it is given is not what was meant.
    """
    with whole_file(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
        require_headers(temporary, source)
        require(temporary)


def require_headers(path: Path, source: Source) -> None:
    """Refuse a written object of another patient, study, place or model than its source's, or with a preamble."""
    with path.open("rb") as file:
        if file.read(len(_PREAMBLE)) != _PREAMBLE:
            raise undelivered("its preamble is not empty")
    written, first = read_dataset(path), source.headers[0]
    for keyword in COPIED:
        mine, theirs = text(written, keyword), text(first, keyword)
        if mine != theirs:
            raise undelivered(f"its {keyword} is not that of the images")
    if "FrameOfReferenceUID" in written and text(written, "FrameOfReferenceUID") != source.frame_of_reference:
        raise undelivered("its frame of reference is not that of the images")
    model = source.made.model
    said = [text(item, "ContributionDescription") for item in items(written, "ContributingEquipmentSequence")]
    if not any(model.sha256 in one for one in said):
        raise undelivered(f"it does not name the content hash of the model {model.name}")


def slice_of(geometry: Geometry, place: Geometry, k: int) -> int:
    """The slice number on `geometry` of slice k of a written grid.

    Raises InputError where rows, columns or the corner of the slice lie elsewhere.
    """
    index = geometry.index(place.world([(0, 0, k), (1, 1, k)]))
    whole = np.rint(index).astype(int)
    step = whole[1] - whole[0]
    is_on_grid = np.abs(index - whole).max() <= PLACE_TOLERANCE and step[:2].tolist() == [1, 1] and step[2] == 0
    if not is_on_grid or whole[0][:2].any() or not 0 <= whole[0][2] < geometry.shape[2]:
        raise undelivered(f"it lies off the mask's grid, at index {np.round(index[0], 3).tolist()}")
    return int(whole[0][2])


def read_written(path: Path) -> FileDataset:
    """The dataset of a written file, pixels and all."""
    return read_dataset(path, with_pixels=True)


def undelivered(what: str) -> InputError:
    """The error of an object that does not say what it should."""
    return InputError(f"the written object was read back and is wrong: {what}. It was not delivered; this is a bug.")
