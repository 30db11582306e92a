"""Does the gate let a better model through, and refuse spoilt ones? On real hippocampi, with the models of a benchmark.

    python benchmarks/promotion_gate.py DATA [--folder out/active_learning] [--seed 0]

Run `active_learning.py` first. The champion is its first model, of 20 subjects; the frozen test its 40 test cases. The
challengers: the first model with noise on its weights; the first model fine-tuned on masks whose two labels were
swapped; and the model after the last round of the worklist.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from active_learning import MANIFEST, ROUND_STEPS, WATCHED, Parts, parts, plan_of, trained

from medseg.core.label_map import LabelMap
from medseg.core.study import Case
from medseg.datasets.manifest import DataFile, Manifest
from medseg.exchange.read import read_label_map
from medseg.exchange.write import write_label_map
from medseg.models.bundle import ModelBundle, load_bundle, save_bundle
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.workflows.progress import silent
from medseg.workflows.retraining.judge import judge_challenger, promote
from medseg.workflows.retraining.selection import open_register
from medseg.workflows.scans.data_sets import open_data_set
from medseg.workflows.training.fine_tune import FineTuning


def noisy(bundle: ModelBundle, noise: float, folder: Path) -> Path:
    """The model with noise on its weights, by each tensor's own standard deviation."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, tensor in bundle.weights.items():
        spread = tensor.std() if tensor.numel() > 1 else 0.0
        weights[name] = tensor + noise * spread * torch.randn(tensor.shape, generator=generator)
    save_bundle(folder, bundle.spec, weights, bundle.provenance, None)
    return folder


def swapped(bundle: ModelBundle, manifest: Manifest, cases: list[Case], watched: list[Case], folder: Path) -> Path:
    """The model fine-tuned on masks whose front and back were exchanged."""
    names = {case.name for case in cases}
    rows = []
    for row, case in zip(manifest.rows, manifest.cases, strict=True):
        if row.case not in names or case.label is None:
            rows.append(row)
            continue
        mask = read_label_map(case.label, manifest.task.label_schema)
        wrong = np.array([0, 2, 1], np.uint8)[mask.array]
        path = folder / "masks" / f"{row.case}.nii.gz"
        write_label_map(LabelMap(wrong, mask.geometry, mask.schema), path)
        rows.append(replace(row, label=DataFile(str(path.absolute()))))
    wrong_manifest = replace(manifest, rows=tuple(rows))
    trained(wrong_manifest, cases, watched, folder / "run", FineTuning(bundle, plan_of(manifest, ROUND_STEPS, 0)))
    return folder / "run" / "model"


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
    parser.add_argument("--last", default="worklist4")
    parser.add_argument("--pool", type=int, default=80)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    manifest = open_data_set(MANIFEST, arguments.data)
    given = parts(manifest, arguments.seed, arguments.pool)
    runs = arguments.folder / f"seed{arguments.seed}"
    first, test_set = load_bundle(runs / "start" / "model"), frozen(manifest, given)
    with tempfile.TemporaryDirectory() as place:
        registry = Registry(Path(place) / "registry")
        registry.point(CHAMPION, str(registry.add(runs / "start" / "model").number), person="benchmark", reason="first")
        open_register(registry.folder, test_set, first, silent)
        challengers = {
            "little noise on the weights": noisy(first, 0.2, Path(place) / "little"),
            "much noise on the weights": noisy(first, 0.6, Path(place) / "much"),
            "swapped labels": swapped(first, manifest, given.start, given.test[:WATCHED], Path(place) / "swapped"),
            "40 more read": runs / arguments.last / "model",
        }
        for name, folder in challengers.items():
            registry.point(CHALLENGER, str(registry.add(folder).number), person="benchmark", reason=name)
            verdict = judge_challenger(registry.folder, test_set)
            print(f"== {name}\n{verdict.markdown()}", flush=True)
            if verdict.is_passed:
                promote(registry.folder, CHALLENGER, person="benchmark")
                print(f"promoted: the champion is version {registry.aliases()[CHAMPION]}")


if __name__ == "__main__":
    main()
