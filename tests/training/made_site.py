"""A site with a champion, a folder of reviewed results, and the data set of the beginning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import Task
from medseg.datasets.manifest import Manifest
from medseg.exchange.nifti import write_nifti
from medseg.models.registry.registry import Registry
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.workflows.results.open_study import list_studies, open_study
from medseg.workflows.retraining.selection import Sources
from medseg.workflows.segmenting.segment_study import segment_study
from medseg.workflows.training.train_model import TrainedModel

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
