"""A mask that a reader corrected and accepted leaves in place of the model's, and every object says whose it is."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_oracle import Grid, save_all
from dicom_results import TASK, images, mask_on, require_valid, result_folder

from medseg.core.errors import InputError
from medseg.core.findings import Mark
from medseg.core.label_map import LabelMap
from medseg.exchange.labels import read_labels
from medseg.exchange.read import read_scan
from medseg.exchange.reports import pdf
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.review.marks import MarkList, MarkStore
from medseg.review.records import mask_sha256
from medseg.workflows.results.report_study import ReportOptions, report_study

ANNA, BERT = Signature("anna"), Signature("bert")


class Reviewed:
    """A result, the model's mask, a reader's mask with one tumour less, and the store beside the result."""

    def __init__(self, folder: Path) -> None:
        source = save_all(images(Grid()), folder / "image")
        self.folder, self.out = folder / "result", folder / "out"
        self.report = result_folder(source, self.folder)
        self.geometry = read_scan(source).volume.geometry
        self.model = mask_on(self.geometry)
        array = self.model.array.copy()
        array[0:2, 8:, :2] = 0
        self.corrected = LabelMap(array, self.geometry, TASK.label_schema)
        self.store = CorrectionStore(folder / REVIEW_FOLDER)
        self.of = (self.report.source_sha256, TASK.name)

    def correct(self) -> None:
        self.store.correct(self.corrected, self.model, *self.of, by=ANNA)

    def accept(self, label_map: LabelMap) -> None:
        self.store.decide(mask_sha256(label_map), "accepted", None, *self.of, by=BERT)

    def rows(self) -> list[dict[str, str]]:
        with (self.out / "findings.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))


def texts(sr: pydicom.Dataset) -> list[str]:
    return [str(element.value) for element in sr.iterall() if element.keyword == "TextValue"]


@pytest.fixture
def study(tmp_path: Path) -> Reviewed:
    return Reviewed(tmp_path)


def test_an_accepted_correction_is_what_leaves_and_names_its_readers(
    study: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []
    monkeypatch.setattr(pdf, "write", lambda figure, x, y, text, **style: printed.append(text))
    study.correct()
    study.accept(study.corrected)
    report_study(study.folder, ["json", "csv", "dicom-seg", "dicom-sr", "rtstruct", "pdf"], study.out)
    back = read_labels(study.out / "segmentation.dcm", TASK.label_schema, study.geometry)
    np.testing.assert_array_equal(back.label_map.array, study.corrected.array)
    seg = pydicom.dcmread(study.out / "segmentation.dcm")
    assert {one.SegmentAlgorithmType for one in seg.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert seg.ContentCreatorName == "anna"
    sr = pydicom.dcmread(study.out / "measurements.dcm")
    (said,) = [line for line in texts(sr) if line.startswith("Outlines")]
    assert re.match(r"Outlines corrected by anna on .* UTC, accepted by bert on .* UTC\.", said)
    names = [item.PersonName for item in sr.ContentSequence if item.get("ValueType") == "PNAME"]
    assert names == ["bert"]
    told = json.loads((study.out / "report.json").read_text(encoding="utf-8"))
    assert (told["review"]["corrected_by"], told["review"]["reader"]) == ("anna", "bert")
    assert len(told["findings"]) == len(study.report.findings) - 1
    (outlined,) = {(row["outlined_by"], row["decision"], row["reader"]) for row in study.rows()}
    assert outlined == ("anna", "accepted", "bert")
    structures = pydicom.dcmread(study.out / "structures.dcm")
    assert {one.ROIGenerationAlgorithm for one in structures.StructureSetROISequence} == {"SEMIAUTOMATIC"}
    assert any("corrected by anna" in line for line in printed)
    for name in ("segmentation.dcm", "measurements.dcm", "structures.dcm"):
        require_valid(study.out / name)


def test_the_models_own_mask_leaves_when_asked_for_or_when_nobody_accepted(study: Reviewed, tmp_path: Path) -> None:
    study.correct()
    report_study(study.folder, ["json", "csv", "nifti"], study.out)
    told = json.loads((study.out / "report.json").read_text(encoding="utf-8"))
    assert told["review"] is None
    assert any("a correction by anna of" in line and "is not accepted" in line for line in told["warnings"])
    assert {row["outlined_by"] for row in study.rows()} == {study.report.model.name}
    study.accept(study.corrected)
    asked = ReportOptions(uses_model_mask=True)
    report_study(study.folder, ["json"], tmp_path / "model", asked)
    told = json.loads((tmp_path / "model" / "report.json").read_text(encoding="utf-8"))
    assert told["review"] is None
    assert any("was left out, as asked" in line for line in told["warnings"])
    assert len(told["findings"]) == len(study.report.findings)


def test_a_mask_accepted_as_it_is_and_a_rejected_study_say_so(study: Reviewed, tmp_path: Path) -> None:
    study.store.decide(mask_sha256(study.model), "rejected", ("tumour", 2), *study.of, by=ANNA)
    study.accept(study.model)
    report_study(study.folder, ["json", "dicom-sr"], study.out)
    told = json.loads((study.out / "report.json").read_text(encoding="utf-8"))
    assert (told["review"]["decision"], told["review"]["corrected_by"]) == ("accepted", None)
    assert any(line.startswith("tumour 2 was rejected by anna") for line in told["warnings"])
    said = texts(pydicom.dcmread(study.out / "measurements.dcm"))
    assert any(line.startswith("Outlines made by the model, accepted by bert on ") for line in said)
    study.store.decide(mask_sha256(study.model), "rejected", None, *study.of, by=BERT)
    report_study(study.folder, ["json"], tmp_path / "rejected")
    told = json.loads((tmp_path / "rejected" / "report.json").read_text(encoding="utf-8"))
    assert told["review"]["decision"] == "rejected"


def test_what_was_corrected_after_the_acceptance_does_not_stand(study: Reviewed) -> None:
    study.correct()
    study.accept(study.corrected)
    study.store.correct(study.model, study.corrected, *study.of, by=ANNA)
    report_study(study.folder, ["json"], study.out)
    told = json.loads((study.out / "report.json").read_text(encoding="utf-8"))
    assert told["review"] is None
    assert any("is not accepted" in line for line in told["warnings"])


def test_the_models_files_are_not_overwritten_and_a_strange_store_is_told(study: Reviewed, tmp_path: Path) -> None:
    study.correct()
    study.accept(study.corrected)
    before = (study.folder / "report.json").read_bytes()
    with pytest.raises(InputError, match="would replace what the model gave"):
        report_study(study.folder, ["csv"])
    assert [path.name for path in report_study(study.folder, ["dicom-seg"])] == ["segmentation.dcm"]
    assert (study.folder / "report.json").read_bytes() == before
    with pytest.raises(InputError, match="holds no record of a reader"):
        report_study(study.folder, ["csv"], study.out, ReportOptions(reviews=tmp_path / "elsewhere"))


def test_what_readers_measured_by_hand_leaves_with_their_names(
    study: Reviewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []

    def paragraph(_figure: object, _x: float, y: float, text: str) -> float:
        printed.append(text)
        return y - 0.01

    monkeypatch.setattr(pdf, "paragraph", paragraph)
    ends = study.geometry.world([(1, 2, 1), (5, 6, 1)])
    points = tuple((float(x), float(y), float(z)) for x, y, z in ends)
    length_mm = float(np.linalg.norm(ends[0] - ends[1]))
    marks = MarkStore(study.store.folder)
    for reader, kind in (("john", "roi"), ("anna", "length")):
        marks.keep(MarkList(marks=(Mark(kind=kind, plane="axial", points_mm=points),)), study.of[0], reader)
    marks.keep(MarkList(marks=(Mark(kind="length", plane="axial", points_mm=points),)), "f" * 64, "another scan")
    report_study(study.folder, ["json", "dicom-sr", "pdf"], study.out)
    told = json.loads((study.out / "report.json").read_text(encoding="utf-8"))["by_hand"]
    assert [(one["reader"], one["kind"]) for one in told] == [("anna", "length"), ("john", "roi")]
    assert told[0]["measurements"][0]["value"] == pytest.approx(length_mm)
    (line,) = [line for line in printed if line.endswith("by anna")]
    assert line.startswith(f"length {length_mm:.2f} mm (axial, at ")
    (line,) = [line for line in printed if line.endswith("by john")]
    assert re.match(r"ellipse \S+ ± \S+ HU, \S+ to \S+, \S+ mm² \(axial, at ", line)
    said = texts(pydicom.dcmread(study.out / "measurements.dcm"))
    assert {"length 1, drawn by anna", "ellipse 2, drawn by john"} <= set(said)
