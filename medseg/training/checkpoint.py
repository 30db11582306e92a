"""Everything a training needs to go on as if it had never stopped, in one file that is replaced whole. No pickle.

Tensors of network, averaged weights and optimiser are stored as safetensors; the rest is JSON in the file's header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from medseg.core.atomic import whole_file
from medseg.core.errors import StoreError
from medseg.models.spec import to_toml
from medseg.training.cases import PreparedCase
from medseg.training.planning.plan import Keep, Plan


class EpochRecord(BaseModel):
    """One epoch: when it ended, its mean loss, and the Dice of each label where the validation cases were looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    step: int
    elapsed_s: float
    learning_rate: float
    loss: float
    validation_dice: dict[str, float] | None = None
    patches_at_once: int | None = None
    """Where memory ran out: how many patches of a batch went through the network together."""

    @property
    def mean_dice(self) -> float | None:
        """Over the labels; None where nobody looked, or no case had any."""
        dice = self.validation_dice
        return sum(dice.values()) / len(dice) if dice else None


class Progress(BaseModel):
    """How far a training has come, and what it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan_sha256: str
    data_sha256: str
    records: tuple[EpochRecord, ...] = ()

    @classmethod
    def begin(cls, plan: Plan, training: Sequence[PreparedCase]) -> Progress:
        """Of a training that has not taken a step."""
        return cls(
            plan_sha256=hashlib.sha256(to_toml(plan).encode()).hexdigest(),
            data_sha256=hashlib.sha256("".join(sorted(case.sha256 for case in training)).encode()).hexdigest(),
        )

    @property
    def epochs_done(self) -> int:
        return len(self.records)

    @property
    def elapsed_s(self) -> float:
        """Seconds of training so far, over all interruptions."""
        return self.records[-1].elapsed_s if self.records else 0.0

    @property
    def steps_done(self) -> int:
        return self.records[-1].step if self.records else 0


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state after an epoch."""

    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, dict[str, Tensor]]
    """For each parameter, by name, the optimiser's running values."""
    progress: Progress
    best: dict[str, Tensor] = field(default_factory=dict)
    """The averaged weights at the best look, where the plan keeps those."""

    def kept(self, keep: Keep) -> dict[str, Tensor]:
        """The weights that become the model; the average for "best" where no look saw any label."""
        return {"average": self.average, "last": self.network, "best": self.best or self.average}[keep]


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """The checkpoint in one file; a kill at any moment leaves the old one or the new one."""
    tensors = {f"network/{name}": tensor for name, tensor in checkpoint.network.items()}
    tensors |= {f"average/{name}": tensor for name, tensor in checkpoint.average.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in checkpoint.best.items()}
    for parameter, state in checkpoint.optimizer.items():
        tensors |= {f"optimizer/{parameter}/{key}": value for key, value in state.items()}
    contiguous = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with whole_file(path) as unfinished:
        safetensors.torch.save_file(contiguous, unfinished, {"progress": checkpoint.progress.model_dump_json()})


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file. Raises StoreError where it cannot be read."""
    weights: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "best": {}}
    optimizer: dict[str, dict[str, Tensor]] = {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            progress = Progress.model_validate_json((file.metadata() or {}).get("progress", ""))
            for key in file.keys():  # noqa: SIM118 - a safetensors file is not a dict
                group, name = key.split("/", 1)
                tensor = file.get_tensor(key)
                if group in weights:
                    weights[group][name] = tensor
                else:
                    parameter, value = name.rsplit("/", 1)
                    optimizer.setdefault(parameter, {})[value] = tensor
    except (OSError, safetensors.SafetensorError, ValidationError, ValueError) as error:
        raise StoreError(
            f"the checkpoint {path} cannot be read ({error}). Delete it to train from the beginning."
        ) from error
    return Checkpoint(weights["network"], weights["average"], optimizer, progress, weights["best"])


def optimizer_state(optimizer: torch.optim.Optimizer, names: dict[Tensor, str]) -> dict[str, dict[str, Tensor]]:
    """The optimiser's running values by parameter name."""
    return {
        names[parameter]: {key: torch.as_tensor(value) for key, value in state.items()}
        for parameter, state in optimizer.state.items()
    }


def restore_optimizer_state(
    optimizer: torch.optim.Optimizer, names: dict[Tensor, str], state: dict[str, dict[str, Tensor]]
) -> None:
    """Put the running values back where `optimizer_state` took them from, on each parameter's device.

    They take the parameter's memory layout: the fused optimiser walks through memory, not through indices.
    """
    if not state:  # no step has been taken yet
        return
    for parameter, name in names.items():
        optimizer.state[parameter] = {
            key: value if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
            for key, value in state[name].items()
        }
