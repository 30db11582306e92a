"""Champion and challenger on the same scans, scan by scan, so that both meet the machine as busy as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from medseg.analysis.evaluation.calibration import Reliability, reliability
from medseg.analysis.evaluation.detection import CaseDetections, detect
from medseg.analysis.evaluation.scores import CaseScores
from medseg.analysis.quantification.lesions import find_instances
from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.study import Case
from medseg.core.task import Task
from medseg.core.volume import Volume
from medseg.exchange.read import read_label_map
from medseg.models.inference.device import DeviceName, choose_device
from medseg.models.inference.ensemble import Model, control_of
from medseg.models.inference.kept_maps import Keep
from medseg.models.inference.segmenter import NetworkSegmenter, Segmentation
from medseg.models.quality.temperature import calibrated
from medseg.review.promotion.gate import Measured
from medseg.workflows.models.evaluate_model import score_turned
from medseg.workflows.progress import Progress, silent
from medseg.workflows.segmenting.segment_study import read_channels


@dataclass(frozen=True, slots=True, eq=False)
class JudgedScan:
    """A scan by channel, and the mask that is right."""

    name: str
    images: Mapping[str, Volume]
    reference: LabelMap


def judged_scans(cases: Sequence[Case], task: Task) -> Iterator[JudgedScan]:
    """The scans of cases, one in memory at a time. Raises InputError where one has no reference."""
    for case in cases:
        if case.label is None:
            raise InputError(f"case {case.name} has no reference mask to judge by")
        images = {name: scan.volume for name, scan in read_channels(case.channels, task).items()}
        yield JudgedScan(case.name, images, read_label_map(case.label, task.label_schema))


def measure(
    models: Sequence[Model],
    scans: Iterable[JudgedScan],
    *,
    count: int | None = None,
    device: DeviceName = "auto",
    progress: Progress = silent,
) -> tuple[Measured, ...]:
    """Each model's scores on the scans, its seconds a scan, how true its probabilities are, its lesions.

    `count` is how many scans there are, for the progress, where that is known.
    """
    meters = [_Meter(model, NetworkSegmenter(model, choose_device(device))) for model in models]
    with tempfile.TemporaryDirectory() as place:
        for done, scan in enumerate(scans, start=1):
            for meter in meters:
                meter.look(scan, Path(place))
            progress("Measuring champion and challenger", done, count or done)
    return tuple(meter.measured for meter in meters)


@dataclass(slots=True, eq=False)
class _Meter:
    """What is known so far of one model."""

    model: Model
    segmenter: NetworkSegmenter
    scored: list[CaseScores] = field(default_factory=list)
    lesions: list[CaseDetections] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    truth: Reliability = field(default_factory=Reliability)

    def look(self, scan: JudgedScan, folder: Path) -> None:
        task = self.model.spec.task
        made = self.segmenter.segment(scan.images, None, Keep(tuple(label.name for label in task.labels), folder))
        self.scored.append(score_turned(made.label_map, scan.reference, task, scan.name))
        if any(label.is_counted for label in task.labels):
            self.lesions.append(_lesions(made.label_map, scan.reference, task, scan.name))
        self.seconds.append(made.duration_s)
        self.truth += _reliability(self._as_delivered(made, folder), scan.reference)

    def _as_delivered(self, made: Segmentation, folder: Path) -> Segmentation:
        """With calibrated probabilities, where the model has quality control."""
        quality = control_of(self.model)
        if quality is None or made.probabilities is None:
            return made
        return replace(made, probabilities=calibrated(made.probabilities, quality.temperature, folder))

    @property
    def measured(self) -> Measured:
        return Measured(
            self.model.sha256,
            tuple(self.scored),
            median(self.seconds or [0.0]),
            self.truth.expected_error,
            tuple(self.lesions),
        )


def _lesions(made: LabelMap, reference: LabelMap, task: Task, case: str) -> CaseDetections:
    """The lesions of all counted labels: one is hit by a lesion of its own label."""
    found = [find_instances(one.reoriented("RAS"), task) for one in (made, reference)]
    parts = []
    for label in task.labels:
        if label.is_counted:
            predicted, true = ([one.component for one in some if one.label == label] for some in found)
            parts.append(detect(predicted, true, reference.geometry.voxel_volume_ml, case=case))
    return _joined(parts, case)


def _joined(parts: Sequence[CaseDetections], case: str) -> CaseDetections:
    """The lesions of several labels as those of one case: reference numbers count on from label to label."""
    predicted, before = [], 0
    for part in parts:
        for lesion in part.predicted:
            number = None if lesion.reference is None else lesion.reference + before
            predicted.append(replace(lesion, reference=number))
        before += len(part.reference_ml)
    return CaseDetections(case, tuple(predicted), tuple(ml for part in parts for ml in part.reference_ml))


def _reliability(made: Segmentation, reference: LabelMap) -> Reliability:
    """Over all labels, voxel by voxel on the scan's grid."""
    total = Reliability()
    if made.probabilities is None:
        return total
    turned = reference.reoriented("RAS")
    for name, kept in made.probabilities.of_label.items():
        array = kept.geometry.reorientation_to("RAS").apply(kept.array)
        total += reliability(array[turned.known], turned.mask(reference.schema.named(name).index)[turned.known])
    return total
