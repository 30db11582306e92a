"""A scan that was segmented, read once more in the way it was read then, without asking its user again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medseg.core.errors import InputError
from medseg.core.report import Report
from medseg.exchange import archive
from medseg.exchange.dicom.files import is_dicom
from medseg.exchange.read import read_scan
from medseg.exchange.scan import Mends, Scan


def read_again(report: Report, source: Path) -> Scan:
    """The scan of a report at `source`, by the choices of series, phase, gaps and affine that give the same voxels.

    Where none gives the voxels that were segmented, the first that can be read: compare its hash with the report's.
    Raises InputError where it cannot be read at all.
    """
    first: Scan | None = None
    problem: InputError | None = None
    for mends in _choices(report):
        try:
            scan = read_scan(
                source, series=mends.series, phase=mends.phase, allow_gaps=mends.allow_gaps, affine=mends.affine
            )
        except InputError as error:
            problem = problem or error
            continue
        if scan.sha256 == report.source_sha256:
            return scan
        first = first or scan
    if first is not None:
        return first
    raise problem or InputError(f"{source} cannot be read")


@contextmanager
def unpacked_source(source: Path) -> Iterator[Path]:
    """The file or folder that a scan is read from: an archive's content while the block lasts, else `source` itself."""
    if source.is_dir() or is_dicom(source) or not archive.is_archive(source):
        yield source
        return
    with archive.unpacked(source) as folder:
        members = sorted(folder.iterdir())
        yield members[0] if len(members) == 1 else folder


def may_be_dicom(source: Path) -> bool:
    """Whether a DICOM scan may lie at a path: a DICOM file, a folder, or an archive; a mask in NIfTI never is one."""
    return source.is_dir() or (source.is_file() and (is_dicom(source) or archive.is_archive(source)))


def _choices(report: Report) -> Iterator[Mends]:
    """The ways in which the scan may have been read, the plainest first."""
    series = report.series.series_uid or None
    if series is None:
        yield Mends()
        yield Mends(affine="sform")
        yield Mends(affine="qform")
        return
    phase = report.series.description.rpartition(" [")[2].removesuffix("]")
    yield Mends(series=series)
    yield Mends(series=series, allow_gaps=True)
    if phase != report.series.description:
        yield Mends(series=series, phase=phase)
        yield Mends(series=series, phase=phase, allow_gaps=True)
