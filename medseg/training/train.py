"""The training loop, top to bottom: restore, then epoch after epoch of batch, change, step, average, look, save."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from medseg.core.errors import PlanError
from medseg.core.labels import IGNORED_CLASS
from medseg.models.device import autocast, has_fast_bfloat16
from medseg.models.sliding_window import sweep
from medseg.models.spec import to_toml
from medseg.models.weights import set_weights, weights_of
from medseg.training.augment import Augmentation
from medseg.training.batches import PatchSampler
from medseg.training.cases import PreparedCase
from medseg.training.checkpoint import (
    Checkpoint,
    EpochRecord,
    Progress,
    load_checkpoint,
    optimizer_state,
    restore_optimizer_state,
    save_checkpoint,
)
from medseg.training.losses.weighted_sum import WeightedSum
from medseg.training.planning.plan import Plan, TrainingSpec

VALIDATION_LOOKS = 6
"""How often the validation cases are looked at during a training: enough for a curve, little of the time."""

MOST_VALIDATION_CASES = 8
"""How many cases a look takes in; the whole validation part is scored once, at the end, on the scans' own grids."""

LOWEST_RATE = 1e-3
"""The learning rate ends at this part of its peak."""


class Observer(Protocol):
    """Told how the training goes."""

    def step_ended(self, fraction: float, loss: float) -> None:
        """After each step: the part of the training that is done, from 0 to 1, and the step's loss."""

    def epoch_ended(self, records: Sequence[EpochRecord]) -> None:
        """After each epoch, its checkpoint saved: the records of all epochs so far."""


def train(
    plan: Plan,
    training: Sequence[PreparedCase],
    validation: Sequence[PreparedCase],
    checkpoint_path: Path,
    device: torch.device,
    observer: Observer,
) -> Checkpoint:
    """The final state: `average` holds the weights to keep. Goes on from the checkpoint file where there is one.

    Raises PlanError when the checkpoint belongs to another plan or other data, when the loss is no longer a number
    (the checkpoint of the last good epoch stays), or when memory runs out.
    """
    loop = _Loop(plan, training, validation, device)
    if checkpoint_path.exists():
        loop.restore(load_checkpoint(checkpoint_path), checkpoint_path)
    while not loop.is_finished:
        loop.run_epoch(observer)
        save_checkpoint(loop.checkpoint(), checkpoint_path)
        observer.epoch_ended(loop.progress.records)
    return loop.checkpoint()


