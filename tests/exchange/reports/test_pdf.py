"""The page for people: made from a made scan, read back as text, and refused where grids differ."""

import re
import zlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from medseg.core.errors import GeometryError, InputError
from medseg.core.findings import Finding, FindingFlag, Grade, Measurement
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code
from medseg.core.report import ModelIdentity, Report
from medseg.core.study import Series, Study
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.exchange.reports.pdf import measured_in_words, page_of, write_report_pdf

TASK = load_task("phantom_ct")
GEOMETRY = Geometry.from_spacing((40, 36, 20), (2.0, 2.0, 4.0))
VOLUME_CODE = Code(value="118565006", scheme="SCT", meaning="Volume")


def finding(number: int, value: float = 1.5, flags: tuple[FindingFlag, ...] = ()) -> Finding:
    return Finding(
        label=TASK.label_schema.named("lesion"),
        instance=number,
        centroid_mm=(20.0, 22.0, 40.0),
        index=(10, 11, 10),
        measurements=(Measurement(name="volume", value=value, unit="ml", code=VOLUME_CODE, interval=(0.4, 2.6)),),
        flags=flags,
    )


def report(*findings: Finding, patient: str = "Doe^Jane", warnings: tuple[str, ...] = ()) -> Report:
    return Report(
        series=Series(Study("ID7", patient, "1.2", "2025-03-04", "Abdomen"), "CT"),
        source=Path("scan.nii.gz"),
        source_sha256="ab" * 32,
        task=TASK,
        model=ModelIdentity(name="made_up", sha256="cd" * 32, medseg_version="0.1"),
        findings=findings,
        warnings=warnings,
        created=datetime(2025, 3, 4, 5, 6, tzinfo=UTC),
        duration_s=12.0,
    )


def scan() -> tuple[Volume, LabelMap]:
    array = np.zeros(GEOMETRY.shape, np.uint8)
    array[8:13, 9:14, 8:13] = 2
    image = np.where(array == 2, 120.0, 40.0).astype(np.float32)
    return Volume(image, GEOMETRY, "HU"), LabelMap(array, GEOMETRY, TASK.label_schema)


def pages(path: Path) -> int:
    return len(re.findall(rb"/Type /Page\b", path.read_bytes()))


def streams(path: Path) -> bytes:
    """All drawing commands of the file, unpacked."""
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", path.read_bytes(), re.DOTALL)
    unpacked = []
    for stream in found:
        try:
            unpacked.append(zlib.decompress(stream))
        except zlib.error:
            continue
    return b"\n".join(unpacked)


@pytest.mark.parametrize("count", [0, 1, 4, 60])
def test_one_page_however_many_findings(count: int, tmp_path: Path) -> None:
    findings = [finding(number + 1, flags=("low_contrast", "touches_border")) for number in range(count)]
    write_report_pdf(report(*findings, warnings=("a gap was filled",) * 9), *scan(), tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert pages(tmp_path / "report.pdf") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report.pdf"]


def test_the_outline_is_drawn_in_the_labels_colour(tmp_path: Path) -> None:
    volume, label_map = scan()
    write_report_pdf(report(finding(1)), volume, label_map, tmp_path / "with.pdf")
    nothing = LabelMap(np.zeros(GEOMETRY.shape, np.uint8), GEOMETRY, TASK.label_schema)
    write_report_pdf(report(finding(1)), volume, nothing, tmp_path / "without.pdf")
    red, green, blue = (f"{part / 255:.9f}"[:5].encode() for part in TASK.label_schema.named("lesion").colour)
    stroke = rb"%s\d* %s\d* %s\d* RG" % (red, green, blue)
    assert re.search(stroke, streams(tmp_path / "with.pdf"))
    assert not re.search(stroke, streams(tmp_path / "without.pdf"))


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.pdf", "two.pdf"):
        write_report_pdf(report(finding(1)), *scan(), tmp_path / name)
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()


def test_names_with_any_characters_and_dollar_signs_do_no_harm(tmp_path: Path) -> None:
    for patient in ("山田^太郎", "a$b$c^{", "\\frac", ""):
        write_report_pdf(report(finding(1), patient=patient), *scan(), tmp_path / "report.pdf")


def test_another_grid_and_an_unwritable_place_are_refused(tmp_path: Path) -> None:
    volume, label_map = scan()
    other = Geometry.from_spacing(GEOMETRY.shape, (1.0, 1.0, 1.0))
    with pytest.raises(GeometryError, match="the mask and the scan of the report"):
        write_report_pdf(report(), Volume(volume.array, other), label_map, tmp_path / "report.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a file stands where its folder should be"):
        write_report_pdf(report(), volume, label_map, tmp_path / "file" / "report.pdf")


def test_how_far_a_vessel_is_narrowed_is_in_the_table() -> None:
    narrowed = Measurement(name="diameter_stenosis", value=53.3, unit="%", code=VOLUME_CODE, interval=(37.1, 67.2))
    healthy = Measurement(name="reference_diameter", value=2.55, unit="mm", code=VOLUME_CODE)
    blockage = finding(1).model_copy(update={"measurements": (narrowed, healthy)})
    assert measured_in_words(blockage) == "narrowed 53.3 % (37.1–67.2), healthy 2.55 mm"


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("is_assessable", [True, False])
def test_what_could_not_be_assessed_is_not_called_nothing(is_assessable: bool) -> None:
    why = {} if is_assessable else {"blockage": "the image has no contrast"}
    figure = page_of(report().model_copy(update={"not_assessable": why}), *scan())
    assert ("Nothing was found." in texts(figure)) == is_assessable
    assert ("blockage: not assessable, the image has no contrast" in texts(figure)) == (not is_assessable)


def test_grades_of_a_finding_and_of_the_scan_are_on_the_page() -> None:
    code = Code(value="CAD_RADS_3", scheme="99MEDSEG", meaning="CAD-RADS 3")
    grade = Grade(name="cad_rads", category="3", scale=code, code=code)
    graded = finding(1).model_copy(update={"grades": (grade,)})
    figure = page_of(report(graded).model_copy(update={"grades": (grade,)}), *scan())
    assert "CAD-RADS 3" in {text.get_text() for text in figure.texts}
    cells = [cell for axes in figure.axes for table in axes.tables for cell in table.get_celld().values()]
    assert {"CAD-RADS", "3"} <= {cell.get_text().get_text() for cell in cells}
