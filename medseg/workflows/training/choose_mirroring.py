"""Whether windows are also seen mirrored: decided on cases that the model did not learn from, and only for a gain.

Seeing each window mirrored (test-time augmentation) doubles the network's time for each axis. A plan that trains with
mirrored images allows it; whether it helps is measured on held-out cases, each with and without.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from medseg.analysis.evaluation.scores import CaseScores
from medseg.core.atomic import whole_file
from medseg.core.study import Case
from medseg.core.volume import Volume
from medseg.models.bundle import ModelBundle
from medseg.models.inference.device import DeviceName, choose_device
from medseg.models.inference.segmenter import NetworkSegmenter, Segmentation
from medseg.models.inference.sliding_window import Progress as WindowProgress
from medseg.workflows.models.evaluate_model import evaluate_model, read_case_scores, write_case_scores
from medseg.workflows.progress import Progress, silent
from medseg.workflows.segmenting.segment_study import read_channels
from medseg.workflows.training.gain import Gain, gain_of

TIMED_CASES = 5
"""Cases of each fold that are segmented once more, mirrored, to say what it costs."""

UNMIRRORED, SECONDS = "validation_unmirrored.csv", "mirroring_seconds.json"


class Mirroring(Gain):
    """What mirroring gained and cost on held-out cases, and whether it is kept.

    Seconds are of one segmented case in the mean, on the machine as loaded as it was.
    """

    axes: tuple[int, ...]
    seconds_without: float
    seconds_with: float


class _Seconds(BaseModel):
    """Seconds of the same cases, without and with mirroring."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    without: tuple[float, ...]
    mirrored: tuple[float, ...]


@dataclass(slots=True)
class _Timed:
    """A segmenter that remembers how long each scan took."""

    segmenter: NetworkSegmenter
    seconds: list[float]

    def segment(self, images: Mapping[str, Volume], progress: WindowProgress | None = None) -> Segmentation:
        segmentation = self.segmenter.segment(images, progress)
        self.seconds.append(segmentation.duration_s)
        return segmentation


def unmirrored(bundle: ModelBundle) -> ModelBundle:
    """The same model, run without mirroring; it is another model, whose hash follows when it is saved."""
    window = bundle.spec.window.model_copy(update={"mirror_axes": ()})
    return replace(bundle, sha256="", spec=bundle.spec.model_copy(update={"window": window}))


def score_unmirrored(
    bundle: ModelBundle,
    cases: Sequence[Case],
    folder: Path,
    *,
    device: DeviceName = "auto",
    progress: Progress = silent,
) -> tuple[CaseScores, ...]:
    """The scores of held-out cases without mirroring, and beside them in the folder the seconds of both ways.

    What the folder already holds is not done again.
    """
    task = bundle.spec.task
    if not (folder / UNMIRRORED).is_file():
        plain = _Timed(NetworkSegmenter(unmirrored(bundle), choose_device(device)), [])
        evaluation = evaluate_model(plain, task, cases, progress)
        mirrored = _Timed(NetworkSegmenter(bundle, choose_device(device)), [])
        for case in cases[:TIMED_CASES]:
            scans = read_channels(case.channels, task)
            mirrored.segment({name: scan.volume for name, scan in scans.items()})
        seconds = _Seconds(without=tuple(plain.seconds[:TIMED_CASES]), mirrored=tuple(mirrored.seconds))
        with whole_file(folder / SECONDS) as unfinished:
            unfinished.write_text(seconds.model_dump_json(indent=1), encoding="utf-8")
        write_case_scores(evaluation.cases, folder / UNMIRRORED)
    return read_case_scores(folder / UNMIRRORED, task)


def choose_mirroring(
    axes: tuple[int, ...],
    without: Sequence[CaseScores],
    mirrored: Sequence[CaseScores],
    subjects: Sequence[str],
    fold_folders: Sequence[Path],
) -> Mirroring:
    """The decision from the same cases, scored both ways; `subjects` are those of `without`, in its order."""
    gain = gain_of(without, mirrored, subjects)
    timed = [
        _Seconds.model_validate(json.loads((folder / SECONDS).read_text(encoding="utf-8"))) for folder in fold_folders
    ]
    count = sum(len(seconds.mirrored) for seconds in timed)
    return Mirroring(
        axes=axes,
        seconds_without=sum(sum(seconds.without) for seconds in timed) / count,
        seconds_with=sum(sum(seconds.mirrored) for seconds in timed) / count,
        **gain.model_dump(),
    )
