"""CheckedHeader: what a NIfTI header says, after every field that could mislead has been checked (nifti1.h)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry, Shape, format_mm
from medseg.exchange.scan import AffineChoice

HEADER_BYTES = 544
"""Enough for the longest header, NIfTI-2 with its four extension bytes."""

MOST_VOXEL_BYTES = 4 << 30
"""The largest image that is read: 4 GiB of stored voxels, 1024 x 1024 x 1024 in float32."""

AFFINE_TOLERANCE_MM = 0.1
"""How far apart a corner voxel may lie by the qform and by the sform before the two contradict each other."""

SPACING_RANGE_MM = (0.01, 100.0)
"""Spacings a scanner can have; outside it the unit is wrong or the field is damaged."""

_MOST_SHEAR = 0.71
"""Largest cosine between two index axes: 45 degrees, well above any gantry tilt."""

_SIZES = {348: False, 540: True}  # sizeof_hdr to "is NIfTI-2"
_MAGIC = {False: b"n+1\0", True: b"n+2\0\r\n\x1a\n"}
_PAIR_MAGIC = (b"ni1\0", b"ni2\0")
_SCALAR_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_OTHER_TYPES = {
    1: "single bits", 32: "complex numbers", 128: "RGB colours", 1536: "128-bit floats", 1792: "complex numbers",
    2048: "complex numbers", 2304: "RGBA colours",
}  # fmt: skip
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_UNIT_NAMES = {1: "metres", 3: "micrometres"}


@dataclass(frozen=True, slots=True)
class CheckedHeader:
    """What is needed to read the voxels: where they begin, their type, scaling and grid."""

    geometry: Geometry
    dtype: np.dtype[Any]
    voxel_offset: int
    slope: float
    intercept: float
    warnings: tuple[str, ...]

    @property
    def stored_shape(self) -> str:
        """The shape for people: "512 x 512 x 80"."""
        return " x ".join(map(str, self.geometry.shape))

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all stored voxels."""
        return int(np.prod(self.geometry.shape, dtype=object)) * self.dtype.itemsize


def check_header(block: bytes, path: Path, choice: AffineChoice | None) -> CheckedHeader:
    """The checked header of the first bytes of a NIfTI file; `choice` settles qform against sform.

    Raises InputError naming the first field that cannot be believed.
    """
    order, is_nifti2 = _kind(block, path)
    header_class = nibabel.Nifti2Header if is_nifti2 else nibabel.Nifti1Header
    size = 540 if is_nifti2 else 348
    if len(block) < size:
        raise InputError(f"{path} is truncated: it ends after {len(block)} of the {size} bytes of its header")
    fields = np.frombuffer(block[:size], dtype=header_class.template_dtype.newbyteorder(order))[0]
    shape = _shape(fields["dim"], path)
    dtype = _dtype(int(fields["datatype"]), int(fields["bitpix"]), path).newbyteorder(order)
    voxel_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if voxel_bytes > MOST_VOXEL_BYTES:
        raise InputError(
            f"{path} promises {shape[0]} x {shape[1]} x {shape[2]} voxels, {voxel_bytes / 2**30:.1f} GiB; "
            f"at most {MOST_VOXEL_BYTES / 2**30:.0f} GiB are read. Crop or resample the image."
        )
    slope, intercept = _scaling(float(fields["scl_slope"]), float(fields["scl_inter"]), path)
    nibabel_header = header_class.from_fileobj(io.BytesIO(block[:size]), endianness=order, check=False)
    geometry, warnings = _geometry(fields, nibabel_header, shape, path, choice)
    return CheckedHeader(geometry, dtype, _offset(fields, size, path), slope, intercept, warnings)


