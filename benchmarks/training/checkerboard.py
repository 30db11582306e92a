"""The checkerboard of transposed convolutions on a real data set: shown, measured, and avoided.

    python benchmarks/training/checkerboard.py DATA [--root DATA_ROOT] [--fold 0] [--steps 60] [--picture PNG]

Four FCNs that differ in nothing but how they enlarge their coarse scores are trained for the same steps from the same
seed on the training cases: by trilinear interpolation, and by transposed convolutions whose terms do not overlap,
overlap evenly (kernel twice the stride) or unevenly (kernel twice the stride less one). On held-out cases the score of
the first label, less its mean over a box of one stride, is sorted by its place within the stride: printed is the share
of its variance that the place alone explains. Nothing in the anatomy knows of strides, so it should be none.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from medseg.imaging.preparing.padding import pad_to
from medseg.models.networks.fcn import FCNConfig
from medseg.models.networks.stages import Triple
from medseg.models.weights import set_weights
from medseg.training.cases import PreparedCase, prepare_cases
from medseg.training.distributed import Team
from medseg.training.planning.ladder import Choice
from medseg.training.planning.plan import Plan
from medseg.training.planning.rules import Budget
from medseg.training.train import train
from medseg.workflows.scans.data_sets import open_data_set
from medseg.workflows.training.make_plan import plan_training

DECODERS = {
    "trilinear": {"decoder": "trilinear"},
    "transposed, no overlap": {"decoder": "transposed", "overlap": "none"},
    "transposed, even overlap": {"decoder": "transposed", "overlap": "even"},
    "transposed, uneven overlap": {"decoder": "transposed", "overlap": "uneven"},
}
CASES = 8


class Silence:
    """Nobody is told how the training goes."""

    def step_ended(self, fraction: float, loss: float) -> None: ...

    def epoch_ended(self, records: Sequence[object]) -> None: ...


def planned(plan: Plan, decoder: dict[str, str], steps: int) -> Plan:
    """The plan with an FCN of one skip, so that its last step enlarges by the stride before the coarsest stage."""
    assert isinstance(plan.model.network, FCNConfig)
    network = FCNConfig.model_validate({**plan.model.network.model_dump(), "skips": 1, **decoder})
    training = plan.training.model_copy(update={"steps_per_epoch": steps, "epochs": 1})
    return Plan(model=plan.model.model_copy(update={"network": network}), training=training)


def scores_of(network: torch.nn.Module, case: PreparedCase, plan: Plan) -> NDArray[np.float32]:
    """The score of the first label over background (i, j, k), the case padded to what the network divides by."""
    sides = [-(-n // d) * d for n, d in zip(case.image.shape[1:], plan.model.network.divisor, strict=True)]
    padded, _ = pad_to(case.image, (sides[0], sides[1], sides[2]))
    with torch.inference_mode():
        logits = network(torch.from_numpy(np.ascontiguousarray(padded))[None])[0][0]
    return np.asarray((logits[1] - logits[0]).numpy(), dtype=np.float32)


def share_by_place(scores: NDArray[np.float32], stride: Triple) -> float:
    """The share of the fine variance of scores (i, j, k) that the place within the stride explains: 0 to 1."""
    fine = scores - ndimage.uniform_filter(scores, stride)
    inner = fine[tuple(slice(2 * step, -2 * step) for step in stride)]
    whole = inner[tuple(slice(0, n // step * step) for n, step in zip(inner.shape, stride, strict=True))]
    blocks = whole.reshape([part for n, step in zip(whole.shape, stride, strict=True) for part in (n // step, step)])
    means = blocks.mean(axis=(0, 2, 4))
    return float(means.var() / blocks.var())


def last_stride(config: FCNConfig) -> Triple:
    """By how much the last step enlarges."""
    i, j, k = np.prod(config.strides[:-1], axis=0)
    return int(i), int(j), int(k)


def draw(pictures: dict[str, NDArray[np.float32]]) -> Figure:
    """The middle slice of each decoder's scores, all on one scale of their own."""
    figure = Figure(figsize=(3.0 * len(pictures), 3.4), layout="constrained")
    for axis, (name, scores) in zip(figure.subplots(1, len(pictures)), pictures.items(), strict=True):
        slice_ = scores[:, :, scores.shape[2] // 2].T
        axis.imshow(slice_, cmap="gray", interpolation="nearest", origin="lower")
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--picture", type=Path, default=None)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="medseg-checkerboard-"))
    manifest = open_data_set(options.data, options.root)
    base, _ = plan_training(manifest, options.fold, Budget(), choice=Choice("fcn"))
    task, preparation = base.model.task, base.model.preparation
    training = prepare_cases(manifest.training(options.fold), task, preparation, folder / "prepared")
    held_out = prepare_cases(manifest.validation(options.fold)[:CASES], task, preparation, folder / "prepared")
    pictures = {}
    print(
        f"| decoder | variance explained by the place within the stride, {len(held_out)} cases | loss |\n|---|---|---|"
    )
    for name, decoder in DECODERS.items():
        plan = planned(base, decoder, options.steps)
        final = train(plan, training, [], folder / f"{name}.safetensors", Team(torch.device("cpu")), Silence())
        network = plan.model.network.build(len(task.channels), plan.model.class_count).eval()
        set_weights(network, final.network)
        stride = last_stride(plan.model.network)  # type: ignore[arg-type]
        found = [scores_of(network, case, plan) for case in held_out]
        shares = [share_by_place(scores, stride) for scores in found]
        print(
            f"| {name} | {np.mean(shares):.1%} ({min(shares):.1%} to {max(shares):.1%}) | "
            f"{final.progress.records[-1].loss:.3f} |",
            flush=True,
        )
        pictures[name] = found[0]
    if options.picture is not None:
        draw(pictures).savefig(options.picture, dpi=110)


if __name__ == "__main__":
    main()
