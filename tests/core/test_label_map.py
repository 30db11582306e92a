from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label, LabelSchema

GRID = Geometry.from_spacing((2, 3, 4), (1.0, 2.0, 3.0))
CODE = Code(value="10200004", scheme="SCT", meaning="Liver")
SCHEMA = LabelSchema(
    labels=tuple(
        Label(index=index, name=f"label {index}", code=CODE, category=CODE, colour=(0, 0, 0)) for index in (1, 7, 300)
    )
)


def mask(value: float = 0, dtype: Any = np.uint16) -> NDArray[Any]:
    array = np.zeros((2, 3, 4), dtype=dtype)
    array[1, 2, 3] = value
    return array


@pytest.mark.parametrize("value", [0, 1, 7, 300])
def test_takes_every_value_of_the_schema(value: int) -> None:
    assert LabelMap(mask(value), GRID, SCHEMA).mask(value)[1, 2, 3]


@pytest.mark.parametrize("value", [2, 8, 299, 301, 65535])
def test_refuses_a_value_that_the_schema_does_not_name(value: int) -> None:
    with pytest.raises(InputError, match=rf"holds label {value}, .*names labels 1, 7, 300.*Add the label"):
        LabelMap(mask(value), GRID, SCHEMA)


def test_names_the_first_of_many_strange_values() -> None:
    array = np.arange(100, 124, dtype=np.uint8).reshape(2, 3, 4)
    with pytest.raises(InputError, match=r"labels 100, 101, 102, 103, 104, 105, 106, 107 \.\.\."):
        LabelMap(array, GRID, SCHEMA)


def test_refuses_another_shape() -> None:
    with pytest.raises(GeometryError, match="does not fit"):
        LabelMap(np.zeros((4, 3, 2), dtype=np.uint8), GRID, SCHEMA)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.bool_])
def test_refuses_voxels_of_another_type(dtype: type[np.generic]) -> None:
    with pytest.raises(InputError, match="uint8 or uint16"):
        LabelMap(mask(dtype=dtype), GRID, SCHEMA)


def test_its_array_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        LabelMap(mask(), GRID, SCHEMA).array[0, 0, 0] = 1


class TestFromNumbers:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64, np.float32, np.float64, np.bool_])
    def test_keeps_whole_numbers_of_any_type(self, dtype: type[np.generic]) -> None:
        label_map = LabelMap.from_numbers(mask(1, dtype), GRID, SCHEMA)
        assert label_map.array[1, 2, 3] == 1
        assert label_map.array.sum() == 1

    def test_takes_two_bytes_only_where_needed(self) -> None:
        assert LabelMap.from_numbers(mask(7, np.int32), GRID, SCHEMA).array.dtype == np.uint8
        assert LabelMap.from_numbers(mask(300, np.int32), GRID, SCHEMA).array.dtype == np.uint16

    @pytest.mark.parametrize("value", [0.5, 1.0000001, 6.9])
    def test_refuses_fractions(self, value: float) -> None:
        with pytest.raises(InputError, match="fractions such as"):
            LabelMap.from_numbers(mask(value, np.float64), GRID, SCHEMA)

    @pytest.mark.parametrize("value", [-1, 65536, 1e9])
    def test_refuses_numbers_out_of_range_instead_of_wrapping_them(self, value: float) -> None:
        with pytest.raises(InputError, match="between 0 and 65535"):
            LabelMap.from_numbers(mask(value, np.float64), GRID, SCHEMA)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_refuses_values_that_are_not_finite(self, value: float) -> None:
        with pytest.raises(InputError, match="not finite"):
            LabelMap.from_numbers(mask(value, np.float32), GRID, SCHEMA)


def test_turning_keeps_every_label_in_its_place() -> None:
    turned = LabelMap(mask(7), GRID, SCHEMA).reoriented("LPS")
    (where,) = np.argwhere(turned.array == 7)
    np.testing.assert_allclose(turned.geometry.world(where), GRID.world((1, 2, 3)))


def test_an_axis_order_in_memory_changes_nothing() -> None:
    array = np.asfortranarray(mask(300))
    assert LabelMap(array, GRID, SCHEMA).mask(300).sum() == 1


def test_voxels_that_nobody_judged_are_no_label() -> None:
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[0, 0, :2] = (1, 9)
    label_map = LabelMap(array, GRID, LabelSchema(labels=SCHEMA.labels, ignored=9))
    assert label_map.known.sum() == 23
    assert not label_map.known[0, 0, 1]
    assert label_map.reoriented("LPS").known.sum() == 23
    assert LabelMap(array % 9, GRID, SCHEMA).known.all()
    with pytest.raises(InputError, match="holds label 9"):
        LabelMap(array, GRID, SCHEMA)
