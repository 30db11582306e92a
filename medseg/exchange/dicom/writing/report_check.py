"""read_groups: the measurement groups of a structured report by its plain items, and the check against the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from medseg.core.report import Report
from medseg.exchange.dicom.elements import items, number, text, whole
from medseg.exchange.dicom.files import read_dataset
from medseg.exchange.dicom.writing.by_hand import places_lps
from medseg.exchange.dicom.writing.read_back import undelivered
from medseg.exchange.dicom.writing.regions import Regions

_GROUP = "125007"
_TRACKING_UID = "112040"
_TRACKING_NAME = "112039"
_SEGMENT = "121191"
_FINDING = "121071"
_UPPER, _LOWER = "371886008", "371885007"

_SAME_NUMBER = 1e-9
"""How far, as a share, a decimal string of 16 characters may lie from the number it says."""


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """One measurement: its code and scheme, its unit, its value, and how far the interval reaches up and down.

    `places` are the points (x, y, z in LPS+ mm) that it is inferred from, none where it is of a segment.
    """

    code: str
    scheme: str
    unit: str
    value: float
    upper: float | None
    lower: float | None
    places: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class WrittenGroup:
    """One measurement group: how it is followed, what it is of, the segment it refers to, its numbers, and its
    evaluations as pairs of codes: what is judged, and how.
    """

    tracking_uid: str
    tracking_name: str
    finding_code: str
    segment: tuple[str, int] | None
    images: tuple[str, ...]
    numbers: tuple[WrittenNumber, ...]
    evaluations: tuple[tuple[str, str], ...] = ()


def read_groups(path: Path) -> tuple[WrittenGroup, ...]:
    """The measurement groups of a structured report, in order. Raises InputError where an item is damaged."""
    found: list[WrittenGroup] = []
    waiting: list[Dataset] = [read_dataset(path)]
    while waiting:
        item = waiting.pop(0)
        if _name(item) == _GROUP:
            found.append(_group(item, path.name))
        else:
            waiting.extend(items(item, "ContentSequence", path.name))
    return tuple(found)


def require_same_numbers(report: Report, regions: Regions, marked: FileDataset | None, path: Path) -> None:
    """Refuse a written structured report that does not say the report's findings, number by number."""
    all_groups = read_groups(path)
    _require_hand_measurements(report, all_groups)
    _require_grades(report, all_groups)
    groups = [group for group in all_groups if group.segment is not None]
    if len(groups) != len(report.findings):
        raise undelivered(f"it has {len(groups)} findings where the report has {len(report.findings)}")
    if len({group.tracking_uid for group in groups}) != len(groups):
        raise undelivered("two of its findings are followed by one UID")
    object_uid = "" if marked is None else text(marked, "SOPInstanceUID")
    for finding, group in zip(report.findings, groups, strict=True):
        region = regions.of(finding)
        if group.segment != (object_uid, region.number):
            raise undelivered(f"its {region.name} refers to segment {group.segment}, not to {region.number}")
        if group.finding_code != finding.label.code.value:
            raise undelivered(f"its {region.name} is coded {group.finding_code}, not {finding.label.code.value}")
        if not group.images:
            raise undelivered(f"its {region.name} refers to no image")
        meant = [
            WrittenNumber(
                *(measured.code.value, measured.code.scheme, measured.unit, measured.value),
                *(None, None) if measured.interval is None
                else (measured.interval[1] - measured.value, measured.value - measured.interval[0]),
            )
            for measured in finding.measurements
        ]  # fmt: skip
        for grade in finding.grades:
            if (grade.scale.value, grade.code.value) not in group.evaluations:
                raise undelivered(f"it does not say that its {region.name} is {grade.name} {grade.category}")
        if list(group.numbers) != meant:
            raise undelivered(f"its numbers of {region.name} are {list(group.numbers)}, not {meant}")


