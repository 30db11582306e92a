"""NIfTI-1 and NIfTI-2 files, read strictly and written plainly; with `nifti_header`, the only user of nibabel.

The header is believed only after `nifti_header` has checked it, the voxels only after the whole file has been read
and its checksum has agreed.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.study import Series, Study
from medseg.core.volume import Volume
from medseg.exchange.nifti_header import HEADER_BYTES, CheckedHeader, check_header
from medseg.exchange.scan import Mends, Scan, scan_of

SUFFIXES = (".nii", ".nii.gz")

GZIP_MAGIC = b"\x1f\x8b"

MOST_DEFLATE_CAN_EXPAND = 1040
"""Deflate cannot make more than 1032 bytes of one; a file that promises more lies."""

_CHUNK_BYTES = 1 << 24

_FASTEST_GZIP = 1
"""Level 1 is four times faster than the default and costs a few per cent of size on images."""


def read_nifti(path: Path, mends: Mends) -> Scan:
    """The image in a .nii or .nii.gz file, on its grid in RAS+ mm.

    Raises InputError for anything that is not one three-dimensional scalar image with a believable grid.
    """
    with path.open("rb") as raw:
        is_compressed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        stream: BinaryIO = gzip.GzipFile(fileobj=raw, mode="rb") if is_compressed else raw  # type: ignore[assignment]
        try:
            header = check_header(stream.read(HEADER_BYTES), path, mends.affine)
            _require_room(header, path, is_compressed)
            stored = _read_voxels(stream, header, path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{path} is damaged: its compressed data cannot be unpacked to the end ({error}). "
                "Copy or download the file again."
            ) from error
    array = _scaled(stored, header)
    _require_finite(array, path)
    series = Series(Study(), "OT", description=_stem(path), files=(path,))
    return scan_of(Volume(array, header.geometry), series, header.warnings)


def write_nifti(array: NDArray[Any], geometry: Geometry, path: Path, *, slope: float = 1.0) -> None:
    """A NIfTI-1 file of the array on its grid, in mm, with sform and, where the grid has right angles, qform.

    The voxel type is kept; booleans become uint8. Readers multiply what is stored by the slope. The file appears whole
    or not at all.
    """
    voxels = array.astype(np.uint8) if array.dtype == np.bool_ else array
    image = nibabel.Nifti1Image(voxels, geometry.affine, dtype=voxels.dtype)
    image.header.set_xyzt_units("mm")
    if slope != 1.0:
        image.header.set_slope_inter(slope, 0.0)
    image.set_sform(geometry.affine, code="scanner")
    if geometry.is_sheared:
        image.header["qform_code"] = 0  # a quaternion cannot say a shear
    else:
        image.set_qform(geometry.affine, code="scanner")
    with whole_file(path) as temporary, temporary.open("wb") as file:
        if path.name.endswith(".gz"):
            # no name and no time in the gzip header: the same image gives the same bytes
            with gzip.GzipFile("", "wb", _FASTEST_GZIP, file, mtime=0) as packed:
                image.to_stream(packed)
        else:
            image.to_stream(file)


def _require_room(header: CheckedHeader, path: Path, is_compressed: bool) -> None:
    """Refuse, before any voxel is read, a header that promises more than the file can hold."""
    size = path.stat().st_size
    promised = header.voxel_offset + header.voxel_bytes
    possible = size * MOST_DEFLATE_CAN_EXPAND if is_compressed else size
    if promised > possible:
        raise InputError(
            f"{path} is truncated or its header lies: it promises {header.stored_shape} voxels, "
            f"{promised} bytes in all, and the file has {size} bytes. Copy or download the file again."
        )


def _read_voxels(stream: BinaryIO, header: CheckedHeader, path: Path) -> NDArray[Any]:
    """The stored voxels (i, j, k), after the stream has been read to its very end."""
    stream.seek(header.voxel_offset)
    buffer = bytearray(header.voxel_bytes)
    view = memoryview(buffer)
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(view[filled : filled + _CHUNK_BYTES])  # type: ignore[attr-defined]
        if not count:
            raise InputError(
                f"{path} is truncated: its header promises {header.voxel_bytes} bytes of voxels "
                f"and {filled} are there. Copy or download the file again."
            )
        filled += count
    left_over = stream.read(1)  # reading past the last byte also checks a gzip file's checksum
    if left_over:
        raise InputError(
            f"{path} holds more than its header promises ({header.stored_shape} voxels of {header.dtype}): "
            "one of the two is wrong. Export the image again."
        )
    return np.frombuffer(buffer, dtype=header.dtype).reshape(header.geometry.shape, order="F")


def _scaled(stored: NDArray[Any], header: CheckedHeader) -> NDArray[Any]:
    """Voxels in their real values: the stored type where nothing scales them, otherwise float32 where it is enough."""
    native = stored.dtype.newbyteorder("=")
    if header.slope == 1.0 and header.intercept == 0.0:
        return stored.astype(native, copy=False)
    is_small = native.itemsize <= 2 or native == np.float32
    scaled = np.empty(stored.shape, dtype=np.float32 if is_small else np.float64, order="F")
    for k in range(stored.shape[2]):  # slice by slice: the product is float64, four times an int16 image
        scaled[:, :, k] = stored[:, :, k] * np.float64(header.slope) + np.float64(header.intercept)
    return scaled


def _require_finite(array: NDArray[Any], path: Path) -> None:
    if not np.issubdtype(array.dtype, np.floating):
        return
    for k in range(array.shape[2]):  # slice by slice: a mask of the whole image would cost its memory again
        finite = np.isfinite(array[:, :, k])
        if not finite.all():
            i, j = np.argwhere(~finite)[0]
            raise InputError(
                f"{path} holds voxels that are not finite numbers, the first at index ({i}, {j}, {k}). "
                "Replace them by numbers (numpy.nan_to_num does it) and try again."
            )


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
