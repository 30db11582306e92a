"""read_scan and read_label_map: an image or a mask from any file or folder that medseg knows.

READERS is the ordered list of formats. A reader first says whether a path is its own; the first that does reads it,
and where none does, the error tells why each declined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.labels import LabelSchema
from medseg.exchange import archive, itk_formats, nifti
from medseg.exchange.dicom.contents import objects_of
from medseg.exchange.dicom.files import is_dicom
from medseg.exchange.dicom.seg import read_segmentation
from medseg.exchange.dicom.series import read_dicom
from medseg.exchange.scan import AffineChoice, Mends, Scan

__all__ = ["READERS", "Reader", "Scan", "read_label_map", "read_scan"]


@dataclass(frozen=True, slots=True)
class Reader:
    """One format: `declines` says why a path is not of this format, None where it is; `read` reads it."""

    name: str
    declines: Callable[[Path], str | None]
    read: Callable[[Path, Mends], Scan]


def read_scan(
    path: Path,
    *,
    series: str | None = None,
    phase: str | None = None,
    allow_gaps: bool = False,
    affine: AffineChoice | None = None,
) -> Scan:
    """The scan in a NIfTI, NRRD or MetaImage file, a DICOM file or folder, or a zip or tar of one of these.

    `series` (UID, number or description) and `phase` choose where there are several; `allow_gaps` fills missing slices
    by interpolation; `affine` chooses between a NIfTI file's contradicting affines. Raises InputError where the scan
    cannot be read, or could only be read wrongly.
    """
    return _read(Path(path), Mends(series, phase, allow_gaps, affine))


def read_label_map(path: Path, schema: LabelSchema, *, affine: AffineChoice | None = None) -> LabelMap:
    """The mask in an image file or a DICOM segmentation, its values or segments named by the schema, on its own grid.

    Raises InputError where it cannot be read or holds a value that the schema does not name.
    """
    path = Path(path)
    segmentations = objects_of(path, "segmentation") if path.is_dir() or (path.is_file() and is_dicom(path)) else ()
    if len(segmentations) == 1:
        return read_segmentation(segmentations[0]).label_map(schema)
    scan = read_scan(path, affine=affine)
    try:
        return LabelMap.from_numbers(scan.volume.array, scan.volume.geometry, schema)
    except InputError as error:
        raise InputError(f"{path} is not a mask of this task: {error}") from error


def _read(path: Path, mends: Mends) -> Scan:
    if not path.exists():
        raise InputError(f"{path} does not exist. Check the path.")
    reasons = []
    for reader in READERS:
        reason = reader.declines(path)
        if reason is None:
            try:
                return reader.read(path, mends)
            except PermissionError as error:
                raise InputError(f"{path} may not be read ({error.strerror}). Check its permissions.") from error
        reasons.append(f"{reader.name}: {reason}")
    raise InputError(f"{path} is no scan that medseg reads. " + "; ".join(reasons))


def _declines_nifti(path: Path) -> str | None:
    if path.is_dir():
        return "it is a folder"
    return (
        None
        if path.name.lower().endswith(nifti.SUFFIXES)
        else f"its name does not end in {' or '.join(nifti.SUFFIXES)}"
    )


def _declines_itk(path: Path) -> str | None:
    if path.is_dir():
        return "it is a folder"
    names = " or ".join(itk_formats.SUFFIXES)
    return None if path.suffix.lower() in itk_formats.SUFFIXES else f"its name does not end in {names}"


def _declines_dicom(path: Path) -> str | None:
    if path.is_dir():
        return None
    return None if is_dicom(path) else "it does not begin as a DICOM file does"


def _declines_archive(path: Path) -> str | None:
    if path.is_dir():
        return "it is a folder"
    return None if archive.is_archive(path) else "it is neither a zip nor a tar"


def _read_archive(path: Path, mends: Mends) -> Scan:
    """The scan in an archive: its only file where there is one, else the DICOM series its files make."""
    with archive.unpacked(path) as folder:
        members = sorted(folder.iterdir())
        if not members:
            raise InputError(f"{path} is empty: there is no file in it")
        try:
            scan = _read(members[0] if len(members) == 1 else folder, mends)
        except InputError as error:
            said = str(error).replace(f"{folder}/", f"{path}: ").replace(str(folder), str(path))
            raise type(error)(said) from error
    return replace(scan, series=replace(scan.series, files=(path,)))


READERS: tuple[Reader, ...] = (
    Reader("NIfTI", _declines_nifti, nifti.read_nifti),
    Reader("NRRD or MetaImage", _declines_itk, itk_formats.read_itk),
    Reader("DICOM", _declines_dicom, read_dicom),
    Reader("archive", _declines_archive, _read_archive),
)