def _kind(block: bytes, path: Path) -> tuple[Literal["<", ">"], bool]:
    """Byte order and whether the header is NIfTI-2, by its first four bytes and its magic."""
    orders: tuple[tuple[Literal["<", ">"], Literal["little", "big"]], ...] = (("<", "little"), (">", "big"))
    for order, name in orders:
        size = int.from_bytes(block[:4], name)
        if len(block) >= 4 and size in _SIZES:
            is_nifti2 = _SIZES[size]
            magic = block[4:12] if is_nifti2 else block[344:348]
            if magic[:4] in _PAIR_MAGIC:
                raise InputError(
                    f"{path} is one half of a .hdr/.img pair, which is not read. Save the image as one .nii.gz file."
                )
            if magic != _MAGIC[is_nifti2]:
                raise InputError(
                    f"{path} is not a NIfTI file: its header has the right size ({name}-endian) but its magic is "
                    f"{magic!r} where {_MAGIC[is_nifti2]!r} belongs (an ANALYZE file, or damaged)"
                )
            return order, is_nifti2
    begins = f"begins with {block[:12]!r}" if block else "is empty"
    raise InputError(f"{path} is not a NIfTI file: it {begins}. Was another file renamed to .nii?")


def _shape(dim: NDArray[Any], path: Path) -> Shape:
    count = int(dim[0])
    sizes = [int(n) for n in dim[1:8]]
    if not 1 <= count <= 7:
        raise InputError(f"{path} has {count} dimensions in its header; 1 to 7 are possible, so the header is damaged")
    used = sizes[:count]
    if min(used) < 1:
        raise InputError(f"{path} has a dimension of size {min(used)} in its header ({used}); the header is damaged")
    if any(n > 1 for n in used[3:]):
        raise InputError(
            f"{path} is a {count}-D image of {' x '.join(map(str, used))}; a scan is one three-dimensional image. "
            "Split it into one file for each time point or channel."
        )
    i, j, k, *_ = *used, 1, 1
    return i, j, k


def _dtype(code: int, bits: int, path: Path) -> np.dtype[Any]:
    if code in _OTHER_TYPES:
        raise InputError(
            f"{path} holds {_OTHER_TYPES[code]} (NIfTI datatype {code}); a scan or mask holds one real number a voxel. "
            "Convert it to a scalar image."
        )
    if code not in _SCALAR_TYPES:
        raise InputError(f"{path} has the unknown NIfTI datatype {code}; the header is damaged")
    dtype = np.dtype(_SCALAR_TYPES[code])
    if bits != dtype.itemsize * 8:
        raise InputError(
            f"{path} contradicts itself: datatype {code} has {dtype.itemsize * 8} bits a voxel, bitpix says {bits}. "
            "Export the image again."
        )
    return dtype


def _offset(fields: Any, header_size: int, path: Path) -> int:
    offset = float(fields["vox_offset"])
    if not (np.isfinite(offset) and offset >= header_size + 4 and offset == int(offset)):
        raise InputError(
            f"{path} says that its voxels begin at byte {offset:g}; in a single NIfTI file they begin at a whole byte "
            f"number from {header_size + 4} on. The header is damaged."
        )
    return int(offset)


def _scaling(slope: float, intercept: float, path: Path) -> tuple[float, float]:
    """Slope and intercept; a slope of 0, or neither set, means unscaled (nifti1.h; nibabel writes NaN for it)."""
    if slope == 0 or (np.isnan(slope) and np.isnan(intercept)):
        return 1.0, 0.0
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise InputError(
            f"{path} scales its voxels by slope {slope:g} and intercept {intercept:g}; both must be numbers. "
            "Export the image again."
        )
    return slope, intercept


def _geometry(
    fields: Any, header: Any, shape: Shape, path: Path, choice: AffineChoice | None
) -> tuple[Geometry, tuple[str, ...]]:
    warnings: list[str] = []
    pixdim = [float(length) for length in fields["pixdim"][1:4]]
    if not (np.isfinite(pixdim).all() and min(pixdim) > 0):
        raise InputError(
            f"{path} has the spacings {', '.join(f'{length:g}' for length in pixdim)} in its header; "
            "they must be positive numbers. Mend the header's pixdim."
        )
    codes = {name: int(fields[f"{name}_code"]) for name in ("sform", "qform")}
    for name, code in codes.items():
        if not 0 <= code <= 5:
            raise InputError(f"{path} has the {name} code {code}; 0 to 5 exist, so the header is damaged")
    affines = {name: _affine(name, fields, header, path) for name, code in codes.items() if code > 0}
    scale = _mm_per_unit(int(fields["xyzt_units"]), path, warnings)
    grids = {name: _grid(affine, shape, scale, name, path) for name, affine in affines.items()}
    if not grids:
        warnings.append(
            f"{path.name} does not say where its voxels lie (no sform, no qform): left and right, front and back are "
            "a guess; the first axis is taken to run from right to left, as nibabel does"
        )
        return _grid(header.get_base_affine(), shape, scale, "pixdim", path), tuple(warnings)
    return _chosen(grids, path, choice), (*warnings, *_pixdim_warning(grids, pixdim, scale, path))