def _require_hand_measurements(report: Report, groups: Sequence[WrittenGroup]) -> None:
    """Refuse groups that do not say what was measured by hand, number by number and point by point."""
    written = [group.numbers for group in groups if any(number.places for number in group.numbers)]
    if len(written) != len(report.by_hand):
        raise undelivered(f"it has {len(written)} measurements by hand where the report has {len(report.by_hand)}")
    for drawn, numbers in zip(report.by_hand, written, strict=True):
        meant = [
            (measured.code.value, measured.unit, measured.value, tuple(np.float32(points).ravel().tolist()))
            for measured, points in zip(drawn.measurements, places_lps(drawn), strict=True)
        ]
        if [(number.code, number.unit, number.value, number.places) for number in numbers] != meant:
            raise undelivered(f"its numbers of a {drawn.kind} by {drawn.reader} are {list(numbers)}, not {meant}")


def _require_grades(report: Report, groups: Sequence[WrittenGroup]) -> None:
    """Refuse groups that leave out a grade of the whole scan."""
    said = {pair for group in groups if group.segment is None for pair in group.evaluations}
    for grade in report.grades:
        if (grade.scale.value, grade.code.value) not in said:
            raise undelivered(f"it does not say that the scan is {grade.name} {grade.category}")


def _group(container: Dataset, name: str) -> WrittenGroup:
    content = items(container, "ContentSequence", name)
    segment, images = None, []
    for item in content:
        for reference in items(item, "ReferencedSOPSequence", name):
            uid = text(reference, "ReferencedSOPInstanceUID")
            if _name(item) == _SEGMENT:
                segment = (uid, whole(reference, "ReferencedSegmentNumber", name) or 0)
            else:
                images.append(uid)
    said = {_name(item): item for item in content}
    return WrittenGroup(
        tracking_uid=text(said.get(_TRACKING_UID, Dataset()), "UID"),
        tracking_name=text(said.get(_TRACKING_NAME, Dataset()), "TextValue"),
        finding_code=_code(said.get(_FINDING, Dataset()), name),
        segment=segment,
        images=tuple(images),
        numbers=tuple(_number(item, name) for item in content if text(item, "ValueType") == "NUM"),
        evaluations=tuple((_name(item), _code(item, name)) for item in content if text(item, "ValueType") == "CODE"),
    )


def _number(item: Dataset, name: str) -> WrittenNumber:
    concept = (items(item, "ConceptNameCodeSequence", name) or [Dataset()])[0]
    measured = (items(item, "MeasuredValueSequence", name) or [Dataset()])[0]
    unit = (items(measured, "MeasurementUnitsCodeSequence", name) or [Dataset()])[0]
    ends = {_name(part): _value(part, name) for part in items(item, "ContentSequence", name)
            if text(part, "ValueType") == "NUM"}  # fmt: skip
    return WrittenNumber(
        code=text(concept, "CodeValue"),
        scheme=text(concept, "CodingSchemeDesignator"),
        unit=text(unit, "CodeValue"),
        value=_value(item, name),
        upper=ends.get(_UPPER),
        lower=ends.get(_LOWER),
        places=tuple(
            float(value)
            for part in items(item, "ContentSequence", name)
            if text(part, "ValueType") == "SCOORD3D"
            for value in part.GraphicData
        ),
    )


def _code(item: Dataset, name: str) -> str:
    concept = (items(item, "ConceptCodeSequence", name) or [Dataset()])[0]
    return text(concept, "CodeValue") or text(concept, "LongCodeValue")


def _value(item: Dataset, name: str) -> float:
    """The number in full, after the check that its decimal string says the same."""
    measured = (items(item, "MeasuredValueSequence", name) or [Dataset()])[0]
    decimal, full = number(measured, "NumericValue", name), number(measured, "FloatingPointValue", name)
    if decimal is None:
        raise undelivered("one of its measurements has no value")
    if full is None:
        return decimal
    if abs(decimal - full) > _SAME_NUMBER * max(1.0, abs(full)):
        raise undelivered(f"one of its measurements says both {decimal} and {full}")
    return full


def _name(item: Dataset) -> str:
    concept = (items(item, "ConceptNameCodeSequence") or [Dataset()])[0]
    return text(concept, "CodeValue")
