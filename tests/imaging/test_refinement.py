"""Steps on probabilities: pieces, holes, the union and what it refuses."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from medseg.core.errors import InputError
from medseg.imaging.crf.dense import DenseCRF
from medseg.imaging.crf.grid import GridCRF
from medseg.imaging.refinement import RefinementConfig, refine
from medseg.imaging.regions.islands import FillHoles, KeepLargest, RemoveSmall

MM = (1.0, 1.0, 1.0)
Floats = NDArray[np.float32]

CONFIGS: tuple[RefinementConfig, ...] = (
    GridCRF(),
    DenseCRF(),
    KeepLargest(),
    RemoveSmall(min_volume_ml=0.01),
    FillHoles(),
)


def scores(labels: NDArray[np.integer], classes: int = 3) -> Floats:
    """0.6 for the label, the rest shared by the others alike."""
    result = np.full((classes, *labels.shape), 0.4 / (classes - 1), np.float32)
    np.put_along_axis(result, labels[None].astype(np.intp), np.float32(0.6), axis=0)
    return result


def after(step: RefinementConfig, labels: NDArray[np.integer]) -> NDArray[np.intp]:
    given = scores(labels)
    kept = given.copy()
    refined = refine(given, given[:1], MM, [step])
    assert np.array_equal(given, kept)
    assert np.abs(refined.sum(0) - 1).max() < 1e-5
    return np.asarray(refined.argmax(0))


@pytest.fixture
def labels() -> NDArray[np.intp]:
    """A cube of 1 with a hole, a cube of 2 beside it, and a smaller island of each."""
    array = np.zeros((16, 10, 10), np.intp)
    array[1:6, 1:6, 1:6] = 1
    array[3, 3, 3] = 0
    array[6:9, 1:4, 1:4] = 2
    array[12:14, 1:3, 1:3] = 1
    array[12, 7, 7] = 2
    return array


def test_only_the_largest_piece_of_each_class_is_kept(labels: NDArray[np.intp]) -> None:
    expected = labels.copy()
    expected[10:] = 0
    assert np.array_equal(after(KeepLargest(), labels), expected)
    expected[12, 7, 7] = 2
    assert np.array_equal(after(KeepLargest(classes=(1,)), labels), expected)


def test_classes_kept_together_are_one_structure() -> None:
    # The smaller piece of 2 touches the large one of 1: alone it would go, as a part of the whole it stays.
    array = np.zeros((14, 6, 6), np.intp)
    array[0:5, 0:5, 0:5] = 1
    array[5, 0:2, 0:2] = 2
    array[9:12, 0:3, 0:3] = 2
    assert (after(KeepLargest(together=True), array)[5, 0:2, 0:2] == 2).all()
    assert not after(KeepLargest(together=True), array)[9:].any()
    assert not (after(KeepLargest(), array)[5] == 2).any()


def test_pieces_below_a_volume_go(labels: NDArray[np.intp]) -> None:
    expected = labels.copy()
    expected[12, 7, 7] = 0
    assert np.array_equal(after(RemoveSmall(min_volume_ml=0.008), labels), expected)  # the island of 8 mm³ stays
    expected[12:14] = 0
    assert np.array_equal(after(RemoveSmall(min_volume_ml=0.0081), labels), expected)


def test_what_is_taken_away_goes_to_the_runner_up() -> None:
    given = np.zeros((3, 8, 4, 4), np.float32)
    given[0] = 1
    given[:, 0:3] = np.array((0.1, 0.7, 0.2))[:, None, None, None]
    given[:, 6, 0, 0] = (0.1, 0.5, 0.4)
    given[:, 7, 3, 3] = (0.0, 1.0, 0.0)
    refined = refine(given, given[:1], MM, [KeepLargest(classes=(1,))])
    assert refined[:, 6, 0, 0] == pytest.approx((0.2, 0.0, 0.8))
    assert refined[:, 7, 3, 3] == pytest.approx((1.0, 0.0, 0.0))


def test_holes_are_filled_and_bays_are_not(labels: NDArray[np.intp]) -> None:
    expected = labels.copy()
    expected[3, 3, 3] = 1
    assert np.array_equal(after(FillHoles(), labels), expected)
    assert np.array_equal(after(FillHoles(together=True), labels), expected)
    assert np.array_equal(after(FillHoles(classes=(2,)), labels), labels)
    labels[3, 3, 1:4] = 0  # opened to the outside
    assert np.array_equal(after(FillHoles(), labels), labels)


def test_another_class_within_is_no_hole() -> None:
    array = np.ones((5, 5, 5), np.intp)
    array[2, 2, 2] = 2
    assert np.array_equal(after(FillHoles(), array), array)


@pytest.mark.parametrize("step", CONFIGS, ids=lambda step: step.kind)
def test_every_way_takes_empty_masks_and_gives_probabilities(step: RefinementConfig) -> None:
    assert not after(step, np.zeros((5, 4, 3), np.intp)).any()
    assert after(step, np.ones((1, 4, 3), np.intp)).shape == (1, 4, 3)


@pytest.mark.parametrize("step", CONFIGS, ids=lambda step: step.kind)
def test_a_way_survives_being_written_down(step: RefinementConfig) -> None:
    assert TypeAdapter(RefinementConfig).validate_python(step.model_dump(mode="json")) == step


def test_a_way_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(ValidationError, match="'grid_crf', 'dense_crf', 'keep_largest'"):
        TypeAdapter(RefinementConfig).validate_python({"kind": "polish"})


def test_steps_follow_one_another_and_none_changes_nothing(labels: NDArray[np.intp]) -> None:
    given = scores(labels)
    assert refine(given, given[:1], MM, []) is given
    both = refine(given, given[:1], MM, [KeepLargest(), FillHoles()]).argmax(0)
    expected = labels.copy()
    expected[10:] = 0
    expected[3, 3, 3] = 1
    assert np.array_equal(both, expected)


def test_what_does_not_fit_is_refused(labels: NDArray[np.intp]) -> None:
    given = scores(labels)
    with pytest.raises(InputError, match="names class 3, the model has classes 0 to 2"):
        refine(given, given[:1], MM, [KeepLargest(classes=(3,))])
    with pytest.raises(InputError, match="on one grid"):
        refine(given, given[:1, :4], MM, [GridCRF()])
    with pytest.raises(InputError, match=r"up to 1 off. Apply a softmax"):
        refine(given * 2, given[:1], MM, [GridCRF()])
    with pytest.raises(InputError, match="sum to 1"):
        refine(given * np.float32(np.nan), given[:1], MM, [GridCRF()])
    with pytest.raises(InputError, match="not finite"):
        refine(given, given[:1] * np.float32(np.inf), MM, [DenseCRF()])
