"""write_volume and write_label_map: an image or a mask into NIfTI, NRRD or MetaImage, chosen by the file's suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.volume import Volume
from medseg.exchange import itk_formats, nifti

WRITERS: tuple[tuple[tuple[str, ...], Callable[[NDArray[Any], Geometry, Path], None]], ...] = (
    (nifti.SUFFIXES, nifti.write_nifti),
    (itk_formats.WRITTEN_SUFFIXES, itk_formats.write_itk),
)
"""Suffixes and who writes them."""


def write_volume(volume: Volume, path: Path) -> None:
    """The image as a file of the suffix's format, in its own voxel type; whole or not at all.

    Raises InputError for a suffix that is not written, a full disk, or a folder that may not be written.
    """
    _write(volume.array, volume.geometry, Path(path))


def write_label_map(label_map: LabelMap, path: Path) -> None:
    """The mask as a file of the suffix's format, in uint8 or uint16; whole or not at all.

    Raises InputError as `write_volume` does.
    """
    _write(label_map.array, label_map.geometry, Path(path))


def _write(array: NDArray[Any], geometry: Geometry, path: Path) -> None:
    for suffixes, write in WRITERS:
        if path.name.endswith(suffixes):
            write(array, geometry, path)
            return
    known = ", ".join(suffix for suffixes, _ in WRITERS for suffix in suffixes)
    raise InputError(f"{path} has no suffix that is written; choose one of {known}")
