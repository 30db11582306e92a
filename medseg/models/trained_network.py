"""The network of a bundle, as it was trained, and with the bias that its spec adds to the answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medseg.core.errors import StoreError
from medseg.models.bundle import ModelBundle
from medseg.models.weights import set_weights


def trained_network(bundle: ModelBundle) -> nn.Module:
    """The bundle's network with its weights, on the CPU, not in training, without the spec's bias.

    Raises StoreError where weights and network do not fit.
    """
    network = bundle.spec.network.build(len(bundle.spec.task.channels), bundle.spec.class_count)
    try:
        set_weights(network, bundle.weights)
    except StoreError as error:
        raise StoreError(f"the weights of {bundle.name} do not fit the network of its spec: {error}") from error
    return network.eval()


def biased(network: nn.Module, bias: float) -> nn.Module:
    """The network with a bias in its answer; the network itself where the bias is 0."""
    return BiasedNetwork(network, bias).eval() if bias else network


class BiasedNetwork(nn.Module):
    """A network whose logits of every class but background are higher by a bias."""

    def __init__(self, network: nn.Module, bias: float) -> None:
        super().__init__()
        self._network = network
        self._bias = bias

    def forward(self, images: Tensor) -> list[Tensor]:
        """The main head's logits (batch, class, i, j, k); only differences between them count."""
        logits: Tensor = self._network(images)[0]
        return [torch.cat([logits[:, :1].float() - self._bias, logits[:, 1:].float()], dim=1)]
