"""nnU-Net's part of `benchmarks/training/nnunet.py`; runs in nnU-Net's own environment and imports nothing of medseg.

    python benchmarks/training/nnunet_side.py steps COUNT      seconds of each training step, and the parameter count
    python benchmarks/training/nnunet_side.py train MINUTES    train fold 0 for so long, then segment its held-out cases

Its trainer, network, loss, optimiser, loader and augmentation are nnU-Net's own, unchanged. Only the end is by the
clock: the polynomial learning rate falls to zero over the minutes given, not over 1000 epochs of 250 steps; epochs
are short, and the look at validation batches within the training, which costs time and changes nothing, is one batch.
"""

from __future__ import annotations

import json
import os
import sys
import time

import torch
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

DATASET, CONFIGURATION = "4", "3d_fullres"
STEPS_PER_EPOCH = 25
EXPONENT = 0.9


class RateByTheClock:
    """Stands where the trainer's scheduler stands: nnU-Net's polynomial, of the part of the time that is gone."""

    def __init__(self, optimizer: torch.optim.Optimizer, highest: float, minutes: float) -> None:
        self.optimizer, self.highest, self.seconds = optimizer, highest, minutes * 60
        self.begin = time.monotonic()

    @property
    def fraction(self) -> float:
        return (time.monotonic() - self.begin) / self.seconds

    def step(self, epoch: int | None = None) -> None:  # noqa: ARG002 - the clock says it
        for group in self.optimizer.param_groups:
            group["lr"] = self.highest * (1 - min(self.fraction, 0.9999)) ** EXPONENT


def make_trainer() -> nnUNetTrainer:
    # Its own command line takes all cores of the machine; these are all that this process may use.
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    trainer = get_trainer_from_args(DATASET, CONFIGURATION, 0, device=torch.device("cpu"))
    trainer.num_iterations_per_epoch = STEPS_PER_EPOCH
    trainer.num_val_iterations_per_epoch = 1
    return trainer


def time_steps(count: int) -> None:
    """Print the seconds of each step as JSON; the first pays for the start."""
    trainer = make_trainer()
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    seconds = []
    for _ in range(count):
        begin = time.perf_counter()
        trainer.train_step(next(trainer.dataloader_train))
        seconds.append(time.perf_counter() - begin)
    parameters = sum(p.numel() for p in trainer.network.parameters())
    print(json.dumps({"seconds": seconds, "batch_size": trainer.batch_size, "parameters": parameters}))


def train(minutes: float) -> None:
    """Train for so many minutes of steps, and segment the held-out cases into the results folder."""
    trainer = make_trainer()
    trainer.on_train_start()
    rate = RateByTheClock(trainer.optimizer, trainer.initial_lr, minutes)
    trainer.lr_scheduler = rate
    steps = 0
    while rate.fraction < 1:
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        outputs = []
        while len(outputs) < STEPS_PER_EPOCH and (rate.fraction < 1 or not outputs):
            rate.step()
            outputs.append(trainer.train_step(next(trainer.dataloader_train)))
        steps += len(outputs)
        trainer.on_train_epoch_end(outputs)
        with torch.no_grad():
            trainer.on_validation_epoch_start()
            trainer.on_validation_epoch_end([trainer.validation_step(next(trainer.dataloader_val))])
        trainer.on_epoch_end()
    trained_s = time.monotonic() - rate.begin
    trainer.on_train_end()
    begin = time.monotonic()
    trainer.perform_actual_validation()
    print(json.dumps({"steps": steps, "trained_s": trained_s, "segmented_s": time.monotonic() - begin}))


if __name__ == "__main__":
    if sys.argv[1] == "steps":
        time_steps(int(sys.argv[2]))
    else:
        train(float(sys.argv[2]))