class _Loop:
    def __init__(
        self, plan: Plan, training: Sequence[PreparedCase], validation: Sequence[PreparedCase], device: torch.device
    ) -> None:
        spec = plan.training
        torch.manual_seed(spec.seed)
        torch.use_deterministic_algorithms(spec.deterministic)
        self._plan, self._spec, self._device = plan, spec, device
        network = plan.model.network.build(len(plan.model.task.channels), plan.model.class_count)
        self._network: nn.Module = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._average = copy.deepcopy(self._network)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True
        )
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in self._network.named_parameters()}
        self._loss = WeightedSum(spec.loss)
        self._augmentation = Augmentation(spec.augmentation, plan.model.preparation.spacing_mm)
        self._sampler = PatchSampler(
            training,
            plan.model.window.patch,
            batch_size=spec.batch_size,
            foreground_fraction=spec.foreground_fraction,
            seed=spec.seed,
        )
        chosen = np.linspace(0, len(validation) - 1, min(len(validation), MOST_VALIDATION_CASES)).round().astype(int)
        self._validation = [validation[index] for index in chosen]
        self.progress = Progress(
            plan_sha256=hashlib.sha256(to_toml(plan).encode()).hexdigest(),
            data_sha256=hashlib.sha256("".join(sorted(case.sha256 for case in training)).encode()).hexdigest(),
        )
        self.is_finished = False
        self._begin = time.monotonic()

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        saved = checkpoint.progress
        for what, mine, theirs in (
            ("plan", self.progress.plan_sha256, saved.plan_sha256),
            ("training data", self.progress.data_sha256, saved.data_sha256),
        ):
            if mine != theirs:
                raise PlanError(
                    f"{path} belongs to a training with another {what}. Take another run folder, or delete this one."
                )
        set_weights(self._network, checkpoint.network)
        set_weights(self._average, checkpoint.average)
        restore_optimizer_state(self._optimizer, self._names, checkpoint.optimizer)
        self.progress = saved
        self._begin = time.monotonic() - saved.elapsed_s
        self.is_finished = self._fraction(saved.steps_done) >= 1

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            weights_of(self._network),
            weights_of(self._average),
            optimizer_state(self._optimizer, self._names),
            self.progress,
        )

    def run_epoch(self, observer: Observer) -> None:
        """One epoch; shorter where the clock ends it, but one step at least."""
        epoch, step_before = self.progress.epochs_done, self.progress.steps_done
        losses: list[float] = []
        for step in range(self._spec.steps_per_epoch):
            fraction = self._fraction(step_before + step)
            if fraction >= 1 and losses:
                break
            losses.append(self._step(epoch, step, step_before + step, fraction))
            observer.step_ended(fraction, losses[-1])
        steps_done = step_before + len(losses)
        fraction = self._fraction(steps_done)
        self.is_finished = fraction >= 1
        looks_before = int(self._fraction_at_last_look * VALIDATION_LOOKS)
        is_look = int(fraction * VALIDATION_LOOKS) > looks_before or self.is_finished
        record = EpochRecord(
            epoch=epoch,
            step=steps_done,
            elapsed_s=time.monotonic() - self._begin,
            learning_rate=self._optimizer.param_groups[0]["lr"],
            loss=float(np.mean(losses)),
            validation_dice=self._look() if is_look and self._validation else None,
        )
        self.progress = self.progress.model_copy(update={"records": (*self.progress.records, record)})

    def _step(self, epoch: int, step: int, step_in_all: int, fraction: float) -> float:
        batch = self._sampler.batch(epoch, step)
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence([self._spec.seed, epoch, step]).generate_state(1)[0])
        )
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._spec, step_in_all, fraction)
        images, classes = batch.images.to(self._device), batch.classes.to(self._device)
        images, classes = self._augmentation.change(images, classes, generator)
        self._network.train()
        try:
            with autocast(self._device, enabled=has_fast_bfloat16(self._device)):
                heads = self._network(images.contiguous(memory_format=torch.channels_last_3d))
            loss = self._loss(heads, classes)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise PlanError(
                    f"the loss is {value} in epoch {epoch}, step {step}, with the cases {', '.join(batch.cases)}. "
                    "Look at their voxels with `medseg data check`, or lower learning_rate in the plan; "
                    "the checkpoint of the last epoch is kept."
                )
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise PlanError(
                f"memory ran out with {self._spec.batch_size} patches of {self._plan.model.window.patch} voxels. "
                "Lower batch_size or patch in the plan."
            ) from error
        nn.utils.clip_grad_norm_(self._network.parameters(), self._spec.gradient_norm)
        self._optimizer.step()
        self._update_average(step_in_all)
        return value

    @torch.no_grad()
    def _update_average(self, step_in_all: int) -> None:
        # A young average follows quickly, so that it soon forgets the random start.
        decay = min(self._spec.average_decay, (1 + step_in_all) / (10 + step_in_all))
        for mean, now in zip(self._average.parameters(), self._network.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)
        for kept, buffer in zip(self._average.buffers(), self._network.buffers(), strict=True):
            kept.copy_(buffer)

    def _look(self) -> dict[str, float]:
        """Mean Dice of each label over the validation cases, on the prepared grid; absent labels do not count."""
        model = self._plan.model
        dice: dict[str, list[float]] = {label.name: [] for label in model.task.labels}
        for case in self._validation:
            scores = sweep(self._average, case.image, model.window, class_count=model.class_count, device=self._device)
            predicted = scores.argmax(axis=0)
            for number, label in enumerate(model.task.labels, start=1):
                found, true = (predicted == number) & (case.classes != IGNORED_CLASS), case.classes == number
                total = int(found.sum()) + int(true.sum())
                if total:
                    dice[label.name].append(2 * int((found & true).sum()) / total)
        return {name: float(np.mean(values)) for name, values in dice.items() if values}

    def _fraction(self, steps_done: int) -> float:
        """The part of the training that is done: by the clock where the plan has one, else by steps."""
        if self._spec.minutes is not None:
            return (time.monotonic() - self._begin) / (self._spec.minutes * 60)
        return steps_done / (self._spec.epochs * self._spec.steps_per_epoch)

    @property
    def _fraction_at_last_look(self) -> float:
        looked = [record for record in self.progress.records if record.validation_dice is not None]
        if not looked:
            return 0.0
        if self._spec.minutes is not None:
            return looked[-1].elapsed_s / (self._spec.minutes * 60)
        return looked[-1].step / (self._spec.epochs * self._spec.steps_per_epoch)


def learning_rate(spec: TrainingSpec, step: int, fraction: float) -> float:
    """A short linear rise, then half a cosine down to almost nothing at the end of the training."""
    rise = min(1.0, (step + 1) / (spec.warm_up_steps + 1))
    fall = LOWEST_RATE + (1 - LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
    return spec.learning_rate * rise * fall
