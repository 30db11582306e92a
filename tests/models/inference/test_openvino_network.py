"""The network that OpenVINO compiled says what torch says; where openvino is missing, a sentence says what to do."""

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.models.bundle import ModelBundle, Provenance
from medseg.models.inference.openvino_network import OpenVinoNetwork
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.spec import ModelSpec


@pytest.fixture
def openvino() -> None:
    """Skips where openvino is not installed."""
    pytest.importorskip("openvino", reason="openvino is not installed: pip install 'medseg[openvino]'")


@pytest.mark.usefixtures("openvino")
def test_the_mask_is_that_of_torch(spec: ModelSpec, weights: dict[str, Tensor], provenance: Provenance) -> None:
    bundle = ModelBundle("m", "0", spec, weights, provenance, None)
    grid = Geometry.from_spacing((20, 18, 22), (1.0, 1.0, 1.0))
    images = {"MR": Volume(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid)}
    ours = NetworkSegmenter.on(bundle, "cpu").segment(images).label_map.array
    compiled = NetworkSegmenter.on(bundle, "openvino").segment(images).label_map.array
    assert len(np.unique(ours)) > 1
    # Noise is where classes are closest to each other: two roundings of bfloat16 may part them otherwise.
    assert (ours == compiled).mean() > 0.98


class Other(nn.Module):
    """Answers otherwise the second time: what is traced, and what torch then says, differ."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: Tensor) -> list[Tensor]:
        self.calls += 1
        sign = 1.0 if self.calls < 2 else -1.0
        return [torch.cat([sign * images, -sign * images], dim=1)]


@pytest.mark.usefixtures("openvino")
def test_another_answer_than_torchs_is_refused() -> None:
    with pytest.raises(InputError, match=r"answer differently for this network.*Choose the device cpu"):
        OpenVinoNetwork(Other(), 1, (8, 8, 8))


def test_a_missing_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"pip install 'medseg\[openvino\]'"):
        OpenVinoNetwork(Other(), 1, (8, 8, 8))


@pytest.mark.usefixtures("openvino")
def test_a_network_that_cannot_be_compiled_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such layer\nat some place")

    monkeypatch.setattr(torch.jit, "trace", refuse)
    with pytest.raises(InputError, match=r"cannot compile this network \(no such layer\)"):
        OpenVinoNetwork(Other(), 1, (8, 8, 8))
