"""Surface distances against figures worked out by hand, surface-distance 0.1, and MONAI."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_surface_dice
from numpy.typing import NDArray

from medseg.analysis.evaluation.surface import element_areas_mm2, surface_distances
from medseg.core.geometry import Geometry, Spacing

Mask = NDArray[np.bool_]


def voxel(shape: tuple[int, int, int], *index: tuple[int, int, int]) -> Mask:
    mask = np.zeros(shape, bool)
    for i, j, k in index:
        mask[i, j, k] = True
    return mask


def ellipsoid(shape: tuple[int, int, int], centre: tuple[int, ...], radii: tuple[int, ...]) -> Mask:
    grid = np.indices(shape)
    return np.asarray(sum(((grid[a] - centre[a]) / radii[a]) ** 2 for a in range(3)) <= 1)


def test_two_single_voxels_two_steps_apart() -> None:
    # A voxel has eight equal surface elements, one a corner. Of two voxels two steps apart along i, four corners each
    # lie one step (1.5 mm) from the other's nearest corner and four lie two steps (3 mm).
    geometry = Geometry.from_spacing((6, 3, 3), (1.5, 4.0, 7.0))
    distances = surface_distances(voxel((6, 3, 3), (1, 1, 1)), voxel((6, 3, 3), (3, 1, 1)), geometry)
    assert sorted(distances.from_prediction_mm) == pytest.approx([1.5] * 4 + [3.0] * 4)
    assert np.ptp(distances.prediction_areas_mm2) == pytest.approx(0)
    assert distances.mean_mm() == pytest.approx(2.25)
    assert distances.hausdorff_mm(95) == pytest.approx(3.0)
    assert distances.hausdorff_mm(50) == pytest.approx(1.5)
    assert distances.surface_dice(1.5) == pytest.approx(0.5)
    assert distances.surface_dice(1.49) == 0
    assert distances.surface_dice(3.0) == 1


def test_a_thick_slice_too_many_counts_its_own_thickness() -> None:
    geometry = Geometry.from_spacing((8, 8, 8), (1.0, 1.0, 5.0))
    reference, prediction = np.zeros((8, 8, 8), bool), np.zeros((8, 8, 8), bool)
    reference[2:6, 2:6, 2:5] = True
    prediction[2:6, 2:6, 2:6] = True
    distances = surface_distances(prediction, reference, geometry)
    assert distances.hausdorff_mm(100) == pytest.approx(5.0)
    assert surface_distances(reference, reference, geometry).hausdorff_mm(100) == 0


def test_the_worse_direction_makes_the_hausdorff_distance() -> None:
    # The prediction holds the reference and one voxel far off: only the way from the prediction sees it.
    shape = (12, 3, 3)
    geometry = Geometry.from_spacing(shape, (1.0, 1.0, 1.0))
    prediction, reference = voxel(shape, (1, 1, 1), (9, 1, 1)), voxel(shape, (1, 1, 1))
    assert surface_distances(prediction, reference, geometry).hausdorff_mm(100) == pytest.approx(8.0)
    assert surface_distances(reference, prediction, geometry).hausdorff_mm(100) == pytest.approx(8.0)


def test_areas_of_flat_and_single_voxel_cells() -> None:
    areas = element_areas_mm2(np.diag((2.0, 3.0, 5.0)))
    full_half = sum(1 << bit for bit in range(8) if bit & 1)  # the four voxels behind along k
    assert areas[full_half] == pytest.approx(6.0)  # 2 x 3 mm
    # One voxel in: the triangle through the middles of the edges that leave it, at (1, 0, 0), (0, 1.5, 0), (0, 0, 2.5).
    assert areas[1] == pytest.approx(0.5 * np.linalg.norm(np.cross((-1, 1.5, 0), (-1, 0, 2.5))))
    assert areas[0] == areas[255] == 0
    assert areas[1:255].min() > 0


def test_a_cell_and_its_complement_share_one_surface() -> None:
    areas = element_areas_mm2(np.diag((1.0, 2.0, 3.0)))
    assert areas == pytest.approx(areas[::-1])


def test_a_sheared_grid_is_measured_through_its_affine() -> None:
    # Slices 1 mm apart that slip 1 mm along j each (gantry tilt of 45 degrees): one step along k is sqrt(2) mm long,
    # but back along j lies a corner at 1 mm. By hand, for two voxels one above the other with a slice between them:
    affine = np.eye(4)
    affine[:3, 2] = (0, 1, 1)
    geometry = Geometry((3, 3, 6), affine)
    distances = surface_distances(voxel((3, 3, 6), (1, 1, 1)), voxel((3, 3, 6), (1, 1, 3)), geometry)
    expected = [1.0, 1.0, math.sqrt(2), math.sqrt(2), math.sqrt(5), math.sqrt(5), math.sqrt(8), math.sqrt(8)]
    assert sorted(distances.from_prediction_mm) == pytest.approx(expected)
    # The flat of a slice keeps its area, the flat across j and k is one by one millimetre too, that across i and k
    # is as long as the slanted step.
    areas = element_areas_mm2(affine[:3, :3])
    behind = {axis: sum(1 << bit for bit in range(8) if bit >> (2 - axis) & 1) for axis in range(3)}
    assert areas[behind[2]] == pytest.approx(1.0)
    assert areas[behind[0]] == pytest.approx(1.0)
    assert areas[behind[1]] == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(
    ("spacing_mm", "nsd", "hd95_mm", "assd_mm"),
    [
        ((1.0, 1.0, 1.0), 0.9166903664116465, 1.4142135623730951, 0.656259337994826),
        ((0.7, 0.9, 5.0), 0.7642489171190084, 3.0413812651491097, 0.7300590621330594),
    ],
)
def test_figures_of_the_surface_distance_package(
    spacing_mm: Spacing, nsd: float, hd95_mm: float, assd_mm: float
) -> None:
    # Computed by google-deepmind/surface-distance 0.1 on the same two masks.
    shape = (24, 22, 12)
    prediction, reference = ellipsoid(shape, (12, 11, 6), (9, 7, 4)), ellipsoid(shape, (11, 11, 5), (8, 8, 4))
    distances = surface_distances(prediction, reference, Geometry.from_spacing(shape, spacing_mm))
    assert distances.surface_dice(1.0) == pytest.approx(nsd, abs=1e-9)
    assert distances.hausdorff_mm(95) == pytest.approx(hd95_mm, abs=1e-9)
    assert distances.mean_mm() == pytest.approx(assd_mm, abs=1e-9)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI uses its own deprecated option
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spacing_mm=st.tuples(*[st.sampled_from((0.7, 1.0, 2.3, 5.0))] * 3))
def test_surface_dice_is_monais_with_elements(seed: int, spacing_mm: Spacing) -> None:
    generator = np.random.default_rng(seed)
    prediction, reference = (generator.random((9, 8, 7)) < generator.uniform(0.1, 0.9) for _ in range(2))
    # Distances are multiples of the spacing; a tolerance between them keeps MONAI's single precision out of it.
    ours = surface_distances(prediction, reference, Geometry.from_spacing((9, 8, 7), spacing_mm)).surface_dice(1.1)
    masks = (torch.from_numpy(mask)[None, None] for mask in (prediction, reference))
    theirs = compute_surface_dice(*masks, [1.1], include_background=True, spacing=spacing_mm, use_subvoxels=True)
    assert ours == pytest.approx(float(theirs), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_swapping_the_masks_changes_nothing_and_turning_the_grid_neither(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = (generator.random((6, 7, 8)) < 0.3 for _ in range(2))
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    straight = Geometry.from_spacing((6, 7, 8), (0.8, 1.1, 3.0))
    affine = np.eye(4)
    affine[:3, :3] = turn @ straight.affine[:3, :3]
    oblique = Geometry((6, 7, 8), affine)
    one = surface_distances(first, second, straight)
    for other in (surface_distances(second, first, straight), surface_distances(first, second, oblique)):
        assert other.mean_mm() == pytest.approx(one.mean_mm())
        assert other.hausdorff_mm() == pytest.approx(one.hausdorff_mm())
        assert other.surface_dice(1.0) == pytest.approx(one.surface_dice(1.0))


def test_a_mask_against_itself_is_perfect() -> None:
    mask = np.random.default_rng(0).random((8, 8, 8)) < 0.5
    distances = surface_distances(mask, mask, Geometry.from_spacing((8, 8, 8), (1.0, 2.0, 3.0)))
    assert (distances.surface_dice(0.0), distances.hausdorff_mm(), distances.mean_mm()) == (1.0, 0.0, 0.0)


def test_empty_masks_have_stated_results() -> None:
    geometry = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))
    nothing, something = np.zeros((4, 4, 4), bool), voxel((4, 4, 4), (1, 1, 1))
    neither = surface_distances(nothing, nothing, geometry)
    assert all(math.isnan(value) for value in (neither.surface_dice(1.0), neither.hausdorff_mm(), neither.mean_mm()))
    for one in (surface_distances(nothing, something, geometry), surface_distances(something, nothing, geometry)):
        assert (one.surface_dice(1000.0), one.hausdorff_mm(), one.mean_mm()) == (0.0, math.inf, math.inf)


def test_a_mask_that_fills_the_grid_has_its_border_as_surface() -> None:
    full = np.ones((3, 3, 3), bool)
    distances = surface_distances(full, full, Geometry.from_spacing((3, 3, 3), (1.0, 1.0, 1.0)))
    assert distances.prediction_areas_mm2.size == 4**3 - 2**3
