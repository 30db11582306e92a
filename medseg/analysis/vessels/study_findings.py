"""Blockages as findings of a study, so that masks, tables and DICOM objects hold them as they hold lesions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medseg.analysis.quantification import concepts
from medseg.analysis.vessels.analyse import VesselAnalysis
from medseg.analysis.vessels.findings.grading import CadRads
from medseg.analysis.vessels.findings.report import Blockage, VesselReport
from medseg.core.findings import Finding, Grade, Measurement
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label
from medseg.core.probability import Probabilities
from medseg.core.task import Task
from medseg.core.volume import Volume

_SCHEME = "99MEDSEG"
_PERCENT = Code(value="408715008", scheme="SCT", meaning="Lumen Diameter Stenosis")
_AREA = Code(value="408714007", scheme="SCT", meaning="Lumen Area Stenosis")
_NASCET_PERCENT = Code(value="NASCET_PERCENT", scheme=_SCHEME, meaning="Percent stenosis by NASCET")
_MINIMAL = Code(value="MIN_DIAMETER", scheme=_SCHEME, meaning="Minimal lumen diameter")
_REFERENCE = Code(value="REF_DIAMETER", scheme=_SCHEME, meaning="Reference lumen diameter")
_LENGTH = Code(value="410668003", scheme="SCT", meaning="Length")

CAD_RADS, NASCET = "cad_rads", "nascet"
_LESION_SCALES = {
    CAD_RADS: Code(value="CAD_RADS", scheme=_SCHEME, meaning="CAD-RADS category of a stenosis"),
    NASCET: Code(value="NASCET", scheme=_SCHEME, meaning="NASCET class of a stenosis"),
}
_CORONARY = "41801008"
"""SNOMED CT's coronary artery."""

_ASSESSMENT = Code(value="130720", scheme="DCM", meaning="Coronary Artery Disease Assessment")
_ASSESSMENTS: dict[CadRads, Code] = {
    "0": Code(value="130723", scheme="DCM", meaning="0 - Documented absence of CAD"),
    "1": Code(value="130724", scheme="DCM", meaning="1 - Minimal non-obstructive CAD"),
    "2": Code(value="130725", scheme="DCM", meaning="2 - Mild non-obstructive CAD"),
    "3": Code(value="130726", scheme="DCM", meaning="3 - Moderate stenosis"),
    "4A": Code(value="130728", scheme="DCM", meaning="4A - Severe stenosis"),
    "4B": Code(value="130729", scheme="DCM", meaning="4B - Severe stenosis"),
    "5": Code(value="130730", scheme="DCM", meaning="5 - Total coronary occlusion"),
    "N": Code(value="130731", scheme="DCM", meaning="N - Non-diagnostic study"),
}
"""CAD-RADS in DICOM (PS3.16 CID 3020, and CID 3021 for 4A and 4B); it says coronary, and is used of nothing else."""


def vessel_labels(task: Task) -> tuple[str, ...]:
    """The names of the task's labels that are vessels."""
    return tuple(label.name for label in task.labels if label.kind == "vessel")


