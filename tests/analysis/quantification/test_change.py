"""Made pairs of scans in which lesions grow, move, turn, merge, split, appear and vanish."""

import math
from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medseg.analysis.quantification.change import LesionChange, Visit, compare_visits
from medseg.analysis.quantification.measure import measure_findings
from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import Task, load_task
from medseg.core.volume import Volume
from medseg.imaging.registration import align

Ball = tuple[float, float, float, float]
GRID = Geometry.from_spacing((80, 70, 40), (1.5, 1.5, 2.0), (-60.0, -52.0, -39.0))


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("phantom_ct").model_copy(update={"min_finding_ml": 0.0})


def points(geometry: Geometry) -> NDArray[np.float64]:
    return geometry.world(np.moveaxis(np.indices(geometry.shape), 0, -1))


def visit(
    task: Task, balls: list[Ball], *, geometry: Geometry = GRID, when: date | None = None, patient: str = "",
    at: NDArray[np.float64] | None = None,
) -> Visit:  # fmt: skip
    """A scan with ball-shaped lesions (x, y, z, radius in mm) at the points where the body's are."""
    where = points(geometry) if at is None else at
    array = np.zeros(geometry.shape, np.uint8)
    for x, y, z, radius in balls:
        array[((where - (x, y, z)) ** 2).sum(-1) <= radius**2] = 2
    label_map = LabelMap(array, geometry, task.label_schema)
    return Visit(label_map, measure_findings(label_map, task), when, patient)


def kinds(changes: tuple[LesionChange, ...]) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    return [(change.kind, change.prior, change.current) for change in changes]


def test_growth_by_a_known_factor_and_its_doubling_time(task: Task) -> None:
    # The radius grows from 10 to 12.6 mm (twice the volume) in 90 days; the other ball stands still.
    prior = visit(task, [(-20, 0, 0, 10), (30, 0, 0, 14)], when=date(2025, 1, 1))
    current = visit(task, [(-20, 0, 0, 10 * 2 ** (1 / 3)), (30, 0, 0, 14)], when=date(2025, 4, 1))
    still, grown = compare_visits(prior, current, task)
    assert kinds((still, grown)) == [("matched", (1,), (1,)), ("matched", (2,), (2,))]
    assert grown.volume_change_percent == pytest.approx(100, abs=3)
    assert grown.doubling_time_days == pytest.approx(90, rel=0.03)
    assert grown.current_longest_mm == pytest.approx(25.2, abs=0.75)
    assert (still.volume_change_percent, still.doubling_time_days) == (0, math.inf)


def test_halving_has_a_negative_time_and_no_date_no_time() -> None:
    change = LesionChange("lesion", "matched", (1,), (1,), 8.0, 4.0, 20.0, 16.0, days=30)
    assert change.doubling_time_days == pytest.approx(-30)
    assert LesionChange("lesion", "matched", (1,), (1,), 8.0, 4.0, 20.0, 16.0).doubling_time_days is None
    assert LesionChange("lesion", "new", (), (1,), 0.0, 4.0, 0.0, 16.0, days=30).doubling_time_days is None
    assert LesionChange("lesion", "new", (), (1,), 0.0, 4.0, 0.0, 16.0).volume_change_percent is None


def test_new_and_vanished(task: Task) -> None:
    prior = visit(task, [(-30, 0, 0, 8), (30, 20, 0, 6)])
    current = visit(task, [(-30, 0, 0, 8), (30, -20, 0, 7)])
    assert kinds(compare_visits(prior, current, task)) == [
        ("matched", (1,), (1,)), ("new", (), (2,)), ("vanished", (2,), ()),
    ]  # fmt: skip
    gone = compare_visits(prior, visit(task, []), task)
    assert kinds(gone) == [("vanished", (1,), ()), ("vanished", (2,), ())]
    assert gone[0].volume_change_percent == -100
    assert compare_visits(visit(task, []), visit(task, []), task) == ()


def test_merge_and_split(task: Task) -> None:
    apart = visit(task, [(-12, 0, 0, 10), (12, 0, 0, 9)])
    joined = visit(task, [(-12, 0, 0, 13), (12, 0, 0, 12)])
    (merged,) = compare_visits(apart, joined, task)
    assert (merged.kind, merged.prior, merged.current) == ("merged", (1, 2), (1,))
    assert merged.prior_ml == pytest.approx(sum(f.value("volume") or 0 for f in apart.findings))
    assert merged.prior_longest_mm == pytest.approx(38, abs=1.5)
    (split,) = compare_visits(joined, apart, task)
    assert (split.kind, split.prior, split.current) == ("split", (1,), (1, 2))
    assert split.current_longest_mm == merged.prior_longest_mm


