"""A site with a champion, a folder of reviewed results, and the data set of the beginning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from made_balls import UPRIGHT, plan_for_balls, write_balls

from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import Task, load_task
from medseg.datasets.manifest import Manifest
from medseg.exchange.nifti import write_nifti
from medseg.models.registry.registry import CHAMPION, Registry
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.review.promotion.verdict import GateRules
from medseg.workflows.results.open_study import list_studies, open_study
from medseg.workflows.retraining.selection import Sources
from medseg.workflows.segmenting.segment_study import segment_study
from medseg.workflows.training.train_model import TrainedModel, train_model

YOUNG_RULES = GateRules(most_times_as_slow=20.0, calibration_margin=1.0)
"""Seconds say nothing on a busy machine, and what learned for a second is not calibrated."""

BallImage = Callable[[Geometry, int], tuple[np.ndarray, np.ndarray]]


@dataclass
class Site:
    """Where everything lies, and how a reader corrects a scan of a patient by what is true."""

    folder: Path
    original: Manifest
    trained: TrainedModel
    registry: Registry
    grid: Geometry

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def store(self) -> CorrectionStore:
        return CorrectionStore(self.results / REVIEW_FOLDER)

    def sources(self) -> Sources:
        return Sources((self.results,), self.original)

    def correct(
        self, name: str, image: np.ndarray, truth: np.ndarray, *, accepted: bool = True, task: Task | None = None
    ) -> None:
        """Segment, draw and accept. A second channel is the first's negative; `task` is what the report is to say."""
        sources = {}
        for sign, channel in zip((1, -1), self.original.task.channels, strict=False):
            sources[channel.name] = self.folder / "scans" / f"{name}_{channel.name}.nii.gz"
            write_nifti(sign * image, self.grid, sources[channel.name])
        report = segment_study(sources, self.trained.bundle, self.results / name)
        if task is not None:
            report = report.model_copy(update={"task": task})
            (self.results / name / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
        opened = next(open_study(entry) for entry in list_studies(self.results) if entry.name == name)
        assert opened.label_map is not None
        assert opened.report is not None
        of = opened.report.task.name
        drawn = LabelMap(truth, opened.label_map.geometry, opened.label_map.schema)
        saved = self.store.correct(drawn, opened.label_map, opened.source_sha256, of, by=Signature("jane"))
        if accepted:
            self.store.decide(saved.mask_sha256, "accepted", None, opened.source_sha256, of, by=Signature("jane"))


def young_site(folder: Path) -> Site:
    """A site whose champion has hardly learned anything, with a data set of six balls and eleven for the test."""
    task = load_task("sarcoma_mr")
    made = write_balls(folder / "data", task, range(17))
    rows = tuple(replace(row, fold=_fold(int(row.case.removeprefix("ball")))) for row in made.rows)
    original = replace(made, rows=rows)
    plan = plan_for_balls(task)
    short = plan.training.model_copy(update={"epochs": 1, "steps_per_epoch": 6})
    young = train_model(original, 0, folder / "young", plan=plan.model_copy(update={"training": short}))
    registry = Registry(folder / "store" / "models")
    registry.add(young.folder)
    registry.point(CHAMPION, "1", person="ann", reason="first")
    return Site(folder, original, young, registry, UPRIGHT)


def _fold(number: int) -> int | None:
    return number % 5 if number < 6 else None
