"""NRRD and MetaImage files, through itk; ITK's LPS+ coordinates are turned into RAS+ here.

ITK believes what a header says, so the text of the header is checked first: sizes against the file and a cap, no
pointers to other files, and a warning where the header does not say how the patient lies.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import whole_file
from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.study import Series, Study
from medseg.core.volume import Volume
from medseg.exchange.scan import Mends, Scan, scan_of

SUFFIXES = (".nrrd", ".mha", ".mhd")
WRITTEN_SUFFIXES = (".nrrd", ".mha")

MOST_VOXEL_BYTES = 4 << 30
"""The largest image that is read, as for NIfTI."""

_HEADER_BYTES = 1 << 16
_MOST_DEFLATE_CAN_EXPAND = 1040
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_WORLD_TOLERANCE_MM = 1e-3
_ITK_TYPES = {"b1": np.uint8, "i1": np.int16, "f2": np.float32, "f16": np.float64}
"""What a voxel type that itk's Python does not know is written as, by numpy's kind and size."""
_NRRD_BYTES = {
    "uchar": 1, "unsigned char": 1, "uint8": 1, "uint8_t": 1,
    "short": 2, "short int": 2, "signed short": 2, "signed short int": 2, "int16": 2, "int16_t": 2,
    "ushort": 2, "unsigned short": 2, "unsigned short int": 2, "uint16": 2, "uint16_t": 2,
    "int": 4, "signed int": 4, "int32": 4, "int32_t": 4, "uint": 4, "unsigned int": 4, "uint32": 4, "uint32_t": 4,
    "longlong": 8, "long long": 8, "long long int": 8, "signed long long": 8, "signed long long int": 8, "int64": 8,
    "int64_t": 8, "ulonglong": 8, "unsigned long long": 8, "unsigned long long int": 8, "uint64": 8, "uint64_t": 8,
    "float": 4, "double": 8,
}  # fmt: skip
_META_BYTES = {
    "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
_SIGNED_BYTES = frozenset({"MET_CHAR", "signed char", "int8", "int8_t"})


def read_itk(path: Path, mends: Mends) -> Scan:  # noqa: ARG001 - the common signature of READERS
    """The image in a .nrrd, .mha or .mhd file, on its grid in RAS+ mm.

    Raises InputError for anything that is not one three-dimensional scalar image with a believable grid.
    """
    fields = _header_fields(path)
    warnings = _check_nrrd(fields, path) if path.suffix.lower() == ".nrrd" else _check_meta(fields, path)
    import itk  # loads for seconds; nobody else should wait for it

    try:
        reader = _image_io(itk, path)
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        if reader.GetNumberOfComponents() != 1 or reader.GetNumberOfDimensions() != 3:
            raise InputError(
                f"{path} holds {reader.GetNumberOfComponents()} values a voxel in {reader.GetNumberOfDimensions()} "
                "dimensions; a scan or mask is one value a voxel in three dimensions"
            )
        image = itk.imread(str(path), imageio=reader)
    except RuntimeError as error:
        raise InputError(
            f"{path} is damaged or truncated: {_last_line(error)}. Copy or export the file again."
        ) from error
    affine = _LPS_TO_RAS @ _lps_affine(itk, image)
    array = itk.array_from_image(image).transpose(2, 1, 0)  # itk's arrays are k, j, i
    try:
        geometry = Geometry(array.shape, affine)
    except GeometryError as error:
        raise InputError(f"{path} has a grid that cannot be: {error}. Mend its header.") from error
    if min(geometry.spacing_mm) < 0.01 or max(geometry.spacing_mm) > 100:
        raise InputError(f"{path} has voxels of {geometry.spacing_mm} mm; 0.01 to 100 mm are believable")
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        raise InputError(f"{path} holds voxels that are not finite numbers. Replace them by numbers and try again.")
    series = Series(Study(), "OT", description=path.stem, files=(path,))
    return scan_of(Volume(array, geometry), series, warnings)


def write_itk(array: NDArray[Any], geometry: Geometry, path: Path) -> None:
    """A compressed .nrrd or .mha file of the array on its grid; whole or not at all.

    Raises InputError where the format could not keep the grid (a MetaImage of a sheared one).
    """
    import itk

    voxels = array.astype(_ITK_TYPES.get(array.dtype.kind + str(array.dtype.itemsize), array.dtype.newbyteorder("=")))
    image = itk.image_from_array(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    # itk takes an array of one line for Fortran-ordered and turns its axes round; its voxels are the same either way
    region = image.GetLargestPossibleRegion()
    region.SetSize([int(n) for n in geometry.shape])
    image.SetRegions(region)
    lps = _LPS_TO_RAS @ geometry.affine
    spacing = np.asarray(geometry.spacing_mm)
    image.SetSpacing([float(length) for length in spacing])
    image.SetOrigin([float(mm) for mm in lps[:3, 3]])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3] / spacing)))
    with whole_file(path) as temporary:
        itk.imwrite(image, str(temporary), compression=True)
        written = _image_io(itk, temporary)
        written.SetFileName(str(temporary))
        written.ReadImageInformation()
        kept = np.array([[written.GetDirection(axis)[row] for axis in range(3)] for row in range(3)])
        if np.abs(kept * spacing - lps[:3, :3]).max() * max(geometry.shape) > _WORLD_TOLERANCE_MM:
            raise InputError(f"{path.suffix} cannot keep this grid (sheared by a gantry tilt?). Write .nii.gz instead.")


def _image_io(itk: Any, path: Path) -> Any:
    return itk.NrrdImageIO.New() if path.suffix.lower() == ".nrrd" else itk.MetaImageIO.New()


def _lps_affine(itk: Any, image: Any) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) * np.asarray(image.GetSpacing())
    affine[:3, 3] = np.asarray(image.GetOrigin())
    return affine


def _header_fields(path: Path) -> dict[str, str]:
    """The "key: value" or "key = value" lines at the head of the file, keys in lower case."""
    with path.open("rb") as file:
        block = file.read(_HEADER_BYTES)
    separator = ":" if path.suffix.lower() == ".nrrd" else "="
    is_nrrd = separator == ":"
    if is_nrrd and not block.startswith(b"NRRD000"):
        raise InputError(f"{path} is not an NRRD file: it begins with {block[:12]!r}. Was another file renamed?")
    fields: dict[str, str] = {}
    for raw_line in block.splitlines():
        if is_nrrd and not raw_line.strip():
            return fields
        line = raw_line.decode("latin-1")
        key, found, value = line.partition(separator)
        if found and not key.startswith("#"):
            fields[key.strip().lower()] = value.lstrip("=").strip()
        if not is_nrrd and key.strip().lower() == "elementdatafile":
            return fields
    what = "an NRRD" if is_nrrd else "a MetaImage"
    raise InputError(f"{path} is not {what} file: its header does not end. It is truncated or something else.")


def _check_nrrd(fields: dict[str, str], path: Path) -> tuple[str, ...]:
    if "data file" in fields or "datafile" in fields:
        raise InputError(f"{path} keeps its voxels in another file; save it as one .nrrd with the voxels inside")
    kind = fields.get("type", "").lower()
    _refuse_signed_bytes(kind, path)
    if kind not in _NRRD_BYTES:
        raise InputError(f"{path} has the voxel type {kind!r}; a scan or mask holds one number a voxel")
    encoding = fields.get("encoding", "raw").lower()
    _check_room(_sizes(fields.get("sizes", ""), path), _NRRD_BYTES[kind], path, encoding == "raw")
    if "space" in fields and "space directions" in fields:
        return ()
    return (
        f"{path.name} does not say how the patient lies (no space): its axes are taken as left, posterior, superior",
    )


def _check_meta(fields: dict[str, str], path: Path) -> tuple[str, ...]:
    data_file = fields.get("elementdatafile", "")
    holder = path
    if data_file.upper() != "LOCAL":
        if not re.fullmatch(r"[^/\\%\s]+", data_file) or data_file.upper() == "LIST" or data_file.startswith("."):
            raise InputError(f"{path} keeps its voxels in {data_file!r}; one file beside it is read. Save it as .mha.")
        holder = path.with_name(data_file)
        if holder.is_symlink() or not holder.is_file():
            raise InputError(f"{path} keeps its voxels in {holder.name}, which is not beside it. Copy both files.")
    kind = fields.get("elementtype", "").upper()
    _refuse_signed_bytes(kind, path)
    if kind not in _META_BYTES or fields.get("elementnumberofchannels", "1") != "1":
        raise InputError(f"{path} has voxels of type {kind!r}; a scan or mask holds one number a voxel")
    is_raw = fields.get("compresseddata", "False").lower() != "true"
    _check_room(_sizes(fields.get("dimsize", ""), path), _META_BYTES[kind], holder, is_raw)
    if "transformmatrix" in fields or "rotation" in fields or "orientation" in fields:
        return ()
    return (f"{path.name} does not say how the patient lies: its axes are taken as left, posterior, superior",)


def _refuse_signed_bytes(kind: str, path: Path) -> None:
    if kind in _SIGNED_BYTES:
        raise InputError(
            f"{path} keeps its voxels as signed bytes ({kind}), which itk does not read. Save it with 16-bit voxels."
        )


def _sizes(text: str, path: Path) -> list[int]:
    try:
        sizes = [int(part) for part in text.split()]
    except ValueError:
        sizes = []
    if len(sizes) != 3 or min(sizes) < 1:
        raise InputError(
            f"{path} has the size {text or 'missing'!r} in its header; a scan is one three-dimensional image. "
            "Split it into one file for each time point or channel."
        )
    return sizes


def _check_room(sizes: list[int], voxel_bytes: int, holder: Path, is_raw: bool) -> None:
    promised = sizes[0] * sizes[1] * sizes[2] * voxel_bytes
    if promised > MOST_VOXEL_BYTES:
        raise InputError(
            f"{holder} promises {promised / 2**30:.1f} GiB of voxels; "
            f"at most {MOST_VOXEL_BYTES / 2**30:.0f} GiB are read"
        )
    size = holder.stat().st_size
    if promised > (size if is_raw else size * _MOST_DEFLATE_CAN_EXPAND):
        raise InputError(
            f"{holder} is truncated or its header lies: {sizes[0]} x {sizes[1]} x {sizes[2]} voxels are {promised} "
            f"bytes and the file has {size}. Copy or export the file again."
        )


def _last_line(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "itk could not read it"
