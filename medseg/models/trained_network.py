"""The network of a bundle, ready to be run."""

from __future__ import annotations

from torch import nn

from medseg.core.errors import StoreError
from medseg.models.bundle import ModelBundle
from medseg.models.weights import set_weights


def trained_network(bundle: ModelBundle) -> nn.Module:
    """The bundle's network with its weights, on the CPU, not in training.

    Raises StoreError where weights and network do not fit.
    """
    network = bundle.spec.network.build(len(bundle.spec.task.channels), bundle.spec.class_count)
    try:
        set_weights(network, bundle.weights)
    except StoreError as error:
        raise StoreError(f"the weights of {bundle.name} do not fit the network of its spec: {error}") from error
    return network.eval()
