"""Does the gate let a better model through, and refuse spoilt ones? On real hippocampi, with the models of a benchmark.

    python benchmarks/learning/promotion_gate.py DATA [--folder out/active_learning] [--seed 0]

Run `active_learning.py` first. The champion is its first model, of 20 subjects; the frozen test its 50 test cases. The
challengers: the first model with noise on its weights; fine-tuned on masks whose two labels were swapped; the model
after the last round of the worklist, as it is, and with a temperature set on scans of the pool that nobody read; and
the same with a limit below which pieces are thrown away, which gains on average and loses the small.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from reading_rounds import MANIFEST, Parts, parts, plan_of, trained

from medseg.core.label_map import LabelMap
from medseg.datasets.manifest import DataFile, Manifest
from medseg.exchange.read import read_label_map
from medseg.exchange.write import write_label_map
from medseg.imaging.regions.islands import RemoveSmall
from medseg.models.bundle import ModelBundle, load_bundle, save_bundle
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.training.planning.plan import Plan
from medseg.workflows.models.qualify_model import qualify_model
from medseg.workflows.progress import silent
from medseg.workflows.retraining.judge import judge_challenger, promote
from medseg.workflows.retraining.selection import open_register
from medseg.workflows.scans.data_sets import open_data_set
from medseg.workflows.training.fine_tune import FineTuning

Draw = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
SMALL_ML = 1.23
"""Of a hundred structures that the best model finds, two are smaller."""


def noisy(bundle: ModelBundle, noise: float, folder: Path) -> Path:
    """The model with noise on its weights, by each tensor's own standard deviation."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, tensor in bundle.weights.items():
        spread = tensor.std() if tensor.numel() > 1 else 0.0
        weights[name] = tensor + noise * spread * torch.randn(tensor.shape, generator=generator)
    save_bundle(folder, bundle.spec, weights, bundle.provenance, None)
    return folder


def swapped(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Front and back exchanged."""
    return np.array([0, 2, 1], np.uint8)[mask]


def taught(bundle: ModelBundle, manifest: Manifest, given: Parts, draw: Draw, folder: Path, plan: Plan) -> Path:
    """The model fine-tuned on the cases of the start, with masks that somebody drew otherwise."""
    labels = {case.name: case.label for case in given.start}
    rows = []
    for row in manifest.rows:
        label = labels.get(row.case)
        if label is not None and not (folder / "run" / "model").is_dir():
            mask = read_label_map(label, manifest.task.label_schema)
            path = (folder / "masks" / f"{row.case}.nii.gz").absolute()
            write_label_map(LabelMap(draw(mask.array), mask.geometry, mask.schema), path)
            rows.append(replace(row, label=DataFile(str(path))))
        else:
            rows.append(row)
    trained(replace(manifest, rows=tuple(rows)), given.start, given.watched, folder / "run", FineTuning(bundle, plan))
    return folder / "run" / "model"


def qualified(place: Path, manifest: Manifest, given: Parts, folder: Path) -> Path:
    """The model with quality control, from the scans of the pool that it did not learn from."""
    learned = load_bundle(place).provenance.case_sha256
    unread = {case.name for case in given.pool if case.name not in learned}
    rows = tuple(
        replace(row, fold=0 if row.case in unread else 1)
        for row in manifest.rows
        if row.case in unread or row.case in learned
    )
    qualify_model(place, replace(manifest, rows=rows), 0, folder)
    return folder


def without_small(bundle: ModelBundle, folder: Path) -> Path:
    """The model with a limit below which pieces are thrown away."""
    spec = bundle.spec.model_copy(update={"refinement": (RemoveSmall(min_volume_ml=SMALL_ML),)})
    save_bundle(folder, spec, bundle.weights, bundle.provenance, None, bundle.quality)
    return folder


def frozen(manifest: Manifest, given: Parts) -> Manifest:
    """The data set with the benchmark's test cases as its own."""
    names = {case.name for case in given.test}
    rows = tuple(replace(row, fold=None if row.case in names else 1) for row in manifest.rows)
    return replace(manifest, rows=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder that holds msd_task04_hippocampus")
    parser.add_argument("--folder", type=Path, default=Path("out/active_learning"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--last", default="as_they_are_worklist3")
    parser.add_argument("--pool", type=int, default=60)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--only", default="", help="judge those whose name holds this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    manifest = open_data_set(MANIFEST, arguments.data)
    given = parts(manifest, arguments.seed, arguments.pool)
    runs = arguments.folder / f"seed{arguments.seed}"
    first = load_bundle(runs / "start" / "model")
    plan = plan_of(manifest, arguments.steps, 0, arguments.batch)
    with tempfile.TemporaryDirectory() as place:
        best = runs / arguments.last / "model"
        calibrated = qualified(best, manifest, given, Path(place) / "calibrated")
        challengers = {
            "little noise on the weights": noisy(first, 0.2, Path(place) / "little"),
            "much noise on the weights": noisy(first, 0.6, Path(place) / "much"),
            "swapped labels": taught(first, manifest, given, swapped, runs / "swapped", plan),
            "30 more read": best,
            "30 more read, small pieces thrown away": without_small(load_bundle(calibrated), Path(place) / "large"),
            "30 more read, temperature set": calibrated,
        }
        chosen = {name: folder for name, folder in challengers.items() if arguments.only in name}
        judge_all(first, chosen, frozen(manifest, given))


def judge_all(first: ModelBundle, challengers: dict[str, Path], test_set: Manifest) -> None:
    """The verdicts on all challengers against the first model, the one that should pass last."""
    with tempfile.TemporaryDirectory() as place:
        registry = Registry(Path(place) / "registry")
        save_bundle(Path(place) / "first", first.spec, first.weights, first.provenance, None)
        registry.point(CHAMPION, str(registry.add(Path(place) / "first").number), person="benchmark", reason="first")
        open_register(registry.folder, test_set, first, silent)
        for name, folder in challengers.items():
            registry.point(CHALLENGER, str(registry.add(folder).number), person="benchmark", reason=name)
            verdict = judge_challenger(registry.folder, test_set)
            print(f"== {name}\n{verdict.markdown()}", flush=True)
            if verdict.is_passed:
                promote(registry.folder, CHALLENGER, person="benchmark")
                print(f"promoted: the champion is version {registry.aliases()[CHAMPION]}")


if __name__ == "__main__":
    main()
