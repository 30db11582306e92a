"""The training loop, top to bottom: restore, then epoch after epoch of batch, change, gradient, average, look, save."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from medseg.core.atomic import discard_unfinished
from medseg.core.errors import PlanError
from medseg.models.networks.sample_norm import with_sample_norms
from medseg.models.weights import set_weights, weights_of
from medseg.training.augment import Augmentation
from medseg.training.batches import Batch, PatchSampler, made_ahead
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
from medseg.training.distributed import Team
from medseg.training.looks import best_look, chosen_for_looks, has_stalled, look
from medseg.training.losses.weighted_sum import WeightedSum
from medseg.training.planning.plan import Plan, TrainingSpec
from medseg.training.step import BatchGradient, clear_memory_errors

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
    team: Team,
    observer: Observer,
) -> Checkpoint:
    """The final state; `kept` gives the weights to keep. Goes on from the checkpoint file where there is one.

    Every process of the team calls this with the same arguments; the leader alone writes. Raises PlanError when the
    checkpoint belongs to another plan or other data, when the batch cannot be shared, when the loss is no longer a
    number (the checkpoint of the last good epoch stays), when memory runs out, or when another process is gone.
    """
    loop = _Loop(plan, training, validation, team)
    if team.is_leader:
        discard_unfinished(checkpoint_path)
    if checkpoint_path.exists():
        loop.restore(load_checkpoint(checkpoint_path), checkpoint_path)
    while not loop.is_finished:
        loop.run_epoch(observer)
        if team.is_leader:
            save_checkpoint(loop.checkpoint(), checkpoint_path)
        observer.epoch_ended(loop.progress.records)
    return loop.checkpoint()


class _Loop:
    def __init__(
        self, plan: Plan, training: Sequence[PreparedCase], validation: Sequence[PreparedCase], team: Team
    ) -> None:
        spec = plan.training
        torch.manual_seed(spec.seed)
        torch.use_deterministic_algorithms(spec.deterministic)
        self._plan, self._spec, self._team = plan, spec, team
        network = with_sample_norms(plan.model.network.build(len(plan.model.task.channels), plan.model.class_count))
        self._network: nn.Module = network.to(team.device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._average = copy.deepcopy(self._network)
        self._best: dict[str, Tensor] = {}
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True
        )
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in self._network.named_parameters()}
        self._gradient = BatchGradient(
            self._network,
            WeightedSum(spec.loss),
            team,
            mixed_precision=spec.mixed_precision,
            may_shrink=spec.may_shrink_batch,
        )
        self._augmentation = Augmentation(spec.augmentation, plan.model.preparation.spacing_mm)
        self._share = team.share(spec.batch_size)
        self._sampler = PatchSampler(
            training,
            plan.model.window.patch,
            batch_size=spec.batch_size,
            foreground_fraction=spec.foreground_fraction,
            seed=spec.seed,
        )
        self._validation = chosen_for_looks(validation)
        self.progress = Progress.begin(plan, training)
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
        self._best = checkpoint.best
        self._gradient.at_once = saved.records[-1].patches_at_once if saved.records else None
        self.progress = saved
        self._begin = time.monotonic() - saved.elapsed_s
        self.is_finished = self._is_at_end()

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            weights_of(self._network),
            weights_of(self._average),
            optimizer_state(self._optimizer, self._names),
            self.progress,
            self._best,
        )

    def run_epoch(self, observer: Observer) -> None:
        """One epoch; shorter where the clock ends it, but one step at least."""
        epoch, step_before = self.progress.epochs_done, self.progress.steps_done
        losses: list[float] = []
        with closing(self._batches(epoch)) as batches:
            for batch in batches:
                step_in_all = step_before + len(losses)
                fraction = self._fraction(step_in_all)
                if fraction >= 1 and losses:
                    break
                losses.append(self._step(batch, step_in_all, fraction))
                if not math.isfinite(losses[-1]):
                    raise PlanError(
                        f"the loss is {losses[-1]} in epoch {epoch}, step {len(losses) - 1}, with the cases "
                        f"{', '.join(batch.cases)}. Look at their voxels with `medseg data check`, or lower "
                        "learning_rate in the plan; the checkpoint of the last epoch is kept."
                    )
                observer.step_ended(fraction, losses[-1])
        record = EpochRecord(
            epoch=epoch,
            step=step_before + len(losses),
            elapsed_s=self._team.of_leader(time.monotonic() - self._begin),
            learning_rate=self._optimizer.param_groups[0]["lr"],
            loss=float(np.mean(losses)),
            patches_at_once=self._gradient.at_once,
        )
        self._close_epoch(record)

    def _batches(self, epoch: int) -> Generator[Batch]:
        def made(step: int) -> Batch:
            return self._sampler.batch(epoch, step, self._share)

        count = self._spec.steps_per_epoch
        if self._team.device.type == "cuda":
            return made_ahead(lambda step: made(step).pinned(), count)
        # On a CPU a thread has nothing to hide: a hippocampus batch is cut in 0.2 ms of a step of 280 ms of one core.
        return (made(step) for step in range(count))

    def _step(self, batch: Batch, step_in_all: int, fraction: float) -> float:
        """The loss of the batch, after a step that lowers it; without a step where it is no number."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._spec, step_in_all, fraction)
        images = batch.images.to(self._team.device, non_blocking=True)
        classes = batch.classes.to(self._team.device, non_blocking=True)
        with clear_memory_errors(self._gradient, images):
            images, classes = self._augmentation.change(images, classes, batch.seeds)
            loss = self._gradient.leave(images, classes.long(), batch.seeds)
            if math.isfinite(loss):
                nn.utils.clip_grad_norm_(self._network.parameters(), self._spec.gradient_norm)
                self._optimizer.step()
                self._update_average(step_in_all)
        return loss

    @torch.no_grad()
    def _update_average(self, step_in_all: int) -> None:
        # A young average follows quickly, so that it soon forgets the random start.
        decay = min(self._spec.average_decay, (1 + step_in_all) / (10 + step_in_all))
        for mean, now in zip(self._average.parameters(), self._network.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)
        for kept, buffer in zip(self._average.buffers(), self._network.buffers(), strict=True):
            kept.copy_(buffer)

    def _close_epoch(self, record: EpochRecord) -> None:
        """Look at the validation cases where it is time, and add the record."""
        fraction, looks = self._fraction_of(record), self._spec.validation_looks
        looked = [old for old in self.progress.records if old.validation_dice is not None]
        before = self._fraction_of(looked[-1]) if looked else 0.0
        if self._validation and (fraction >= 1 or int(fraction * looks) > int(before * looks)):
            network = self._network if self._spec.keep == "last" else self._average
            dice = look(network, self._plan.model, self._validation, self._team)
            record = record.model_copy(update={"validation_dice": dice})
        records = (*self.progress.records, record)
        if self._spec.keep == "best" and best_look(records) is record:
            self._best = {name: tensor.clone() for name, tensor in weights_of(self._average).items()}
        self.progress = self.progress.model_copy(update={"records": records})
        self.is_finished = self._is_at_end()

    def _is_at_end(self) -> bool:
        records = self.progress.records
        return bool(records) and (self._fraction_of(records[-1]) >= 1 or has_stalled(self._spec, records))

    def _fraction(self, steps_done: int) -> float:
        """The part of the training that is done: by the leader's clock where the plan has one, else by steps."""
        if self._spec.minutes is not None:
            return self._team.of_leader(time.monotonic() - self._begin) / (self._spec.minutes * 60)
        return steps_done / (self._spec.epochs * self._spec.steps_per_epoch)

    def _fraction_of(self, record: EpochRecord) -> float:
        """The part of the training that was done when the epoch ended."""
        if self._spec.minutes is not None:
            return record.elapsed_s / (self._spec.minutes * 60)
        return record.step / (self._spec.epochs * self._spec.steps_per_epoch)


def learning_rate(spec: TrainingSpec, step: int, fraction: float) -> float:
    """A short linear rise, then half a cosine down to almost nothing at the end of the training."""
    rise = min(1.0, (step + 1) / (spec.warm_up_steps + 1))
    fall = LOWEST_RATE + (1 - LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
    return spec.learning_rate * rise * fall
