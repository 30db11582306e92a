"""write_measurement_report: every number, code and reference by the plain items, and each lie in a file refused."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_oracle import Grid, enhanced, save
from dicom_results import TASK, Result, images, numbers_of, require_valid, result_on
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.core.findings import Finding, Grade
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code
from medseg.exchange.dicom.writing.measurement_report import write_measurement_report
from medseg.exchange.dicom.writing.regions import regions_of_findings
from medseg.exchange.dicom.writing.report_check import read_groups, require_same_numbers
from medseg.exchange.dicom.writing.segmentation import write_segmentation
from medseg.exchange.read import read_scan

READER = shutil.which("tid1500reader", path=str(Path(sys.executable).parent))


def written(folder: Path, result: Result) -> Path:
    write_segmentation(result.label_map, folder / "seg.dcm", result.made, None, result.regions)
    write_measurement_report(result.report, result.regions, folder / "sr.dcm", result.made, folder / "seg.dcm")
    return folder / "sr.dcm"


def walk(item: Dataset) -> list[Dataset]:
    return [item, *(below for child in item.get("ContentSequence", []) for below in walk(child))]


def named(dataset: Dataset, code: str) -> list[Dataset]:
    return [
        item for item in walk(dataset) if "ConceptNameCodeSequence" in item
        and item.ConceptNameCodeSequence[0].CodeValue == code
    ]  # fmt: skip


def test_findings_measurements_and_references_stand_in_it(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    groups = read_groups(written(tmp_path, result))
    assert [group.tracking_name for group in groups] == [
        "medseg kidney", "medseg cyst 1", "medseg tumour 1", "medseg tumour 2",
    ]  # fmt: skip
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    assert [group.segment for group in groups] == [(segmentation.SOPInstanceUID, n) for n in (1, 2, 3, 4)]
    tracked = [item.TrackingUID for item in segmentation.SegmentSequence]
    assert [group.tracking_uid for group in groups] == tracked[:4]
    own = {pydicom.dcmread(file).SOPInstanceUID for file in result.made.source_files[:2]}
    assert set(groups[1].images) == own  # the cyst lies on the first two slices
    volume = groups[1].numbers[0]
    voxel_ml = 0.7 * 0.9 * 2.5 / 1000
    assert (volume.code, volume.scheme, volume.unit) == ("118565006", "SCT", "ml")
    assert volume.value == pytest.approx(2 * voxel_ml, rel=1e-12)
    assert volume.upper == pytest.approx(0.25 * 2 * voxel_ml)
    assert volume.lower == pytest.approx(0.1 * 2 * voxel_ml)


def test_side_model_flags_and_comments_stand_in_it(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(written(tmp_path, result_on(tmp_path)))
    sites = named(dataset, "363698007")
    assert sites[0].ConceptCodeSequence[0].CodeValue == "64033007"
    assert sites[0].ContentSequence[0].ConceptCodeSequence[0].CodeValue == "7771000"
    assert any("ab" * 32 in item.get("TextValue", "") for item in walk(dataset))
    flags = {item.ConceptCodeSequence[0].CodeValue for item in named(dataset, "BEWARE")}
    assert {"AT_BORDER", "TOO_SMALL"} <= flags
    assert {"a slice was doubtful", "Not for diagnostic use."} <= {item.TextValue for item in named(dataset, "121106")}
    assert (dataset.CompletionFlag, dataset.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


def test_nothing_found_is_said_of_each_label(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    array = np.zeros_like(result.label_map.array)
    empty = LabelMap(array, result.label_map.geometry, TASK.label_schema)
    report = result.report.model_copy(update={"findings": ()})
    regions = regions_of_findings(empty, (), numbers_of(empty))
    write_measurement_report(report, regions, tmp_path / "sr.dcm", result.made, None)
    require_valid(tmp_path / "sr.dcm")
    said = named(pydicom.dcmread(tmp_path / "sr.dcm"), "705057003")
    assert [item.ConceptCodeSequence[0].CodeMeaning for item in said] == ["Absent"] * 3


def test_a_speck_too_small_to_count_is_not_called_absent(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    array = np.where(result.label_map.array == 300, 0, result.label_map.array).astype(np.uint16)
    array[3, 9, 0] = 300
    mask = LabelMap(array, result.label_map.geometry, TASK.label_schema)
    report = result.report.model_copy(update={"findings": result.report.findings[:2]})
    regions = regions_of_findings(mask, report.findings, numbers_of(mask))
    write_segmentation(mask, tmp_path / "seg.dcm", result.made, None, regions)
    write_measurement_report(report, regions, tmp_path / "sr.dcm", result.made, tmp_path / "seg.dcm")
    said = named(pydicom.dcmread(tmp_path / "sr.dcm"), "705057003")
    assert [item.ConceptCodeSequence[0].CodeValue for item in said] == ["NOT_COUNTED"]


GRADE = Grade(
    name="cad_rads",
    category="3",
    scale=Code(value="130720", scheme="DCM", meaning="Coronary Artery Disease Assessment"),
    code=Code(value="130726", scheme="DCM", meaning="3 - Moderate stenosis"),
)


def test_a_label_that_could_not_be_judged_is_not_called_absent(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    empty = LabelMap(np.zeros_like(result.label_map.array), result.label_map.geometry, TASK.label_schema)
    why = {TASK.labels[-1].name: "the image has no contrast"}
    report = result.report.model_copy(update={"findings": (), "not_assessable": why})
    regions = regions_of_findings(empty, (), numbers_of(empty))
    write_measurement_report(report, regions, tmp_path / "sr.dcm", result.made, None)
    said = named(pydicom.dcmread(tmp_path / "sr.dcm"), "705057003")
    assert [item.ConceptCodeSequence[0].CodeMeaning for item in said] == ["Absent", "Absent", "Undetermined"]


def test_grades_of_a_finding_and_of_the_scan_stand_in_it_and_none_may_be_lost(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    first, *others = result.report.findings
    findings = (first.model_copy(update={"grades": (GRADE,)}), *others)
    report = result.report.model_copy(update={"findings": findings, "grades": (GRADE,)})
    dataset = pydicom.dcmread(written(tmp_path, replace(result, report=report)))
    require_valid(tmp_path / "sr.dcm")
    marked = pydicom.dcmread(tmp_path / "seg.dcm")
    said = named(dataset, GRADE.scale.value)
    assert [item.ConceptCodeSequence[0].CodeValue for item in said] == [GRADE.code.value] * 2
    for item, reason in zip(said, ("kidney is cad_rads 3", "the scan is cad_rads 3"), strict=True):
        item.ConceptCodeSequence[0].CodeValue = "130727"
        dataset.save_as(tmp_path / "changed.dcm")
        with pytest.raises(InputError, match=reason):
            require_same_numbers(report, result.regions, marked, tmp_path / "changed.dcm")
        item.ConceptCodeSequence[0].CodeValue = GRADE.code.value


def test_an_enhanced_image_is_referred_to_by_frame(tmp_path: Path) -> None:
    dataset = enhanced(images(Grid()))
    save(dataset, tmp_path / "image" / "enhanced.dcm")
    scan = read_scan(tmp_path / "image")
    result = result_on(tmp_path / "plain")
    made = replace(result.made, source_files=scan.series.files)
    written(tmp_path, replace(result, made=made))
    references = [
        item.ReferencedSOPSequence[0] for item in named(pydicom.dcmread(tmp_path / "sr.dcm"), "121233")
    ]  # fmt: skip
    assert {one.ReferencedSOPInstanceUID for one in references} == {dataset.SOPInstanceUID}
    assert references[1].ReferencedFrameNumber == [1, 2]
    require_valid(tmp_path / "sr.dcm")


Change = Callable[[Dataset], None]


def group_of(dataset: Dataset, number: int) -> Dataset:
    return named(dataset, "125007")[number]


def _value(dataset: Dataset) -> None:
    item = named(group_of(dataset, 1), "118565006")[0].MeasuredValueSequence[0]
    item.FloatingPointValue *= 1.001
    item.NumericValue = f"{item.FloatingPointValue:.12g}"


def _two_values(dataset: Dataset) -> None:
    named(group_of(dataset, 1), "118565006")[0].MeasuredValueSequence[0].NumericValue = "4"


def _unit(dataset: Dataset) -> None:
    item = named(group_of(dataset, 1), "118565006")[0]
    item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = "mm3"


def _code(dataset: Dataset) -> None:
    named(group_of(dataset, 1), "103339001")[0].ConceptNameCodeSequence[0].CodeValue = "81827009"


def _interval(dataset: Dataset) -> None:
    named(group_of(dataset, 1), "371886008")[0].MeasuredValueSequence[0].FloatingPointValue = 1.0
    named(group_of(dataset, 1), "371886008")[0].MeasuredValueSequence[0].NumericValue = "1"


def _segment(dataset: Dataset) -> None:
    named(group_of(dataset, 1), "121191")[0].ReferencedSOPSequence[0].ReferencedSegmentNumber = 3


def _segmentation(dataset: Dataset) -> None:
    named(group_of(dataset, 1), "121191")[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def _finding(dataset: Dataset) -> None:
    named(group_of(dataset, 1), "121071")[0].ConceptCodeSequence[0].CodeValue = "108369006"


def _lost(dataset: Dataset) -> None:
    container = named(dataset, "126010")[0]
    container.ContentSequence = list(container.ContentSequence)[:-1]


def _tracking(dataset: Dataset) -> None:
    named(group_of(dataset, 1), "112040")[0].UID = named(group_of(dataset, 2), "112040")[0].UID


def _no_images(dataset: Dataset) -> None:
    group = group_of(dataset, 1)
    group.ContentSequence = [
        item for item in group.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue != "121233"
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_value, "its numbers of cyst 1"), (_two_values, "says both 4"), (_unit, "its numbers of cyst 1"),
        (_code, "its numbers of cyst 1"), (_interval, "its numbers of cyst 1"), (_segment, "refers to segment"),
        (_segmentation, "refers to segment"), (_finding, "is coded 108369006"), (_lost, "has 3 findings"),
        (_tracking, "followed by one UID"), (_no_images, "refers to no image"),
    ],
)  # fmt: skip
def test_a_report_that_says_otherwise_is_not_delivered(tmp_path: Path, change: Change, reason: str) -> None:
    result = result_on(tmp_path)
    dataset = pydicom.dcmread(written(tmp_path, result))
    marked = pydicom.dcmread(tmp_path / "seg.dcm")
    require_same_numbers(result.report, result.regions, marked, tmp_path / "sr.dcm")
    change(dataset)
    dataset.save_as(tmp_path / "changed.dcm")
    with pytest.raises(InputError, match=reason):
        require_same_numbers(result.report, result.regions, marked, tmp_path / "changed.dcm")


def test_findings_that_are_not_the_masks_are_refused(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    first, second, *others = result.report.findings
    moved: Finding = second.model_copy(update={"index": (0, 0, 0)})
    for findings in ((first, moved, *others), (second, first, *others), (*result.report.findings, first)):
        with pytest.raises(InputError, match="do not belong together"):
            regions_of_findings(result.label_map, findings, result.numbers)


@pytest.mark.skipif(READER is None, reason="dcmqi is not installed: pip install dcmqi")
def test_dcmqi_reads_the_same_numbers(tmp_path: Path) -> None:
    import json

    result = result_on(tmp_path)
    path = written(tmp_path, result)
    command = [str(READER), "--inputDICOM", str(path), "--outputMetadata", str(tmp_path / "read.json")]
    subprocess.run(command, check=True, capture_output=True)
    read = json.loads((tmp_path / "read.json").read_text())["Measurements"]
    by_name = {group["TrackingIdentifier"]: group for group in read}
    for finding, name in zip(result.report.findings, ("kidney", "cyst 1", "tumour 1", "tumour 2"), strict=True):
        theirs = {
            (item["quantity"]["CodeValue"], item["units"]["CodeValue"]): float(item["value"])
            for item in by_name[f"medseg {name}"]["measurementItems"]
        }
        for measured in finding.measurements:
            assert theirs[(measured.code.value, measured.unit)] == pytest.approx(measured.value, rel=1e-6)