def _affine(name: str, fields: Any, header: Any, path: Path) -> NDArray[np.float64]:
    if name == "sform":
        return np.asarray(header.get_sform(), dtype=np.float64)
    if float(fields["pixdim"][0]) not in (-1.0, 0.0, 1.0):
        raise InputError(
            f"{path} has the handedness {float(fields['pixdim'][0]):g} (pixdim[0]) in its header; -1 or 1 is possible"
        )
    try:
        return np.asarray(header.get_qform(), dtype=np.float64)
    except (ValueError, FloatingPointError) as error:
        raise InputError(f"{path} has a rotation (qform quaternion) that cannot exist: {error}") from error


def _grid(affine: NDArray[np.float64], shape: Shape, scale: float, name: str, path: Path) -> Geometry:
    in_mm = affine.copy()
    in_mm[:3] *= scale
    try:
        geometry = Geometry(shape, in_mm)
    except GeometryError as error:
        raise InputError(f"{path} has a {name} that cannot be a grid: {error}. Mend its header.") from error
    low, high = SPACING_RANGE_MM
    if min(geometry.spacing_mm) < low or max(geometry.spacing_mm) > high:
        raise InputError(
            f"{path} has voxels of {format_mm(geometry.spacing_mm)} by its {name}; {low:g} to {high:g} mm are "
            "believable. Mend the spacing or the unit in its header."
        )
    cosines = np.abs(geometry.directions.T @ geometry.directions - np.eye(3))
    if cosines.max() > _MOST_SHEAR:
        raise InputError(
            f"{path} has index axes only {np.degrees(np.arccos(min(1.0, cosines.max()))):.0f} degrees apart by its "
            f"{name}; resample the image onto a right-angled grid"
        )
    return geometry


def _mm_per_unit(units: int, path: Path, warnings: list[str]) -> float:
    code = units & 7
    if code not in _MM_PER_UNIT:
        raise InputError(f"{path} gives its spacing in the unknown unit {code} (xyzt_units); the header is damaged")
    if code == 0:
        warnings.append(f"{path.name} does not say the unit of its spacing; millimetres are assumed")
    elif code in _UNIT_NAMES:
        warnings.append(f"{path.name} gives its spacing in {_UNIT_NAMES[code]}; converted to millimetres")
    return _MM_PER_UNIT[code]


def _chosen(grids: dict[str, Geometry], path: Path, choice: AffineChoice | None) -> Geometry:
    """The sform's grid where there is one, else the qform's; refused where the two contradict and nobody chose."""
    if choice is not None:
        if choice not in grids:
            raise InputError(f"{path} has no {choice} to choose; it has {' and '.join(grids)}")
        return grids[choice]
    if len(grids) == 2:
        apart = np.linalg.norm(grids["sform"].corners_mm() - grids["qform"].corners_mm(), axis=1).max()
        if apart > AFFINE_TOLERANCE_MM:
            raise InputError(
                f"{path} contradicts itself: by its sform ({grids['sform'].axis_codes}) and its qform "
                f"({grids['qform'].axis_codes}) voxels lie up to {apart:.2f} mm apart. "
                "Choose one (affine=sform or affine=qform), or export the image again."
            )
    return next(iter(grids.values()))


def _pixdim_warning(grids: dict[str, Geometry], pixdim: list[float], scale: float, path: Path) -> tuple[str, ...]:
    if "sform" not in grids:
        return ()
    spacing = np.asarray(grids["sform"].spacing_mm)
    if np.allclose(spacing, np.asarray(pixdim) * scale, rtol=0.01):
        return ()
    warning = (
        f"{path.name} gives a spacing of {format_mm(grids['sform'].spacing_mm)} in its sform and of "
        f"{' x '.join(f'{length * scale:.4g}' for length in pixdim)} mm in its pixdim; the sform is used"
    )
    return (warning,)
