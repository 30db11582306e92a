"""Plan: how a model is to be run, and how it is to be trained. Written as plan.toml, to be read and edited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medseg.core.atomic import whole_file
from medseg.core.errors import PlanError
from medseg.models.spec import ModelSpec, from_toml, to_toml
from medseg.training.augment import AugmentationConfig
from medseg.training.losses.dice import DiceConfig
from medseg.training.losses.focal import FocalConfig
from medseg.training.losses.weighted_sum import LossConfig


class TrainingSpec(BaseModel):
    """How to train. `minutes`, where given, ends the training by the clock and stretches the schedule to fill it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: Annotated[int, Field(ge=1)]
    steps_per_epoch: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    minutes: Annotated[float, Field(gt=0)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    warm_up_steps: Annotated[int, Field(ge=0)] = 50
    gradient_norm: Annotated[float, Field(gt=0)] = 12.0
    """Longer gradients are shortened to this (Isensee et al. 2021)."""
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """The weights that are kept are a running mean of those of each step, with this much of the past."""
    foreground_fraction: Annotated[float, Field(ge=0, le=1)] = 0.66
    validate_every: Annotated[int, Field(ge=1)] = 5
    """Epochs between two looks at the validation cases."""
    seed: Annotated[int, Field(ge=0)] = 0
    deterministic: bool = False
    """Same seed, same machine, same number of threads: same weights. Excludes `minutes`."""
    loss: tuple[LossConfig, ...] = Field(default=(DiceConfig(), FocalConfig()), min_length=1)
    augmentation: AugmentationConfig = AugmentationConfig()

    @model_validator(mode="after")
    def _clock_or_repeatable(self) -> Self:
        if self.deterministic and self.minutes is not None:
            raise ValueError("a deterministic training cannot end by the clock; leave out minutes, or deterministic")
        return self


class Plan(BaseModel):
    """ModelSpec and TrainingSpec: what `medseg plan` writes and `medseg train` follows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelSpec
    training: TrainingSpec

    @model_validator(mode="after")
    def _losses_know_the_classes(self) -> Self:
        count = len(self.model.task.labels)
        for loss in self.training.loss:
            classes = [n for region in getattr(loss, "regions", None) or () for n in region]
            if max(classes, default=0) > count:
                raise ValueError(
                    f"a region of the loss {loss.kind} names class {max(classes)}, the task has labels 1 to {count}"
                )
        return self


def read_plan(path: Path) -> Plan:
    """The plan in a TOML file. Raises PlanError where it is missing or not valid."""
    if not path.is_file():
        raise PlanError(f"there is no plan at {path}; write one with `medseg plan`")
    return from_toml(Plan, path.read_text(encoding="utf-8"), str(path))


def write_plan(plan: Plan, path: Path) -> None:
    """The plan as a TOML file, whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(to_toml(plan), encoding="utf-8")
