"""A network's weights by name, each once: some networks keep the same layer under two names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medseg.core.errors import StoreError


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, detached, sharing memory with the network; a tensor under two names has its first."""
    named = [*network.named_parameters(), *network.named_buffers()]
    return {name: tensor.detach() for name, tensor in named}


@torch.no_grad()
def set_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into the network. Raises StoreError, naming a tensor that is missing, strange or misshaped."""
    own = weights_of(network)
    for name in sorted(own.keys() ^ weights.keys()):
        raise StoreError(f"the weights {'lack' if name in own else 'hold the unknown'} tensor {name}")
    for name, tensor in own.items():
        if tensor.shape != weights[name].shape:
            raise StoreError(f"tensor {name} is {tuple(weights[name].shape)}, the network's {tuple(tensor.shape)}")
    for name, tensor in own.items():
        tensor.copy_(weights[name])
