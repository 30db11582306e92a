"""Scan: one image as it came in, with what is known of it, and the mends a user may choose when it needs one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medseg.core.study import Series
from medseg.core.volume import Volume

AffineChoice = Literal["sform", "qform"]
"""Which of a NIfTI file's two affines to believe where they contradict each other."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One image that was read, the series it is, and what a person should know about how it was read.

    `sha256` is the hash of the voxels and the grid: the same for the same image in any compression.
    """

    volume: Volume
    series: Series
    sha256: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mends:
    """What the user chose for a scan that cannot be read without a choice.

    `series` and `phase` pick one of several; `allow_gaps` fills missing slices by interpolation; `affine` says which
    NIfTI affine to believe where the two disagree.
    """

    series: str | None = None
    phase: str | None = None
    allow_gaps: bool = False
    affine: AffineChoice | None = None


def scan_of(volume: Volume, series: Series, warnings: tuple[str, ...] = ()) -> Scan:
    """The scan of a volume, with its content hash."""
    return Scan(volume, series, volume_sha256(volume), warnings)


def volume_sha256(volume: Volume) -> str:
    """Hash of shape, voxel type, affine and voxels, as 64 hexadecimal digits; free of compression and byte order.

    Voxels are hashed slice by slice with i running fastest, as both NIfTI and DICOM store them.
    """
    dtype = volume.array.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{volume.array.shape} {dtype.str}".encode())
    digest.update(np.ascontiguousarray(volume.geometry.affine.T, dtype="<f8").data)
    for k in range(volume.array.shape[2]):
        plane = np.ascontiguousarray(volume.array[:, :, k].T, dtype=dtype)
        digest.update(plane.data)
    return digest.hexdigest()
