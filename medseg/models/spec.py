"""ModelSpec: all that is needed to run a model, and nothing of how it was trained."""

from __future__ import annotations

import tomllib
from typing import Annotated, Any, Literal, Self, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medseg.core.errors import PlanError
from medseg.core.task import Task, first_problem
from medseg.imaging.preparing.preparation import Preparation
from medseg.imaging.refinement import RefinementConfig, highest_class
from medseg.models.networks.config import NetworkConfig
from medseg.models.networks.stages import Triple

ModelT = TypeVar("ModelT", bound=BaseModel)
Axis = Annotated[int, Field(ge=0, le=2)]


class SlidingWindow(BaseModel):
    """How a scan larger than the patch is covered: by windows that overlap, weighted towards their middles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patch: Triple
    overlap: float = Field(default=0.5, ge=0, lt=1)
    mirror_axes: tuple[Axis, ...] = ()
    """Axes along which each window is also seen mirrored, and the results averaged (test-time augmentation)."""

    blend: Literal["gaussian", "nnunet", "even"] = "gaussian"
    """Whether a window counts less towards its border, which lacks context, or the same everywhere; "nnunet" is the
    Gaussian of nnU-Net, about the voxel side // 2 and without a lowest weight."""

    average: Literal["probabilities", "logits"] = "probabilities"
    """What is averaged where windows overlap, and interpolated on the way back to the scan's grid. Between a voxel
    that is certain and one that is not, the border of interpolated probabilities lies where they cross, that of logits
    nearer to the uncertain one. Logits are for weights that were trained and scored by nnU-Net, whose way they are."""

    reuse_constant: bool = True
    """Whether a window of one constant value, such as air cut off at a lower bound, is seen by the network only once:
    the same input gives the same answer, so the result does not change."""


class ModelSpec(BaseModel):
    """The task, how scans are prepared, the network, how it is swept over a scan, and what is done to its answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    preparation: Preparation
    network: NetworkConfig
    window: SlidingWindow
    foreground_bias: float = Field(default=0.0, ge=-20, le=20)
    """Added to the logit of every label but background: below 0 masks are smaller, at 0 each voxel is of the likeliest
    class. Cross-validation finds it, and only where it gains Dice on held-out cases."""

    refinement: tuple[RefinementConfig, ...] = ()
    """Done in this order to the class probabilities on the prepared grid."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if len(self.preparation.normalization) != len(self.task.channels):
            raise ValueError(
                f"the task has {len(self.task.channels)} channels, "
                f"the preparation normalises {len(self.preparation.normalization)}"
            )
        for side, divisor in zip(self.window.patch, self.network.divisor, strict=True):
            if side % divisor or side < divisor:
                whole = [max(1, round(n / d)) * d for n, d in zip(self.window.patch, self.network.divisor, strict=True)]
                raise ValueError(
                    f"a patch of {self.window.patch} cannot pass a network that divides by {self.network.divisor}; "
                    f"the nearest patch that can is {tuple(whole)}"
                )
        for step in self.refinement:
            if highest_class(step) > len(self.task.labels):
                raise ValueError(
                    f"the refinement {step.kind} names class {highest_class(step)}, "
                    f"the task has labels 1 to {len(self.task.labels)}"
                )
        return self

    @property
    def class_count(self) -> int:
        """Background and the task's labels."""
        return len(self.task.labels) + 1


def to_toml(model: BaseModel) -> str:
    """The model as TOML text; fields that are None are left out."""
    return tomli_w.dumps(model.model_dump(mode="json", exclude_none=True))


def from_toml(kind: type[ModelT], text: str, source: str) -> ModelT:
    """The model of that kind in a TOML text. Raises PlanError, naming the source and the field, where it is wrong."""
    try:
        values: dict[str, Any] = tomllib.loads(text)
        return kind.model_validate(values)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{source} is not TOML: {error}") from error
    except ValidationError as error:
        raise PlanError(f"{source} is not valid: {first_problem(error)}") from error
