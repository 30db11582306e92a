"""Plan: how a model is to be run, and how it is to be trained. Written as plan.toml, to be read and edited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medseg.core.atomic import whole_file
from medseg.core.errors import PlanError
from medseg.models.spec import ModelSpec, from_toml, to_toml
from medseg.training.augment import AugmentationConfig
from medseg.training.losses.dice import DiceConfig
from medseg.training.losses.focal import FocalConfig
from medseg.training.losses.weighted_sum import LossConfig, lack_of_overlap

Keep = Literal["average", "last", "best"]


class TrainingSpec(BaseModel):
    """How to train. `minutes`, where given, ends the training by the clock and stretches the schedule to fill it.

    torch.compile is not offered: on two CPU cores it made a step of the hippocampus plan (patch 40 x 56 x 40, batch 2,
    bfloat16) slower, 0.86 times as many a second, after compiling for 106 s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: Annotated[int, Field(ge=1)]
    """Patches of a step, those of all processes together."""
    may_shrink_batch: bool = False
    """Where memory runs out, take the batch in smaller and smaller parts whose gradients add up to that of the whole;
    slower, since every patch then goes forward twice. Otherwise the training stops and says what to lower."""
    mixed_precision: bool = True
    """Convolutions in bfloat16 where the device has it in hardware; everything else, and otherwise, in float32."""
    steps_per_epoch: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    minutes: Annotated[float, Field(gt=0)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    warm_up_steps: Annotated[int, Field(ge=0)] = 50
    gradient_norm: Annotated[float, Field(gt=0)] = 12.0
    """Longer gradients are shortened to this (Isensee et al. 2021)."""
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """The running average of the weights keeps this much of the past at each step."""
    keep: Keep = "average"
    """The weights that become the model: the running average at the end, those of the last step, or the running average
    at the best look at the validation cases. "best" flatters: the weights are then chosen on the very cases that score
    them, so their Dice on the held-out fold is too high an estimate for new patients."""
    validation_looks: Annotated[int, Field(ge=1)] = 6
    """How often the validation cases are looked at in the whole training: enough for a curve, little of the time."""
    early_stop_looks: Annotated[int, Field(ge=1)] | None = None
    """End the training after so many looks in a row without a better mean Dice. Give it more `validation_looks`."""
    parent_sha256: str | None = None
    """The bundle whose weights the training starts from; fresh weights without one."""
    foreground_fraction: Annotated[float, Field(ge=0, le=1)] = 0.66
    seed: Annotated[int, Field(ge=0)] = 0
    deterministic: bool = False
    """Same seed, same machine, same number of threads: same weights. Excludes `minutes`."""
    loss: tuple[LossConfig, ...] = Field(default=(DiceConfig(), FocalConfig()), min_length=1)
    augmentation: AugmentationConfig = AugmentationConfig()

    @model_validator(mode="after")
    def _sees_whole_labels(self) -> Self:
        if lacking := lack_of_overlap([term.kind for term in self.loss]):
            raise ValueError(f'{lacking}: {{ kind = "dice" }}')
        return self

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
    def _one_spacing(self) -> Self:
        """What counts in mm between the voxels of prepared scans must know how they are prepared."""
        prepared = self.model.preparation.spacing_mm
        counted = {f"loss {term.kind}": term.spacing_mm for term in self.training.loss if term.kind == "boundary"}
        if self.model.network.kind == "cnn_crf":
            counted["network cnn_crf"] = self.model.network.spacing_mm
        for what, spacing_mm in counted.items():
            if spacing_mm != prepared:
                raise ValueError(
                    f"the {what} counts mm at a spacing of {spacing_mm}, the scans are prepared at {prepared}; "
                    "make its spacing_mm the preparation's"
                )
        return self

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