def test_regrouped(task: Task) -> None:
    # Two become two others, each sharing with both.
    prior = visit(task, [(-10, -9, 0, 8), (-2, -9, 0, 8), (2, 9, 0, 8), (10, 9, 0, 8)])
    current = visit(
        task, [(-10, -9, 0, 8), (-10, 5, 0, 8), (10, -5, 0, 9), (10, 9, 0, 8), (0, -9, 0, 8), (-4, 7, 0, 7)]
    )
    changes = compare_visits(prior, current, task)
    assert sum(len(change.prior) for change in changes) == 2
    assert {n for change in changes for n in change.current} == set(range(1, len(current.findings) + 1))


def test_a_small_lesion_that_no_longer_overlaps_is_found_near_by_and_not_far_off(task: Task) -> None:
    prior = visit(task, [(0, 0, 0, 4)])
    near, far = visit(task, [(11, 0, 0, 4)]), visit(task, [(16, 0, 0, 4)])
    assert kinds(compare_visits(prior, near, task)) == [("matched", (1,), (1,))]
    assert kinds(compare_visits(prior, far, task)) == [("new", (), (1,)), ("vanished", (1,), ())]


def test_the_nearest_of_two_is_taken(task: Task) -> None:
    prior = visit(task, [(0, 0, 0, 4)])
    current = visit(task, [(-10, 0, 0, 4), (12, 0, 0, 4.5)])
    changes = compare_visits(prior, current, task)
    matched = next(change for change in changes if change.kind == "matched")
    assert current.findings[matched.current[0] - 1].centroid_mm[0] == pytest.approx(-10, abs=0.5)
    assert sorted(change.kind for change in changes) == ["matched", "new"]


def test_every_change_at_once_through_a_turned_and_shifted_prior(task: Task) -> None:
    """The whole way: two scans of one made body, registered, and all lesions told apart."""
    then: list[Ball] = [(-30, 15, 0, 6), (30, 15, 5, 7), (-8, -15, 0, 6.5), (8, -15, 0, 6.5), (0, 22, -12, 5)]
    now: list[Ball] = [(-30, 15, 0, 8), (30, 15, 5, 5), (-6, -15, 0, 8.2), (6, -15, 0, 8.2), (25, -12, -10, 6)]
    turn = Rotation.from_euler("xyz", (2, 3, -6), degrees=True).as_matrix()
    moved = (points(GRID) - (8.0, -4.0, 3.0)) @ turn

    def image(where: NDArray[np.float64], lesions: NDArray[np.bool_]) -> Volume:
        generator = np.random.default_rng(5)
        body = np.where(((where / (54, 42, 34)) ** 2).sum(-1) <= 1, 40.0, -1000.0)
        for _ in range(12):
            middle, radius = generator.uniform(-28, 28, 3), generator.uniform(4, 9)
            body[((where - middle) ** 2).sum(-1) <= radius**2] = generator.uniform(-120, 250)
        body[lesions] = 90
        return Volume(ndimage.gaussian_filter(body, 0.7).astype(np.float32), GRID, "HU")

    prior, current = visit(task, then, at=moved), visit(task, now)
    images = image(points(GRID), current.label_map.mask(2)), image(moved, prior.label_map.mask(2))
    assert len(prior.findings) == 5
    alignment = align(*images, is_deformable=False)
    changes = compare_visits(prior, current, task, alignment)
    found = sorted(change.kind for change in changes)
    assert found == ["matched", "matched", "merged", "new", "vanished"]
    grown, shrunken = sorted(
        (change for change in changes if change.kind == "matched"),
        key=lambda change: -(change.current_ml / change.prior_ml),
    )
    assert grown.current_ml / grown.prior_ml == pytest.approx((8 / 6) ** 3, rel=0.08)  # four voxels of radius
    assert shrunken.current_ml / shrunken.prior_ml == pytest.approx((5 / 7) ** 3, rel=0.08)


def test_pairs_that_cannot_be_compared_are_refused(task: Task) -> None:
    balls: list[Ball] = [(0, 0, 0, 8)]
    with pytest.raises(InputError, match="prior scan is of patient A, the current one of B"):
        compare_visits(visit(task, balls, patient="A"), visit(task, balls, patient="B"), task)
    other = load_task("sarcoma_pet")
    sarcoma = LabelMap(np.zeros(GRID.shape, np.uint8), GRID, other.label_schema)
    with pytest.raises(InputError, match="the prior mask's labels"):
        compare_visits(Visit(sarcoma, ()), visit(task, balls), task)
    shifted = Geometry.from_spacing(GRID.shape, GRID.spacing_mm)
    with pytest.raises(GeometryError, match="the current and the prior mask"):
        compare_visits(visit(task, balls, geometry=shifted), visit(task, balls), task)
    whole = visit(task, balls)
    with pytest.raises(InputError, match="findings of lesion are missing"):
        compare_visits(whole, Visit(whole.label_map, ()), task)
