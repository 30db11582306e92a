"""Every rung of the ladder on one data set at an equal budget: the leaderboard.

    python benchmarks/training/ladder.py DATA --minutes 20 [--root DATA_ROOT] [--fold 0] [--folder RUNS]
                                [--networks unet3d fcn ...] [--losses dice focal] [--device cpu] [--memory-gb 8]

Each rung is planned from the data, trained and scored on the held-out fold by `train_model`, as `medseg train` does, in
a process of its own; a run that is there already is scored again, not trained. Printed, best first, in Markdown:
Dice and NSD with 95 % intervals; parameters; FLOPs of one patch's forward pass (convolutions and matrix products, a
multiplication and an addition counting as two); seconds of an epoch; and the peak memory of the process, or of the GPU.

    python benchmarks/training/ladder.py --memory

counts, without training, the bytes that each rung keeps for its backward pass, beside the U-Net's: where
`RELATIVE_MEMORY` in medseg/training/planning/ladder.py comes from.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from medseg.models.networks.config import NetworkConfig
from medseg.models.networks.stages import Triple
from medseg.training.planning.ladder import Choice, LossName, NetworkName, Stages, choose_network
from medseg.training.planning.plan import Plan, read_plan
from medseg.training.planning.rules import Budget, choose_channels, choose_stages

META = torch.device("meta")  # shapes without numbers


@dataclass(frozen=True)
class Row:
    """What the leaderboard says of one rung; Dice and NSD with the ends of their intervals."""

    network: NetworkName
    dice: tuple[float, float, float]
    nsd: tuple[float, float, float]
    tolerance_mm: float
    parameters: int
    flops: int
    epoch_s: float
    epochs: int
    peak_gb: float


@dataclass(frozen=True)
class Trial:
    """One rung to be trained."""

    data: Path
    root: Path | None
    fold: int
    folder: Path
    budget: Budget
    choice: Choice


def parameters_and_flops(plan: Plan) -> tuple[int, int]:
    """Of the plan's network, and of its forward pass over one patch."""
    channels = len(plan.model.task.channels)
    with META, torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = plan.model.network.build(channels, plan.model.class_count).eval()
        network(torch.zeros(1, channels, *plan.model.window.patch))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops()


def bytes_kept(config: NetworkConfig, patch: Triple) -> int:
    """What the forward pass over one patch keeps for the backward pass, in float32, each tensor once."""
    storages: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with META:
        network = config.build(1, 3).train()
        own = {p.untyped_storage()._cdata for p in network.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            heads = network(torch.zeros(1, 1, *patch))
        del heads
    return sum(t.untyped_storage().nbytes() for key, t in storages.items() if key not in own)


def compare_memory() -> None:
    """Print each rung's kept bytes in units of the U-Net's, over patches of a CPU and of a GPU."""
    sizes: list[tuple[Triple, Budget]] = [
        ((40, 56, 40), Budget()),
        ((48, 48, 40), Budget()),
        ((96, 96, 96), Budget("cuda")),
        ((128, 128, 128), Budget("cuda")),
        ((160, 160, 80), Budget("cuda")),
    ]
    for name in get_args(NetworkName):
        ratios = []
        for patch, budget in sizes:
            strides, kernels = choose_stages(patch, (1.0, 1.0, 1.0))
            stages = Stages(patch, (1.0, 1.0, 1.0), strides, kernels, choose_channels(len(strides), budget))
            unet = bytes_kept(choose_network("unet3d", stages), patch)
            ratios.append(bytes_kept(choose_network(name, stages), patch) / unet)
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name}: {shown}; median {statistics.median(ratios):.2f}, largest {max(ratios):.2f}", flush=True)


def run(trial: Trial) -> Row:
    """Train and score one rung in this process."""
    from medseg.workflows.scans.data_sets import open_data_set
    from medseg.workflows.training.train_model import train_model

    run_folder = trial.folder / trial.choice.network
    manifest = open_data_set(trial.data, trial.root)
    trained = train_model(manifest, trial.fold, run_folder, plan=trial.choice, budget=trial.budget)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if trial.budget.device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    summary = trained.evaluation.summary
    dice, nsd = summary.over_labels["dice"], summary.over_labels["nsd"]
    parameters, flops = parameters_and_flops(read_plan(run_folder / "plan.toml"))
    with (run_folder / "metrics.csv").open(encoding="utf-8") as file:
        ends = [float(row["elapsed_s"]) for row in csv.DictReader(file)]
    whole = ends[:-1] or ends  # the last epoch is cut short by the clock
    return Row(
        network=trial.choice.network,
        dice=(dice.mean, *dice.interval),
        nsd=(nsd.mean, *nsd.interval),
        tolerance_mm=summary.tolerance_mm,
        parameters=parameters,
        flops=flops,
        epoch_s=whole[-1] / len(whole),
        epochs=len(ends),
        peak_gb=peak / 1e9,
    )


def leaderboard(rows: list[Row]) -> str:
    """The rows as a Markdown table, best Dice first."""
    tolerance = f"{rows[0].tolerance_mm:g} mm"
    lines = [
        f"| network | Dice | NSD {tolerance} | parameters | GFLOPs a patch | s an epoch | epochs | peak GB |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: -row.dice[0]):
        dice, nsd = (f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in (row.dice, row.nsd))
        lines.append(
            f"| {row.network} | {dice} | {nsd} | {row.parameters:,} | {row.flops / 1e9:.1f} | {row.epoch_s:.1f} | "
            f"{row.epochs} | {row.peak_gb:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--networks", nargs="+", choices=get_args(NetworkName), default=get_args(NetworkName))
    parser.add_argument("--losses", nargs="+", choices=get_args(LossName), default=())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory-gb", type=float, default=8.0)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if options.memory:
        compare_memory()
        return
    if options.data is None:
        parser.error("give DATA, or --memory")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="medseg-ladder-"))
    budget = Budget(options.device, options.memory_gb, options.minutes)
    rows: list[Row] = []
    for name in options.networks:
        trial = Trial(options.data, options.root, options.fold, folder, budget, Choice(name, tuple(options.losses)))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(run, (trial,)))
        print(f"{folder / name}: Dice {rows[-1].dice[0]:.3f}", flush=True)
    print(leaderboard(rows))


if __name__ == "__main__":
    main()
