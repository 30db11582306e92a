"""write_measurement_report: the findings of a report as a DICOM structured report (PS3.16 TID 1500).

Each finding is one group (TID 1411): what it is, where it is marked (a segment of the segmentation object, and the
images it lies on), by what name and UID it is followed, its measurements with codes, UCUM units and intervals, and what
to beware of. A label that was looked for and is not in the mask is a group that says absent, so that 'nothing was
found' is said too, or undetermined where it could not be judged. Grades of the whole scan are a group, and so is what
readers measured by hand. Warnings and limits stand as comments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import FileDataset

from medseg.core.findings import Finding, FindingFlag, Grade, Measurement
from medseg.core.labels import Code, Label
from medseg.core.report import Report
from medseg.core.study import Modality
from medseg.exchange.dicom.elements import lenient, text
from medseg.exchange.dicom.files import read_dataset
from medseg.exchange.dicom.uids import uid_from
from medseg.exchange.dicom.writing.by_hand import hand_groups
from medseg.exchange.dicom.writing.elements import person_name
from medseg.exchange.dicom.writing.read_back import deliver
from medseg.exchange.dicom.writing.regions import Region, Regions
from medseg.exchange.dicom.writing.report_check import require_same_numbers
from medseg.exchange.dicom.writing.segmentation import concept, tracking_identifier, tracking_uid
from medseg.exchange.dicom.writing.source import ImageReference, Made, Source, identify, open_source, without_names
from medseg.exchange.dicom.writing.units import unit_code

SERIES_NUMBER = 901

FLAG_CODES: dict[FindingFlag, Code] = {
    "touches_border": Code(value="AT_BORDER", scheme="99MEDSEG", meaning="May go on beyond the scan"),
    "too_small_for_spacing": Code(value="TOO_SMALL", scheme="99MEDSEG", meaning="Too small to be measured well"),
    "low_contrast": Code(value="LOW_CONTRAST", scheme="99MEDSEG", meaning="Hardly differs from its surroundings"),
    "split_from_neighbour": Code(value="SPLIT", scheme="99MEDSEG", meaning="Parted from its neighbour by rule"),
    "for_review": Code(value="REVIEW", scheme="99MEDSEG", meaning="Must be looked at twice"),
}
BEWARE = Code(value="BEWARE", scheme="99MEDSEG", meaning="Beware")
PRESENCE = Code(value="705057003", scheme="SCT", meaning="Presence")
ABSENT = Code(value="2667000", scheme="SCT", meaning="Absent")
UNDETERMINED = Code(value="373068000", scheme="SCT", meaning="Undetermined")
TOO_SMALL_TO_COUNT = Code(value="NOT_COUNTED", scheme="99MEDSEG", meaning="Only pieces too small to be counted")
COMMENT = Code(value="121106", scheme="DCM", meaning="Comment")

_PROCEDURES: dict[Modality, Code] = {
    "CT": Code(value="25045-6", scheme="LN", meaning="CT unspecified body region"),
    "MR": Code(value="25056-3", scheme="LN", meaning="MRI unspecified body region"),
    "PT": Code(value="44136-0", scheme="LN", meaning="PET unspecified body region"),
    "OT": Code(value="18748-4", scheme="LN", meaning="Diagnostic imaging study"),
}
_LATERALITIES = ("7771000", "24028007", "51440002")
"""SNOMED CT left, right, both."""
_ANATOMY = ("91723000", "123037004")
"""SNOMED CT categories of anatomical structures."""


def write_measurement_report(
    report: Report, regions: Regions, path: Path, made: Made, segmentation: Path | None
) -> None:
    """The report's findings as a Comprehensive 3D SR, each referring to its segment in the written `segmentation`.

    `segmentation` is None where nothing is in the mask. The file is read back and every number compared before it
    appears. Raises InputError where a finding has no region, or the file does not read back the same.
    """
    with lenient():
        source = open_source(made, regions.geometry)
        marked = None if segmentation is None else read_dataset(segmentation)
        dataset = _structured_report(report, regions, source, marked)
        deliver(dataset, path, source, lambda file: require_same_numbers(report, regions, marked, file))


def _structured_report(report: Report, regions: Regions, source: Source, marked: FileDataset | None) -> Any:
    import highdicom

    model = source.made.model
    images = source.slices(regions.geometry)
    groups = [_group(finding, regions.of(finding), regions, source, (marked, images)) for finding in report.findings]
    groups.extend(_nothing(label, presence, source) for label, presence in _labels_without_finding(report, regions))
    if report.grades:
        groups.append(_whole_scan(report.grades, source))
    groups.extend(hand_groups(report.by_hand, source))
    observer = highdicom.sr.ObserverContext(
        observer_type=concept(Code(value="121007", scheme="DCM", meaning="Device")),
        observer_identifying_attributes=highdicom.sr.DeviceObserverIdentifyingAttributes(
            uid=uid_from("model", model.name, model.sha256),
            name=f"medseg {model.medseg_version}",
            manufacturer_name="medseg",
            model_name=model.name,
            serial_number=model.sha256,
        ),
    )
    content = highdicom.sr.MeasurementReport(
        observation_context=highdicom.sr.ObservationContext(
            observer_device_context=observer, observer_person_context=_reader(report)
        ),
        procedure_reported=concept(_PROCEDURES[report.series.modality]),
        imaging_measurements=groups,
    )
    reviewed = (report.review.sentence,) if report.review else ()
    for said in (f"Task: {report.task.title}", *reviewed, *report.warnings, *report.limitations):
        content[0].ContentSequence.append(
            highdicom.sr.TextContentItem(
                name=concept(COMMENT), value=said, relationship_type=highdicom.sr.RelationshipTypeValues.CONTAINS
            )
        )
    numbers = (
        report.model_dump_json(
            include={"findings", "grades", "not_assessable", "warnings", "limitations", "review", "by_hand"}
        ),
        regions.content,
    )
    dataset = highdicom.sr.Comprehensive3DSR(
        evidence=[*source.made.plain_headers, *([without_names(marked)] if marked is not None else [])],
        content=content[0],
        series_instance_uid=source.uid("measurement series", *numbers),
        series_number=SERIES_NUMBER,
        sop_instance_uid=source.uid("measurements", *numbers),
        instance_number=1,
        manufacturer="medseg",
        is_complete=True,
    )
    identify(dataset, source, f"{model.name}, measurements")
    return dataset


def _reader(report: Report) -> Any:
    """The reader who decided on the mask, as the person among the observers (TID 1003); None where nobody has."""
    import highdicom

    if report.review is None:
        return None
    return highdicom.sr.ObserverContext(
        observer_type=concept(Code(value="121006", scheme="DCM", meaning="Person")),
        observer_identifying_attributes=highdicom.sr.PersonObserverIdentifyingAttributes(
            name=person_name(report.review.reader)
        ),
    )


def _group(
    finding: Finding,
    region: Region,
    regions: Regions,
    source: Source,
    places: tuple[FileDataset | None, dict[int, ImageReference]],
) -> Any:
    """One finding (TID 1411); `places` holds the segmentation and the image of each slice."""
    import highdicom

    marked, images = places
    if marked is None:
        raise ValueError("a finding needs its segmentation")
    referenced = highdicom.sr.ReferencedSegment(
        sop_class_uid=text(marked, "SOPClassUID"),
        sop_instance_uid=text(marked, "SOPInstanceUID"),
        segment_number=region.number,
        source_images=_source_images(regions, region, images),
    )
    return highdicom.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(
            uid=tracking_uid(region, source), identifier=tracking_identifier(region)
        ),
        referenced_segment=referenced,
        finding_type=concept(finding.label.code),
        finding_category=concept(finding.label.category),
        algorithm_id=_algorithm(source),
        finding_sites=list(_sites(finding.organ or finding.label)) or None,
        measurements=[_measurement(measured) for measured in finding.measurements] or None,
        qualitative_evaluations=[
            *_evaluations(finding.grades),
            *(
                highdicom.sr.QualitativeEvaluation(name=concept(BEWARE), value=concept(FLAG_CODES[flag]))
                for flag in finding.flags
            ),
        ]
        or None,
    )


def _evaluations(grades: Sequence[Grade]) -> list[Any]:
    import highdicom

    return [
        highdicom.sr.QualitativeEvaluation(name=concept(grade.scale), value=concept(grade.code)) for grade in grades
    ]


def _whole_scan(grades: Sequence[Grade], source: Source) -> Any:
    """The grades of the whole scan (TID 1501)."""
    import highdicom

    uid = source.uid("grades", *(grade.name for grade in grades))
    return highdicom.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(uid=uid, identifier="medseg grades of the scan"),
        algorithm_id=_algorithm(source),
        qualitative_evaluations=_evaluations(grades),
    )


def _labels_without_finding(report: Report, regions: Regions) -> Iterator[tuple[Label, Code]]:
    """Labels without a finding, and why: not judged, only in pieces too small to count, or not in the mask."""
    found = {finding.label.index for finding in report.findings}
    marked = {region.label.index for region in regions.regions}
    for label in report.task.labels:
        if label.index in found:
            continue
        if label.name in report.not_assessable:
            yield label, UNDETERMINED
        else:
            yield label, TOO_SMALL_TO_COUNT if label.index in marked else ABSENT


def _nothing(label: Label, presence: Code, source: Source) -> Any:
    """What is said of a label without a finding (TID 1501)."""
    import highdicom

    uid, name = source.uid("no finding", label.name), f"medseg {label.name[:40]}, no finding"
    return highdicom.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(uid=uid, identifier=name),
        finding_type=concept(label.code),
        finding_category=concept(label.category),
        algorithm_id=_algorithm(source),
        qualitative_evaluations=[highdicom.sr.QualitativeEvaluation(name=concept(PRESENCE), value=concept(presence))],
    )


def _source_images(regions: Regions, region: Region, images: dict[int, ImageReference]) -> list[Any]:
    """The images on which a region lies; all of them where it lies between images only (a filled gap)."""
    import highdicom

    slices = regions.slices(region.number)
    own = [images[k] for k in slices if k in images] or [images[k] for k in sorted(images)]
    frames: dict[tuple[str, str], list[int]] = {}
    for image in own:
        found = frames.setdefault((image.sop_class, image.sop_instance), [])
        if image.frame is not None:
            found.append(image.frame)
    return [
        highdicom.sr.SourceImageForSegmentation(
            referenced_sop_class_uid=sop_class,
            referenced_sop_instance_uid=sop_instance,
            referenced_frame_numbers=numbers or None,
        )
        for (sop_class, sop_instance), numbers in frames.items()
    ]


def _sites(label: Label) -> Iterator[Any]:
    """The anatomical structure that a label is, with its side or part."""
    import highdicom

    if label.category.value in _ANATOMY:
        modifier = None if label.modifier is None else concept(label.modifier)
        is_side = label.modifier is not None and label.modifier.value in _LATERALITIES
        yield highdicom.sr.FindingSite(
            anatomic_location=concept(label.code),
            laterality=modifier if is_side else None,
            topographical_modifier=None if is_side else modifier,
        )


def _measurement(measured: Measurement) -> Any:
    import highdicom

    properties = None
    if measured.interval is not None:
        low, high = measured.interval
        properties = highdicom.sr.MeasurementProperties(
            upper_measurement_uncertainty=high - measured.value, lower_measurement_uncertainty=measured.value - low
        )
    return highdicom.sr.Measurement(
        name=concept(measured.code), value=float(measured.value), unit=concept(unit_code(measured.unit)),
        properties=properties,
    )  # fmt: skip


def _algorithm(source: Source) -> Any:
    import highdicom

    model = source.made.model
    return highdicom.sr.AlgorithmIdentification(
        name=model.name, version=model.medseg_version, parameters=[f"model sha256 {model.sha256}"]
    )
