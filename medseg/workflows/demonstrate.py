"""The whole chain on made data, for a first look: make studies, train, segment a held-out DICOM series, compare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.analysis.evaluation.scores import CaseScores
from medseg.core.report import Report
from medseg.datasets.manifest import MANIFEST, Manifest, read_manifest
from medseg.datasets.phantoms.dataset import held_out_studies, write_dataset
from medseg.datasets.phantoms.truth import PhantomTruth
from medseg.exchange.read import read_label_map
from medseg.models.inference.device import DeviceName
from medseg.workflows.models.evaluate_model import score_turned
from medseg.workflows.progress import Progress, silent
from medseg.workflows.segmenting.segment_study import MASK, segment_study
from medseg.workflows.training.make_plan import training_budget
from medseg.workflows.training.train_model import TrainedModel, train_model

MEMORY_GB = 4.0


@dataclass(frozen=True, slots=True)
class SegmentedPhantom:
    """A held-out study: what was found, how it scores, what is true, and where the result lies."""

    name: str
    folder: Path
    report: Report
    scores: CaseScores
    truth: PhantomTruth


@dataclass(frozen=True, slots=True)
class Demonstration:
    """The model that was trained and the held-out studies it segmented."""

    model: TrainedModel
    studies: tuple[SegmentedPhantom, ...]


def demonstrate(
    folder: Path, *, minutes: float, device: DeviceName = "auto", progress: Progress = silent
) -> Demonstration:
    """Data in FOLDER/data, the training in FOLDER/run, results in FOLDER/studies; what is there already is kept."""
    manifest = make_phantoms(folder / "data", progress=progress)
    budget = training_budget(device, MEMORY_GB, minutes)
    model = train_model(manifest, 0, folder / "run", budget=budget, progress=progress)
    studies = []
    for study in held_out_studies(manifest):
        output = folder / "studies" / study.name
        report = segment_study({"scan": study.dicom}, model.bundle, output, device=device, progress=progress)
        schema = manifest.task.label_schema
        predicted, reference = read_label_map(output / MASK, schema), read_label_map(study.label, schema)
        scores = score_turned(predicted, reference, manifest.task, study.name)
        truth = PhantomTruth.model_validate_json(study.truth.read_text(encoding="utf-8"))
        studies.append(SegmentedPhantom(study.name, output, report, scores, truth))
    return Demonstration(model, tuple(studies))


def make_phantoms(
    folder: Path, *, cases: int = 20, held_out: int = 2, seed: int = 0, progress: Progress = silent
) -> Manifest:
    """The manifest of the made data set in the folder, which is made where it does not exist."""
    if (folder / MANIFEST).is_file():
        return read_manifest(folder, folder)
    return write_dataset(
        folder,
        cases=cases,
        held_out=held_out,
        seed=seed,
        on_study=lambda done, total: progress("Making studies", done, total),
    )
