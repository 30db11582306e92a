"""Bundles of tiny networks with random weights, on windows of a few thousand voxels."""

from collections.abc import Callable

import pytest
import torch

from medseg.models.bundle import ModelBundle, Provenance
from medseg.models.networks.config import NetworkConfig
from medseg.models.spec import ModelSpec
from medseg.models.weights import weights_of

MakeBundle = Callable[..., ModelBundle]


@pytest.fixture
def make_bundle(spec: ModelSpec, provenance: Provenance) -> MakeBundle:
    """A bundle of the network, for the hippocampus unless the spec's fields say otherwise."""

    def make(network: NetworkConfig, **fields: object) -> ModelBundle:
        torch.manual_seed(0)
        chosen = ModelSpec.model_validate({**spec.model_dump(), "network": network.model_dump(), **fields})
        weights = weights_of(chosen.network.build(len(chosen.task.channels), chosen.class_count))
        return ModelBundle("tiny", "f" * 64, chosen, weights, provenance, None)

    return make
