"""medseg beside nnU-Net v2 on the hippocampus, in one run on one machine: patches a second, and Dice at equal time.

    python3 -m venv NNUNET && NNUNET/bin/pip install torch==2.13.0 nnunetv2
    python benchmarks/training/nnunet.py --nnunet NNUNET/bin/python --root DATA [--minutes 30] [--folder FOLDER]

Speed: both train the network, patch and batch of nnU-Net's own plan, each with its own loader, augmentation, loss and
optimiser, in turn, several times; medians of the seconds of a step, the first steps left out.

Dice: fold 0 of the manifest, the same 160 cases to learn from and the same 40 to be scored on. nnU-Net follows its own
plan and gets the minutes for its steps alone: planning, preprocessing and the final segmentation are not counted. For
medseg, by its own plan too, everything is counted, from the first look at the data to the last score. The masks of both
are scored by the same code. What is there already in FOLDER is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from medseg.analysis.evaluation.summary import Summary, summarise
from medseg.datasets.manifest import Manifest
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.training.cases import prepare_cases
from medseg.training.distributed import Team
from medseg.training.planning.plan import Plan
from medseg.training.planning.rules import Budget
from medseg.training.train import train
from medseg.workflows.models.evaluate_model import evaluate_mask
from medseg.workflows.scans.data_sets import open_data_set
from medseg.workflows.training.make_plan import plan_training
from medseg.workflows.training.train_model import train_model

SIDE = Path(__file__).with_name("nnunet_side.py")
MANIFEST = Path(__file__).parents[2] / "data_manifests" / "msd_task04_hippocampus"
NAME = "Dataset004_Hippocampus"
FOLD = 0
WARM_UP = 2


@dataclass(frozen=True)
class NnUnet:
    """nnU-Net's environment and its three folders."""

    python: Path
    folder: Path
    loader_processes: int

    def run(self, *command: str) -> str:
        """What the command prints. Raises where it fails."""
        folders = {key: str(self.folder / key) for key in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        more = {"nnUNet_n_proc_DA": str(self.loader_processes), "nnUNet_compile": "f", "nnUNet_def_n_proc": "2"}
        environment = {**os.environ, **folders, **more}
        environment.pop("PYTHONPATH", None)
        ended = subprocess.run(
            [str(self.python), *command], env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return ended.stdout

    @property
    def plan(self) -> dict[str, object]:
        """Its plan's full-resolution configuration."""
        path = self.folder / "nnUNet_preprocessed" / NAME / "nnUNetPlans.json"
        found: dict[str, object] = json.loads(path.read_text())["configurations"]["3d_fullres"]
        return found

    @property
    def masks(self) -> Path:
        return self.folder / "nnUNet_results" / NAME / "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/validation"


def prepare(nnunet: NnUnet, manifest: Manifest) -> None:
    """The cases as nnU-Net wants them, planned and preprocessed by itself, with the manifest's fold."""
    if (nnunet.folder / "nnUNet_preprocessed" / NAME / "splits_final.json").exists():
        return
    raw = nnunet.folder / "nnUNet_raw" / NAME
    shutil.rmtree(raw, ignore_errors=True)
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True)
    training, validation = manifest.training(FOLD), manifest.validation(FOLD)
    for case in (*training, *validation):
        assert case.label is not None
        shutil.copyfile(case.channels["MR"], raw / "imagesTr" / f"{case.name}_0000.nii.gz")
        shutil.copyfile(case.label, raw / "labelsTr" / f"{case.name}.nii.gz")
    labels = {"background": 0, **{label.name: label.index for label in manifest.task.labels}}
    facts = {"channel_names": {"0": "MRI"}, "labels": labels, "file_ending": ".nii.gz"}
    facts["numTraining"] = len(training) + len(validation)
    (raw / "dataset.json").write_text(json.dumps(facts))
    entry = (
        "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry as e; e()"
    )
    nnunet.run("-c", entry, "-d", "4", "-c", "3d_fullres", "-np", "2")
    splits = [{"train": [case.name for case in training], "val": [case.name for case in validation]}]
    (nnunet.folder / "nnUNet_preprocessed" / NAME / "splits_final.json").write_text(json.dumps(splits))


def same_plan(nnunet: NnUnet, manifest: Manifest) -> Plan:
    """The plan of medseg with the network, patch and batch of nnU-Net's."""
    theirs = nnunet.plan
    kinds = theirs["architecture"]["arch_kwargs"]  # type: ignore[index]
    own, _ = plan_training(manifest, FOLD, Budget())
    network = UNet3DConfig(
        channels=kinds["features_per_stage"],
        strides=kinds["strides"],
        kernel_sizes=kinds["kernel_sizes"],
        deep_supervision=max(0, len(kinds["strides"]) - 2),
    )
    window = own.model.window.model_copy(update={"patch": tuple(theirs["patch_size"])})  # type: ignore[arg-type]
    model = own.model.model_copy(update={"network": network, "window": window})
    training = own.training.model_copy(update={"batch_size": theirs["batch_size"], "epochs": 1})
    return Plan.model_validate({"model": model.model_dump(), "training": training.model_dump()})


class Stopwatch:
    """The seconds of each step, and an end after so many."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.seconds: list[float] = []
        self.last = time.perf_counter()

    def step_ended(self, fraction: float, loss: float) -> None:  # noqa: ARG002 - only that it ended
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.last = now
        if len(self.seconds) >= self.count:
            raise StopIteration

    def epoch_ended(self, records: Sequence[object]) -> None: ...


def own_steps(plan_text: str, folder: Path, root: Path, count: int) -> None:
    """Print the seconds of each of medseg's steps as JSON, as nnU-Net's side does."""
    plan = Plan.model_validate_json(plan_text)
    manifest = open_data_set(MANIFEST, root)
    model = plan.model
    cases = prepare_cases(manifest.training(FOLD), model.task, model.preparation, folder / "prepared")
    watch = Stopwatch(count)
    with suppress(StopIteration):
        train(plan, cases, cases[:1], Path(tempfile.mkdtemp()) / "checkpoint", Team(torch.device("cpu")), watch)
    parameters = sum(p.numel() for p in model.network.build(1, model.class_count).parameters())
    print(json.dumps({"seconds": watch.seconds, "parameters": parameters}))


def compare_speed(nnunet: NnUnet, manifest: Manifest, root: Path, rounds: int, steps: int) -> None:
    """Print patches a second of both, in turn."""
    plan = same_plan(nnunet, manifest)
    batch, patch = plan.training.batch_size, plan.model.window.patch
    best: dict[str, list[float]] = {}
    parameters: dict[str, int] = {}
    sides = [("medseg", None), *((f"nnU-Net, {n} loader processes", n) for n in (0, 1, 2))]
    for _ in range(rounds):
        for name, loaders in sides:
            if loaders is None:
                command = [sys.executable, __file__, "--own-steps", str(steps), "--root", str(root)]
                command += ["--folder", str(nnunet.folder), "--plan", plan.model_dump_json()]
                printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            else:
                side = NnUnet(nnunet.python, nnunet.folder, loaders)
                printed = side.run(str(SIDE), "steps", str(steps))
            facts = json.loads(printed.strip().splitlines()[-1])
            parameters[name] = facts["parameters"]
            best.setdefault(name, []).append(statistics.median(facts["seconds"][WARM_UP:]))
    print(f"training steps at the same network, patch {patch}, batch {batch}; {rounds} rounds of {steps} steps in turn")
    print("| | parameters | median s a step | patches a second | medseg is faster by |\n|---|---:|---:|---:|---:|")
    medians = {name: statistics.median(values) for name, values in best.items()}
    for name, median in medians.items():
        ratios = [theirs / ours for theirs, ours in zip(best[name], best["medseg"], strict=True)]
        faster = (
            "" if name == "medseg" else f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"
        )
        print(f"| {name} | {parameters[name]:,} | {median:.2f} | {batch / median:.2f} | {faster} |", flush=True)


def compare_dice(nnunet: NnUnet, manifest: Manifest, minutes: float) -> None:
    """Print the Dice of both after the same wall clock."""
    log = nnunet.folder / f"nnunet_{minutes:g}.json"
    if not log.exists():
        log.write_text(nnunet.run(str(SIDE), "train", str(minutes)).strip().splitlines()[-1])
    theirs = json.loads(log.read_text())
    validation = manifest.validation(FOLD)
    scored = [
        evaluate_mask(nnunet.masks / f"{case.name}.nii.gz", case.label, manifest.task)
        for case in validation
        if case.label is not None
    ]
    subjects = [case.subject for case in validation]
    run_folder = nnunet.folder / f"medseg_{minutes:g}"
    trained = train_model(manifest, FOLD, run_folder, budget=Budget(minutes=minutes))
    print(
        f"fold {FOLD}: {len(validation)} held-out cases, {minutes:g} minutes each; mean [95 % interval over subjects]"
    )
    print("| | Dice | anterior | posterior | NSD 1 mm | time |\n|---|---|---|---|---|---|")
    took = f"{theirs['trained_s'] / 60:.1f} min of steps ({theirs['steps']}), then {theirs['segmented_s'] / 60:.1f} min"
    print(f"| nnU-Net v2 | {row(summarise(scored, subjects=subjects))} | {took} |")
    took = f"{trained.duration_s / 60:.1f} min in all ({trained.bundle.provenance.epochs} epochs)"
    print(f"| medseg | {row(trained.evaluation.summary)} | {took} |")


def row(summary: Summary) -> str:
    """Dice over the labels and of each, and NSD."""
    kinds = [summary.over_labels["dice"], *(s["dice"] for s in summary.by_label.values()), summary.over_labels["nsd"]]
    return " | ".join(f"{s.mean:.4f} [{s.interval[0]:.3f}, {s.interval[1]:.3f}]" for s in kinds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nnunet", type=Path, help="the interpreter of nnU-Net's environment")
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds msd_task04_hippocampus")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--loaders", type=int, default=len(os.sched_getaffinity(0)), help="of nnU-Net, for its Dice")
    parser.add_argument("--only", choices=("speed", "dice"), default=None)
    parser.add_argument("--own-steps", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--plan", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="medseg-nnunet-"))
    if options.own_steps is not None:
        own_steps(options.plan, folder, options.root, options.own_steps)
        return
    manifest = open_data_set(MANIFEST, options.root)
    nnunet = NnUnet(options.nnunet, folder, options.loaders)
    prepare(nnunet, manifest)
    if options.only != "dice":
        compare_speed(nnunet, manifest, options.root, options.rounds, options.steps)
    if options.only != "speed":
        compare_dice(nnunet, manifest, options.minutes)


if __name__ == "__main__":
    main()
