"""Pieces of masks drawn by hand."""

import numpy as np
import pytest

from medseg.imaging.regions import components
from medseg.imaging.regions.components import Connectivity, connected_components


def test_pieces_come_largest_first_with_their_places() -> None:
    mask = np.zeros((6, 7, 8), bool)
    mask[1, 1, 1:3] = True
    mask[3:5, 3:6, 4] = True
    mask[0, 6, 7] = True
    pieces = connected_components(mask)
    assert [piece.voxel_count for piece in pieces] == [6, 2, 1]
    assert [piece.start for piece in pieces] == [(3, 3, 4), (1, 1, 1), (0, 6, 7)]
    again = np.zeros_like(mask)
    for piece in pieces:
        assert piece.voxel_count == piece.mask.sum()
        again[piece.box] |= piece.mask
        assert mask[tuple(piece.indices().T)].all()
    assert np.array_equal(again, mask)


def test_equal_pieces_keep_the_order_of_their_first_voxel() -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[::2, 0, ::2] = True
    assert [piece.start for piece in connected_components(mask)] == [(i, 0, k) for i in (0, 2, 4) for k in (0, 2, 4)]


@pytest.mark.parametrize(("connectivity", "pieces"), [(6, 3), (18, 2), (26, 1)])
def test_what_touches(connectivity: Connectivity, pieces: int) -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[1, 2, 2] = True  # over an edge, then over a corner
    assert len(connected_components(mask, connectivity=connectivity)) == pieces


def test_a_piece_inside_the_hollow_of_another_keeps_its_own_voxels() -> None:
    mask = np.ones((5, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = False
    mask[2, 2, 2] = True
    shell, core = connected_components(mask)
    assert (shell.voxel_count, core.voxel_count) == (125 - 27, 1)
    assert not shell.mask[2, 2, 2]


def test_small_pieces_are_dropped_by_count() -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[0, 0, :3] = mask[3, 3, :2] = True
    assert [piece.voxel_count for piece in connected_components(mask, minimum_voxels=3)] == [3]


def test_border_is_the_outermost_layer_but_not_of_a_single_slice() -> None:
    mask = np.zeros((5, 5, 1), bool)
    mask[0, 2, 0] = mask[2, 2, 0] = True
    at_border, inside = connected_components(mask)
    assert at_border.touches_border(mask.shape)
    assert not inside.touches_border(mask.shape)


def test_empty_and_full_masks() -> None:
    assert connected_components(np.zeros((3, 3, 3), bool)) == ()
    (whole,) = connected_components(np.ones((3, 3, 3), bool))
    assert whole.voxel_count == 27


def test_ten_thousand_specks() -> None:
    mask = np.zeros((60, 60, 40), bool)
    mask[::2, ::2, ::2] = True
    assert len(connected_components(mask)) == 30 * 30 * 20
    assert connected_components(mask, minimum_voxels=2) == ()


def test_indices_in_parts_are_the_indices(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((9, 6, 5), bool)
    mask[2:8, 1:4, 2:] = np.random.default_rng(0).random((6, 3, 3)) > 0.4
    (component,) = connected_components(mask)[:1]
    for voxels in (1, 20, 10**6):
        monkeypatch.setattr(components, "PART_VOXELS", voxels)
        parts = list(component.indices_in_parts())
        np.testing.assert_array_equal(np.concatenate(parts), component.indices())
    assert len(parts) == 1
