"""outlines: drawn by hand, and on random masks every pixel, hole and corner comes back."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from medseg.exchange.dicom.rtstruct import inside_polygon
from medseg.imaging.pictures.contours import outlines


def mask(*rows: str) -> NDArray[np.bool_]:
    return np.array([[letter == "#" for letter in row] for row in rows])


def area(polygon: NDArray[np.float64]) -> float:
    i, j = polygon.T
    return abs(float((i * np.roll(j, -1) - np.roll(i, -1) * j).sum())) / 2


def test_one_pixel_is_a_square_around_its_centre() -> None:
    (square,) = outlines(mask("...", "..#"))
    assert sorted(map(tuple, square.tolist())) == [(1.5, 0.5), (1.5, 1.5), (2.5, 0.5), (2.5, 1.5)]


def test_pixels_that_touch_at_a_corner_are_two_regions() -> None:
    assert [area(polygon) for polygon in outlines(mask("#.", ".#"))] == [1.0, 1.0]


def test_a_ring_is_one_polygon_with_a_keyhole() -> None:
    ring = mask("#####", "#...#", "#.#.#", "#...#", "#####")
    outer, island = sorted(outlines(ring), key=area, reverse=True)
    assert (area(outer), area(island)) == (16.0, 1.0)
    # four corners outside, four inside; the channel's two ends are walked on the way in and on the way out
    assert len(outer) == 4 + 4 + 2
    assert len(island) == 4


def test_two_holes_side_by_side_are_both_left_out() -> None:
    both = mask("######", "#.#.##", "######")
    (polygon,) = outlines(both)
    assert area(polygon) == 16.0
    assert (inside_polygon(polygon, 3, 6) == both).all()


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((3, 4), bool)) == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_each_region_is_one_polygon_that_holds_its_pixels_and_no_other(random: NDArray[np.bool_]) -> None:
    regions, count = ndimage.label(random)
    polygons = outlines(random)
    assert len(polygons) == count
    for polygon in polygons:
        inside = inside_polygon(polygon, *random.shape)
        (number,) = np.unique(regions[inside])
        assert (inside == (regions == number)).all()
        assert area(polygon) == inside.sum()