def with_blockages(task: Task) -> Task:
    """The task with a label more, which no network tells: blockages, found by their effect on the vessel."""
    index = max(label.index for label in task.labels) + 1
    blockage = Label(
        index=index,
        name="blockage",
        kind="blockage",
        colour=(72, 201, 232),
        code=Code(value="415582006", scheme="SCT", meaning="Stenosis"),
        category=Code(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure"),
    )
    return task.model_copy(update={"labels": (*task.labels, blockage)})


def soft_vessels(probabilities: Probabilities, task: Task) -> Volume:
    """The probability of any vessel, 0 to 1, from kept probabilities of the task's vessel labels."""
    maps = [probabilities.of_label[name] for name in vessel_labels(task)]
    total = maps[0].volume.array.copy()
    for one in maps[1:]:
        total += one.volume.array
    return Volume(np.minimum(total, 1.0), maps[0].geometry)


def painted(label_map: LabelMap, analysis: VesselAnalysis, task: Task) -> LabelMap:
    """The mask with the blockages over the vessels; `task` is one of `with_blockages`."""
    array = label_map.array.copy()
    array[analysis.blockages > 0] = task.labels[-1].index
    return LabelMap(array, label_map.geometry, task.label_schema)


def blockage_findings(analysis: VesselAnalysis, task: Task, geometry: Geometry) -> tuple[Finding, ...]:
    """A finding for each blockage, by its number; `task` is one of `with_blockages`, `geometry` the mask's grid."""
    return tuple(
        Finding(
            label=task.labels[-1],
            instance=blockage.number,
            centroid_mm=blockage.centre_mm,
            index=_voxel(blockage, analysis, geometry),
            measurements=tuple(_measurements(blockage)),
            grades=tuple(_grades(blockage)),
            flags=("for_review",) if blockage.confidence == "review" else (),
        )
        for blockage in analysis.report.blockages
    )


def study_grades(report: VesselReport, task: Task) -> tuple[Grade, ...]:
    """The CAD-RADS category of the whole scan, by DICOM's own codes where its vessels are coronary; none of veins."""
    category = report.cad_rads
    if category is None:
        return ()
    if any(label.code.value == _CORONARY for label in task.labels):
        return (Grade(name=CAD_RADS, category=category, scale=_ASSESSMENT, code=_ASSESSMENTS[category]),)
    return (_grade(CAD_RADS, category),)


def _grades(blockage: Blockage) -> Iterator[Grade]:
    if blockage.cad_rads is not None:
        yield _grade(CAD_RADS, blockage.cad_rads)
    if blockage.nascet is not None:
        yield _grade(NASCET, blockage.nascet)


def _grade(scale: str, category: str) -> Grade:
    """A category by medseg's own codes."""
    value = f"{scale}_{category}".upper().replace("-", "_")
    code = Code(value=value, scheme=_SCHEME, meaning=f"{scale.upper().replace('_', '-')} {category}")
    return Grade(name=scale, category=category, scale=_LESION_SCALES[scale], code=code)


def _measurements(blockage: Blockage) -> Iterator[Measurement]:
    mm = concepts.MILLIMETRE
    percent, diameter = blockage.diameter_percent, blockage.minimal_diameter_mm
    yield Measurement(name="diameter_stenosis", value=percent, unit="%", code=_PERCENT, interval=blockage.interval)
    area, of_area = blockage.area_percent, blockage.area_interval
    yield Measurement(name="area_stenosis", value=area, unit="%", code=_AREA, interval=of_area)
    if blockage.nascet_percent is not None:
        yield Measurement(name="nascet_stenosis", value=blockage.nascet_percent, unit="%", code=_NASCET_PERCENT)
    yield Measurement(
        name="minimal_diameter", value=diameter, unit=mm, code=_MINIMAL, interval=blockage.diameter_interval_mm
    )
    yield Measurement(name="reference_diameter", value=blockage.reference_diameter_mm, unit=mm, code=_REFERENCE)
    yield Measurement(name="length", value=blockage.length_mm, unit=mm, code=_LENGTH)


def _voxel(blockage: Blockage, analysis: VesselAnalysis, geometry: Geometry) -> tuple[int, int, int]:
    """The voxel of the blockage that is nearest to its tightest place; of none in the mask the nearest of the grid."""
    wanted = geometry.index(np.asarray([blockage.centre_mm]))[0]
    own = np.argwhere(analysis.blockages == blockage.number)
    if len(own):
        i, j, k = own[np.linalg.norm((own - wanted) * geometry.spacing_mm, axis=1).argmin()]
    else:
        i, j, k = np.clip(np.rint(wanted), 0, np.asarray(geometry.shape) - 1)
    return int(i), int(j), int(k)
