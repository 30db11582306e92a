"""Scores plane by plane become the labels of the whole, whatever the pieces and however the grids lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.imaging.preparing import restore
from medseg.imaging.preparing.restore import KeptScores, LabelRestorer
from medseg.imaging.resample import interpolate

VALUES = np.array([0, 1, 7, 300], np.uint16)


def whole(scores: NDArray[np.float32], source: Geometry, target: Geometry) -> NDArray[np.uint16]:
    """Every class interpolated everywhere, then compared: what the restorer leaves out must not matter."""
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), axis=-1)
    place = source.index(target.world(index))
    inside = ((place >= -0.5 - 1e-4) & (place <= np.asarray(source.shape) - 0.5 + 1e-4)).all(axis=-1)
    winner = np.stack([interpolate(score.astype(float), source, target, order=1) for score in scores]).argmax(axis=0)
    return VALUES[np.where(inside, winner, 0)]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    degrees=st.floats(-60, 60),
    shear=st.floats(-0.4, 0.4),
    spacing=st.tuples(*(st.floats(0.3, 3.0),) * 3),
    codes=st.sampled_from(["RAS", "LPS", "SAR", "AIL"]),
    pieces=st.integers(1, 20),
)
def test_labels_are_those_of_the_whole_volume(
    seed: int, degrees: float, shear: float, spacing: tuple[float, float, float], codes: str, pieces: int
) -> None:
    generator = np.random.default_rng(seed)
    source = Geometry.from_spacing((19, 14, 11), (1.0, 1.2, 1.5), (3.0, -2.0, 1.0))
    # Blocks of certainty, as a network gives them, and noise between: some boxes have one class left, others all.
    scores = generator.random((4, *source.shape)).astype(np.float32) ** 4
    scores[2, :9] += 3
    scores[0, 12:] += 9
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    affine[:3, :3] = turn @ np.array([[1, 0, 0], [0, 1, shear], [0, 0, 1]]) * spacing
    turned = Geometry((15, 16, 17), affine)
    affine[:3, 3] = source.centre_mm - turned.centre_mm
    target = Geometry(turned.shape, affine)
    target = target.reoriented(target.reorientation_to(codes))
    restorer = LabelRestorer(source, target, VALUES)
    for start in range(0, source.shape[0], pieces):
        restorer.add(scores[:, start : start + pieces])
    different = restorer.labels != whole(scores, source, target)
    # float32 against float64: a voxel may differ where two classes tie to seven digits.
    assert different.sum() <= 1


def test_few_planes_are_held_and_what_is_handed_in_may_be_written_over() -> None:
    source = Geometry.from_spacing((200, 8, 8), (1.0, 1.0, 1.0))
    scores = np.random.default_rng(0).integers(0, 30_000, (4, *source.shape)).astype(np.int16)
    target = source.with_spacing((0.7, 0.8, 1.3))
    restorer = LabelRestorer(source, target, VALUES)
    held, lent = [], np.empty((4, 5, 8, 8), np.int16)
    for start in range(0, 200, 5):
        lent[:] = scores[:, start : start + 5]
        restorer.add(lent)
        held.append(restorer._planes.shape[1])
        lent[:] = -1
    assert max(held) <= restore.MOST_PLANES + 1
    np.testing.assert_array_equal(restorer.labels, whole(scores.astype(np.float32), source, target))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR"])
def test_kept_channels_are_interpolated_in_bytes_and_nothing_outside(codes: str) -> None:
    source = Geometry.from_spacing((30, 14, 11), (1.0, 1.2, 1.5), (3.0, -2.0, 1.0))
    scores = np.random.default_rng(1).random((5, *source.shape)).astype(np.float32) * 0.2
    scores[1, :9] = scores[4, 12:20] = 1.0
    turned = Geometry.from_spacing((46, 20, 24), (0.7, 1.0, 0.8), (0.0, -3.0, 0.0))
    target = turned.reoriented(turned.reorientation_to(codes))
    kept = {1: np.zeros(target.shape, np.uint8), 4: np.zeros(target.shape, np.uint8)}
    restorer = LabelRestorer(source, target, VALUES, KeptScores(kept, 2.0))
    for start in range(0, 30, 4):
        restorer.add(scores[:, start : start + 4] * 2)
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), axis=-1)
    place = source.index(target.world(index))
    inside = ((place >= -0.5 - 1e-4) & (place <= np.asarray(source.shape) - 0.5 + 1e-4)).all(axis=-1)
    for channel, array in kept.items():
        expected = np.where(inside, interpolate(scores[channel].astype(float), source, target, order=1), 0)
        assert np.abs(array / 255 - expected).max() <= 0.5 / 255 + 1e-5
        assert array.max() == 255
    np.testing.assert_array_equal(restorer.labels, whole(scores[:4], source, target))  # the fifth is no class


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_the_same_grid_in_another_order_takes_each_voxels_own_winner(codes: str) -> None:
    source = Geometry.from_spacing((9, 8, 7), (1.0, 1.2, 1.5), (0.1, 0.2, 0.3))
    scores = np.random.default_rng(0).integers(0, 30_000, (4, *source.shape)).astype(np.int16)
    turn = source.reorientation_to(codes)
    restorer = LabelRestorer(source, source.reoriented(turn), VALUES)
    restorer.add(scores)
    np.testing.assert_array_equal(restorer.labels, turn.apply(VALUES[scores.argmax(axis=0)]))


@pytest.mark.parametrize("base", [0, 1000])
def test_classes_that_are_almost_even_all_compete(base: int) -> None:
    """The winner is then hardly above the mean over classes, and never above what the others reach somewhere."""
    source = Geometry.from_spacing((12, 10, 9), (1.0, 1.0, 1.0))
    scores = (base + np.random.default_rng(3).random((4, *source.shape)) * 50).astype(np.float32)
    target = source.with_spacing((0.8, 0.9, 1.1))
    restorer = LabelRestorer(source, target, VALUES)
    restorer.add(scores)
    np.testing.assert_array_equal(restorer.labels, whole(scores, source, target))
    assert len(np.unique(restorer.labels)) == 4
