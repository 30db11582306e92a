"""Everything a training needs to go on as if it had never stopped, in one file that is replaced whole. No pickle.

Tensors of network, averaged weights and optimiser are stored as safetensors; the rest is JSON in the file's header.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from medseg.core.atomic import whole_file
from medseg.core.errors import StoreError


class EpochRecord(BaseModel):
    """One epoch: when it ended, its mean loss, and the Dice of each label where the validation cases were looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    step: int
    elapsed_s: float
    learning_rate: float
    loss: float
    validation_dice: dict[str, float] | None = None


class Progress(BaseModel):
    """How far a training has come, and what it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan_sha256: str
    data_sha256: str
    records: tuple[EpochRecord, ...] = ()

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


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """The checkpoint in one file; a kill at any moment leaves the old one or the new one."""
    tensors = {f"network/{name}": tensor for name, tensor in checkpoint.network.items()}
    tensors |= {f"average/{name}": tensor for name, tensor in checkpoint.average.items()}
    for parameter, state in checkpoint.optimizer.items():
        tensors |= {f"optimizer/{parameter}/{key}": value for key, value in state.items()}
    contiguous = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with whole_file(path) as unfinished:
        safetensors.torch.save_file(contiguous, unfinished, {"progress": checkpoint.progress.model_dump_json()})


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file. Raises StoreError where it cannot be read."""
    network: dict[str, Tensor] = {}
    average: dict[str, Tensor] = {}
    optimizer: dict[str, dict[str, Tensor]] = {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            progress = Progress.model_validate_json((file.metadata() or {}).get("progress", ""))
            for key in file.keys():  # noqa: SIM118 - a safetensors file is not a dict
                group, name = key.split("/", 1)
                tensor = file.get_tensor(key)
                if group == "network":
                    network[name] = tensor
                elif group == "average":
                    average[name] = tensor
                else:
                    parameter, value = name.rsplit("/", 1)
                    optimizer.setdefault(parameter, {})[value] = tensor
    except (OSError, safetensors.SafetensorError, ValidationError, ValueError) as error:
        raise StoreError(
            f"the checkpoint {path} cannot be read ({error}). Delete it to train from the beginning."
        ) from error
    return Checkpoint(network, average, optimizer, progress)


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
    for parameter, name in names.items():
        optimizer.state[parameter] = {
            key: value if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
            for key, value in state[name].items()
        }
