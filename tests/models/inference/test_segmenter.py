"""A network behind the Segmenter protocol: the mask lands on the scan's own grid."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.core.errors import InputError, StoreError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.imaging.crf.grid import GridCRF
from medseg.imaging.refinement import RefinementConfig
from medseg.imaging.regions.components import connected_components
from medseg.imaging.regions.islands import KeepLargest
from medseg.models.bundle import ModelBundle, Provenance
from medseg.models.inference.device import choose_device
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.spec import ModelSpec, from_toml, to_toml

CPU = torch.device("cpu")


@pytest.fixture
def segmenter(spec: ModelSpec, weights: dict[str, torch.Tensor], provenance: Provenance) -> NetworkSegmenter:
    return NetworkSegmenter(ModelBundle("m", "0", spec, weights, provenance, None), CPU)


def scan(codes: str) -> Volume:
    upright = Geometry.from_spacing((20, 18, 22), (1.0, 1.0, 1.0), (-9.0, 3.0, 5.0))
    values = np.random.default_rng(0).normal(size=upright.shape).astype(np.float32)
    return Volume(values, upright).reoriented(codes)


def test_the_mask_is_on_the_scans_grid_and_the_same_however_the_scan_is_stored(segmenter: NetworkSegmenter) -> None:
    upright = segmenter.segment({"MR": scan("RAS")}).label_map
    assert len(np.unique(upright.array)) > 1
    for codes in ("LPS", "PIR", "SRA"):
        stored = scan(codes)
        mask = segmenter.segment({"MR": stored}).label_map
        assert mask.geometry == stored.geometry
        np.testing.assert_array_equal(mask.reoriented("RAS").array, upright.array)


def test_channels_are_taken_by_name(segmenter: NetworkSegmenter) -> None:
    with pytest.raises(InputError, match="takes the channels MR; got CT"):
        segmenter.segment({"CT": scan("RAS")})


def test_a_gpu_without_the_memory_is_a_sentence(segmenter: NetworkSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(segmenter, "_streamed", full)
    with pytest.raises(InputError, match=r"window of \(.*CUDA out of memory\. End what else uses it"):
        segmenter.segment({"MR": scan("RAS")})


def test_weights_of_another_network_are_refused(
    spec: ModelSpec, weights: dict[str, torch.Tensor], provenance: Provenance
) -> None:
    del weights[next(iter(weights))]
    with pytest.raises(StoreError, match="do not fit the network"):
        NetworkSegmenter(ModelBundle("m", "0", spec, weights, provenance, None), CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_a_sentence() -> None:
    assert choose_device("auto") == CPU
    with pytest.raises(InputError, match="no CUDA GPU"):
        choose_device("cuda")


def test_the_refinement_of_the_spec_is_done_before_the_mask_is_made(
    spec: ModelSpec, weights: dict[str, torch.Tensor], provenance: Provenance
) -> None:
    def mask_of(refinement: tuple[RefinementConfig, ...]) -> NDArray[np.unsignedinteger[Any]]:
        refined = from_toml(ModelSpec, to_toml(spec.model_copy(update={"refinement": refinement})), "a test")
        assert refined.refinement == refinement
        bundle = ModelBundle("m", "0", refined, weights, provenance, None)
        return NetworkSegmenter(bundle, CPU).segment({"MR": scan("LPS")}).label_map.array

    assert len(connected_components(mask_of(()) > 0)) > 1
    assert len(connected_components(mask_of((KeepLargest(together=True),)) > 0)) == 1
    smoothed = mask_of((GridCRF(strength_mm=0.3),))
    assert not np.array_equal(smoothed, mask_of(()))


def test_a_refinement_of_a_class_that_the_task_lacks_is_refused(spec: ModelSpec) -> None:
    values = {**spec.model_dump(), "refinement": [{"kind": "keep_largest", "classes": [3]}]}
    with pytest.raises(ValidationError, match="names class 3, the task has labels 1 to 2"):
        ModelSpec.model_validate(values)
