"""A study out to a file: every format that medseg writes, of the newest mask, in one download."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.routes.answers import PRIVATE
from apps.viewer.routes.door import Door, Visit
from medseg.core.errors import InputError
from medseg.workflows.results.report_study import FORMATS, report_study, require_writable
from medseg.workflows.segmenting.segment_on_request import result_name

WORDS = {
    "json": "Report (JSON)",
    "csv": "Findings (CSV)",
    "nifti": "Mask (NIfTI)",
    "nrrd": "Mask (NRRD)",
    "pdf": "Report with pictures (PDF)",
    "radiomics": "Radiomics features (CSV)",
    "dicom-seg": "DICOM SEG",
    "dicom-sr": "DICOM SR (with SEG)",
    "rtstruct": "RTSTRUCT",
    "dicom-pdf": "PDF in DICOM",
    "dicom-pictures": "Key images (DICOM)",
    "dicom-map": "Probability map (DICOM)",
}
"""How each format is called on the page."""

NEEDS_PROBABILITY = "dicom-map"


def export_routes(door: Door) -> list[Route]:
    """The routes of the export dialog."""
    return [
        door.study("formats", "GET", "read", formats),
        door.study("export", "GET", "read", export),
    ]


def formats(visit: Visit) -> Response:
    """The formats in their order, each with its words, and why it is not to be had of this study where it is not."""
    told = [{"name": name, "words": WORDS.get(name, name), "why_not": _why_not(visit, name)} for name in FORMATS]
    return JSONResponse(told, headers=PRIVATE)


def export(visit: Visit) -> Response:
    """The study in the formats that are asked for: one file as it is, several as a zip."""
    wanted = visit.request.query_params.getlist("format")
    if not wanted:
        raise InputError("no format was chosen")
    entry = visit.desk.entry(visit.permit.study)
    if entry.report is None:
        raise InputError("this scan was not segmented, so there is nothing to export; segment it first")
    visit.log("export", ", ".join(wanted))
    with tempfile.TemporaryDirectory(prefix="medseg-export-") as place:
        written = report_study(entry.path, wanted, Path(place) / "out", visit.desk.report_options(entry))
        name, content = _one_file(written, entry.path.name)
    headers = {**PRIVATE, "Content-Disposition": f'attachment; filename="{name}"', "Content-Encoding": "identity"}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _why_not(visit: Visit, name: str) -> str:
    entry = visit.desk.entry(visit.permit.study)
    if entry.report is None:
        return "the scan was not segmented"
    if name == NEEDS_PROBABILITY and not visit.desk.probabilities_of(entry):
        return "the result holds no probabilities"
    try:
        require_writable([name], visit.study.opened.report.source if visit.study.opened.report else entry.path)
    except InputError:
        return "the scan is no DICOM"
    return ""


def _one_file(written: tuple[Path, ...], study: str) -> tuple[str, bytes]:
    """The name and the content of what is sent; no name of a patient is in it."""
    if len(written) == 1:
        return written[0].name, written[0].read_bytes()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in written:
            archive.write(path, path.name)
    return f"{result_name(study, 'export')}.zip", content.getvalue()
