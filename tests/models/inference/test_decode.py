"""Decoding on a device gives the labels that decoding box by box gives; the CPU stands for the device here."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.core.geometry import Geometry
from medseg.imaging.preparing.restore import LabelRestorer
from medseg.models.inference.decode import DeviceRestorer, restorer_on

CPU = torch.device("cpu")
VALUES = np.array([0, 1, 7, 300], np.uint16)
SOURCE = Geometry.from_spacing((19, 14, 11), (1.0, 1.2, 1.5), (3.0, -2.0, 1.0))


def scores(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Whole numbers, as windows sum them; certain in places, and two classes close to each other in others."""
    values = np.random.default_rng(seed).random((4, *shape)) ** 4
    values[2, :9] += 3
    values[0, 12:] += 9
    return (values * 2000).astype(np.int16)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    spacing=st.tuples(*(st.floats(0.3, 3.0),) * 3),
    codes=st.sampled_from(["RAS", "LPS", "SAR", "AIL"]),
    pieces=st.integers(1, 20),
)
def test_the_labels_are_those_of_a_cpu(seed: int, spacing: tuple[float, float, float], codes: str, pieces: int) -> None:
    target = Geometry.from_spacing((15, 16, 17), spacing, (2.0, -3.0, 0.0))
    target = target.reoriented(target.reorientation_to(codes))
    array = scores(SOURCE.shape, seed)
    expected = LabelRestorer(SOURCE, target, VALUES)
    found = DeviceRestorer(SOURCE, target, VALUES, CPU)
    for start in range(0, SOURCE.shape[0], pieces):
        handed_in = torch.from_numpy(array[:, start : start + pieces].copy())
        found.add(handed_in)
        handed_in.zero_()  # what is handed in may be written over
        expected.add(array[:, start : start + pieces])
    assert found.labels.dtype == expected.labels.dtype
    assert (found.labels != expected.labels).sum() <= 1  # float32 in another order: a tie may fall otherwise


def test_on_one_grid_nothing_is_interpolated() -> None:
    array = scores(SOURCE.shape, 0)
    found = DeviceRestorer(SOURCE, SOURCE, VALUES, CPU)
    found.add(torch.from_numpy(array))
    assert np.array_equal(found.labels, VALUES[array.argmax(axis=0)])


def test_few_planes_are_held() -> None:
    target = Geometry.from_spacing((57, 14, 11), (1 / 3, 1.2, 1.5), (3.0, -2.0, 1.0))
    found = DeviceRestorer(SOURCE, target, VALUES, CPU)
    for plane in range(SOURCE.shape[0]):
        found.add(torch.from_numpy(scores(SOURCE.shape, 0)[:, plane : plane + 1]))
        assert found._planes is not None
        assert found._planes.shape[1] <= 1


def test_a_tilted_grid_is_decoded_on_the_cpu() -> None:
    affine = SOURCE.affine.copy()
    affine[1, 2] = 0.2
    tilted = Geometry(SOURCE.shape, affine)
    with pytest.raises(ValueError, match="do not run alike"):
        DeviceRestorer(SOURCE, tilted, VALUES, CPU)
    array = scores(SOURCE.shape, 0)
    found = restorer_on(torch.device("meta"), SOURCE, tilted, VALUES)  # a device that can compute nothing
    found.add(torch.from_numpy(array))
    expected = LabelRestorer(SOURCE, tilted, VALUES)
    expected.add(array)
    assert np.array_equal(found.labels, expected.labels)
