"""Registration of made scans that were moved by a known amount."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.imaging.registration import align

SHAPE = (64, 56, 32)
SPACING_MM = (2.0, 2.0, 3.0)
MARKER = (12.0, -9.0, 10.0)


def body(points_mm: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The made body and a marked ball in it, at any points (..., 3) in mm: truth by formula wherever it is sampled."""
    image = np.where(((points_mm / (50, 40, 40)) ** 2).sum(-1) <= 1, 40.0, -1000.0)
    generator = np.random.default_rng(7)
    for _ in range(14):
        middle, radius_mm = generator.uniform(-25, 25, 3), generator.uniform(5, 12)
        image[((points_mm - middle) ** 2).sum(-1) <= radius_mm**2] = generator.uniform(-150, 300)
    marker = ((points_mm - MARKER) ** 2).sum(-1) <= 8.0**2
    image[marker] = 200.0
    return ndimage.gaussian_filter(image, 0.7).astype(np.float32), marker.astype(np.uint8)


def centred(shape: tuple[int, int, int] = SHAPE, spacing_mm: tuple[float, float, float] = SPACING_MM) -> Geometry:
    half = [-(n - 1) / 2 * step for n, step in zip(shape, spacing_mm, strict=True)]
    return Geometry.from_spacing(shape, spacing_mm, (half[0], half[1], half[2]))


def points(geometry: Geometry) -> NDArray[np.float64]:
    return geometry.world(np.moveaxis(np.indices(geometry.shape), 0, -1))


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


@pytest.fixture(scope="module")
def current() -> tuple[Volume, NDArray[np.uint8]]:
    geometry = centred()
    image, marker = body(points(geometry))
    return Volume(image, geometry, "HU"), marker


def test_a_turned_and_shifted_prior_on_another_grid_is_laid_back(current: tuple[Volume, NDArray[np.uint8]]) -> None:
    # The prior has other voxels, an oblique and flipped grid, and the patient lies 9 mm off and turned by 7 degrees.
    turn = Rotation.from_euler("xyz", (3, -2, 6), degrees=True).as_matrix()
    grid = centred((70, 60, 50), (2.0, 2.2, 2.4))
    affine = np.diag((-1.0, 1.0, 1.0, 1.0)) @ grid.affine
    geometry = Geometry(grid.shape, affine)
    image, marker = body((points(geometry) - (7.0, -5.0, 3.0)) @ turn)
    alignment = align(current[0], Volume(image, geometry, "HU"), is_deformable=False)
    moved = alignment.on_current(marker) > 0
    centre_mm = points(centred())[moved].mean(axis=0)
    assert math.dist(centre_mm, points(centred())[current[1] > 0].mean(axis=0)) < 1.0
    assert dice(moved, current[1] > 0) > 0.88
    assert 5 < alignment.moved_mm < 15


def test_breathing_is_followed_by_the_deformation_only(current: tuple[Volume, NDArray[np.uint8]]) -> None:
    where = points(centred())
    # 6 mm towards the feet in the middle, fading over 30 mm.
    breath_mm = 6.0 * np.exp(-((where - MARKER) ** 2).sum(-1) / (2 * 30.0**2))
    image, marker = body(where + np.stack((0 * breath_mm, 0 * breath_mm, breath_mm), axis=-1))
    prior = Volume(image, centred(), "HU")
    true = where[current[1] > 0].mean(axis=0)
    rigid = where[align(current[0], prior, is_deformable=False).on_current(marker) > 0].mean(axis=0)
    both = where[align(current[0], prior).on_current(marker) > 0].mean(axis=0)
    assert math.dist(both, true) < 1.0
    assert math.dist(both, true) < math.dist(rigid, true)


def test_the_same_images_give_the_same_movement(current: tuple[Volume, NDArray[np.uint8]]) -> None:
    image, marker = body(points(centred()) - (4.0, 2.0, -3.0))
    first, second = (align(current[0], Volume(image, centred(), "HU"), is_deformable=False) for _ in range(2))
    assert np.array_equal(first.on_current(marker), second.on_current(marker))
    assert first.moved_mm == second.moved_mm


def test_labels_of_another_grid_and_sheared_scans_are_refused(current: tuple[Volume, NDArray[np.uint8]]) -> None:
    alignment = align(current[0], current[0], is_deformable=False)
    assert alignment.moved_mm < 0.2
    with pytest.raises(GeometryError, match="not on the prior's grid"):
        alignment.on_current(np.zeros((2, 2, 2), np.uint8))
    affine = np.eye(4)
    affine[:3, 2] = (0, 0.5, 1)
    with pytest.raises(GeometryError, match="prior scan's axes are not at right angles"):
        align(current[0], Volume(np.zeros((8, 8, 8)), Geometry((8, 8, 8), affine)))
