"""measure_by_hand: lengths and angles by hand on turned grids, an ellipse by its voxels one by one."""

from typing import Any

import numpy as np
import pytest

from medseg.analysis.quantification.by_hand import measure_by_hand
from medseg.core.findings import Mark
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume

SHAPE = (12, 10, 8)


def turned_volume(axis_codes: str = "RAS") -> Volume:
    """Values of their own in each voxel of 1 x 1.5 x 3 mm, turned by 25 degrees about z, stored along any axes."""
    angle = np.deg2rad(25.0)
    affine = np.diag((1.0, 1.5, 3.0, 1.0))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    i, j, k = np.indices(SHAPE)
    values = (40 * i + 10 * j + k).astype(np.int16)
    return Volume(values, Geometry(SHAPE, turn @ affine), "HU").reoriented(axis_codes)


def mark(kind: Any, plane: Any, *index: tuple[float, float, float]) -> Mark:
    """A mark through voxel positions of the RAS grid."""
    points = turned_volume().geometry.world(index)
    return Mark(kind=kind, plane=plane, points_mm=tuple(tuple(map(float, point)) for point in points))


def values(one: Mark, volume: Volume) -> dict[str, float]:
    """What a mark comes to, by name and unit."""
    made = measure_by_hand(one, "jane", volume)
    assert made is not None
    assert made.reader == "jane"
    return {f"{measured.name} {measured.unit}": measured.value for measured in made.measurements}


def test_lengths_and_angles_are_those_in_the_world() -> None:
    volume = turned_volume("LPS")
    # 4 voxels of 1 mm along i and 2 of 1.5 mm along j: hypot(4, 3) = 5 mm.
    assert values(mark("length", "axial", (2, 4, 3), (6, 6, 3)), volume) == pytest.approx({"length mm": 5.0})
    right = mark("angle", "axial", (6, 4, 3), (2, 4, 3), (2, 8, 3))
    assert values(right, volume) == pytest.approx({"angle deg": 90.0})
    same = mark("angle", "axial", (2, 4, 3), (2, 4, 3), (2, 8, 3))
    assert values(same, volume) == {"angle deg": 0.0}


def test_of_two_diameters_the_longer_one_comes_first() -> None:
    both = mark("diameters", "axial", (5, 2, 3), (5, 4, 3), (2, 4, 3), (8, 4, 3))
    made = measure_by_hand(both, "jane", turned_volume())
    assert made is not None
    assert [(m.name, round(m.value, 6)) for m in made.measurements] == [("long_axis", 6.0), ("short_axis", 3.0)]
    ends = turned_volume().geometry.index(made.outline_mm)
    np.testing.assert_allclose(ends, [(2, 4, 3), (8, 4, 3), (5, 2, 3), (5, 4, 3)], atol=1e-9)


@pytest.mark.parametrize("axis_codes", ["RAS", "LPS", "PIR"])
@pytest.mark.parametrize(("plane", "depth"), [("axial", 2), ("coronal", 1), ("sagittal", 0)])
def test_an_ellipse_holds_the_voxels_whose_centres_are_in_it(axis_codes: str, plane: str, depth: int) -> None:
    first, last = np.array((3.0, 2.0, 1.0)), np.array((8.0, 7.0, 6.0))
    last[depth] = first[depth]
    inside = []
    a, b = (axis for axis in range(3) if axis != depth)
    for index in np.ndindex(SHAPE):
        apart = [(index[axis] - (first[axis] + last[axis]) / 2) / ((last[axis] - first[axis]) / 2) for axis in (a, b)]
        if index[depth] == first[depth] and apart[0] ** 2 + apart[1] ** 2 <= 1:
            inside.append(40 * index[0] + 10 * index[1] + index[2])
    found = values(mark("roi", plane, tuple(first), tuple(last)), turned_volume(axis_codes))
    spacing = (1.0, 1.5, 3.0)
    assert len(inside) > 8
    assert found == pytest.approx(
        {
            "mean [hnsf'U]": np.mean(inside),
            "standard_deviation [hnsf'U]": np.std(inside, ddof=1),
            "minimum [hnsf'U]": min(inside),
            "maximum [hnsf'U]": max(inside),
            "area mm2": len(inside) * spacing[a] * spacing[b],
        }
    )


@pytest.mark.parametrize(
    "corners",
    [((2.2, 2.2, 3.0), (2.6, 2.6, 3.0)), ((2.0, 2.0, 3.0), (2.0, 5.0, 3.0)), ((2.0, 2.0, 30.0), (5.0, 5.0, 30.0))],
    ids=["between voxels", "no width", "outside"],
)
def test_an_ellipse_without_voxels_is_none(corners: Any) -> None:
    assert measure_by_hand(mark("roi", "axial", *corners), "jane", turned_volume()) is None
