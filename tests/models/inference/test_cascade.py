"""A cascade looks only where its first model found something, and gives masks and maps on the scan's own grid."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import Channel
from medseg.core.volume import Volume
from medseg.models.bundle import ModelBundle, Provenance
from medseg.models.inference.cascade import Cascade, box_around, matching_channels
from medseg.models.inference.kept_maps import Keep
from medseg.models.inference.segmenter import NetworkSegmenter, Segmentation
from medseg.models.spec import ModelSpec
from medseg.models.weights import weights_of

CPU = torch.device("cpu")
GRID = Geometry.from_spacing((40, 30, 24), (1.0, 1.0, 1.0))


@pytest.fixture
def model(spec: ModelSpec, provenance: Provenance) -> ModelBundle:
    torch.manual_seed(0)
    return ModelBundle("fine", "0" * 64, spec, weights_of(spec.network.build(1, spec.class_count)), provenance, None)


def scan() -> Volume:
    return Volume(np.random.default_rng(3).normal(size=GRID.shape).astype(np.float32), GRID)


def finding(cascade: Cascade, array: np.ndarray, monkeypatch: pytest.MonkeyPatch, spec: ModelSpec) -> None:
    """Let the cascade's first model find that."""
    found = Segmentation(LabelMap(array, GRID, spec.task.label_schema), 0.0)
    monkeypatch.setattr(cascade._finder, "segment", lambda images, progress=None: found)


def test_the_second_model_sees_the_box_and_its_answer_is_put_back(
    model: ModelBundle, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cascade = Cascade(model, model, "cpu", margin_mm=4.0)
    array = np.zeros(GRID.shape, np.uint8)
    array[10:14, 12:20, 3:20] = 1
    finding(cascade, array, monkeypatch, spec)
    box = (slice(6, 18), slice(8, 24), slice(0, 24))
    name = spec.task.labels[0].name
    keep = Keep((name,), tmp_path)
    seen = cascade.segment({"MR": scan()}, keep=keep)
    cut = Volume(scan().array[box], GRID.cropped((6, 8, 0), (12, 16, 24)))
    alone = NetworkSegmenter(model, CPU).segment({"MR": cut}, keep=keep)
    expected = np.zeros(GRID.shape, np.uint8)
    expected[box] = alone.label_map.array
    assert np.array_equal(seen.label_map.array, expected)
    assert seen.label_map.geometry == GRID
    assert seen.probabilities is not None
    assert alone.probabilities is not None
    whole, part = (one.of_label[name].array for one in (seen.probabilities, alone.probabilities))
    assert np.array_equal(whole[box], part)
    assert whole.sum() == part.sum() > 0
    assert "looked only within 12 x 16 x 24 of 40 x 30 x 24 voxels" in seen.notes[0]


def test_where_nothing_is_found_nothing_is_looked_for(
    model: ModelBundle, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    cascade = Cascade(model, model, "cpu")
    finding(cascade, np.zeros(GRID.shape, np.uint8), monkeypatch, spec)
    seen = cascade.segment({"MR": scan()})
    assert not seen.label_map.array.any()
    assert "found nothing in this scan" in seen.notes[0]


def test_the_margin_is_in_mm_and_ends_at_the_scan(spec: ModelSpec) -> None:
    grid = Geometry.from_spacing((20, 20, 20), (0.5, 1.0, 2.0))
    array = np.zeros(grid.shape, np.uint8)
    array[8, 9, 18] = 1
    found = LabelMap(array, grid, spec.task.label_schema)
    assert box_around(found, 3.0) == (slice(2, 15), slice(6, 13), slice(16, 20))


def test_a_finder_of_other_images_is_refused(spec: ModelSpec) -> None:
    ct = spec.task.model_copy(update={"channels": (Channel(name="CT", modality="CT"),)})
    with pytest.raises(InputError, match=r"organ_ct looks at CT \(CT\), of which the task .* has none"):
        matching_channels(ct, spec.task, "organ_ct")
    other_name = spec.task.model_copy(update={"channels": (Channel(name="T1", modality="MR"),)})
    assert matching_channels(other_name, spec.task, "organ_mr") == {"T1": "MR"}
