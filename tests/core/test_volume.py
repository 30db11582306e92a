import numpy as np
import pytest

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume

GRID = Geometry.from_spacing((2, 3, 4), (1.0, 2.0, 3.0))


def test_refuses_an_array_of_another_shape() -> None:
    with pytest.raises(GeometryError, match=r"\(4, 3, 2\) does not fit a grid of shape \(2, 3, 4\)"):
        Volume(np.zeros((4, 3, 2)), GRID)


@pytest.mark.parametrize("dtype", ["U3", "datetime64[s]", object])
def test_refuses_voxels_that_are_no_numbers(dtype: object) -> None:
    with pytest.raises(GeometryError, match="one number a voxel"):
        Volume(np.empty((2, 3, 4), dtype=dtype), GRID)  # type: ignore[call-overload]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.float32, np.float64])
def test_takes_numbers_of_any_kind(dtype: type[np.generic]) -> None:
    assert Volume(np.zeros((2, 3, 4), dtype=dtype), GRID).array.dtype == dtype


def test_its_array_cannot_be_written_and_the_source_can() -> None:
    source = np.zeros((2, 3, 4))
    volume = Volume(source, GRID)
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0, 0, 0] = 1.0
    source[0, 0, 0] = 1.0


def test_turning_keeps_every_value_in_its_place() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    turned = Volume(array, GRID, "HU").reoriented("SAL")
    assert turned.unit == "HU"
    assert turned.array.shape == (4, 3, 2)
    assert turned.geometry.axis_codes == "SAL"
    # voxel (i=1, j=2, k=3) is now at (k=3, j=2, reversed i=0)
    assert turned.array[3, 2, 0] == array[1, 2, 3]
    np.testing.assert_allclose(turned.geometry.world((3, 2, 0)), GRID.world((1, 2, 3)))


def test_turning_copies_nothing() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    assert np.shares_memory(Volume(array, GRID).reoriented("LPI").array, array)
