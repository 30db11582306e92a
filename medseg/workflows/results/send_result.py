"""A result into an archive that speaks DICOMweb, as the objects that it is reported in."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from medseg.core.errors import InputError
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.exchange.reports.formats import WRITERS
from medseg.workflows.results.report_study import ReportOptions, report_study


def send_result(
    folder: Path, formats: Sequence[str], archive: WebArchiveConfig, options: ReportOptions | None = None
) -> tuple[int, int]:
    """How many objects of a result were stored now, and how many the archive had already.

    Each is asked for until the archive lists it. Raises InputError where a format is no DICOM or cannot be written, or
    the archive refuses an object; UnreachableError where it does not answer.
    """
    others = [name for name in formats if name in WRITERS and not WRITERS[name].is_dicom]
    if others or not formats:
        raise InputError(f"an archive takes DICOM objects; choose of {', '.join(sendable_formats())}")
    with tempfile.TemporaryDirectory(prefix="medseg-send-") as place:
        files = report_study(folder, formats, Path(place) / "out", options)
        with WebArchive(archive) as web:
            stored = web.store(files)
    had = sum(one.was_there for one in stored)
    return len(stored) - had, had


def sendable_formats() -> tuple[str, ...]:
    """The formats that an archive takes, in their order."""
    return tuple(name for name, writer in WRITERS.items() if writer.is_dicom)
