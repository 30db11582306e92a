"""Uncertainty is highest where a probability is one half, whichever map says so."""

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.exchange.write import write_volume
from medseg.workflows.results.open_uncertainty import uncertainty

GRID = Geometry.from_spacing((3, 1, 1), (1, 1, 1))


def written(path: Path, values: list[float], dtype: type = np.float32) -> Path:
    write_volume(Volume(np.array(values, dtype).reshape(3, 1, 1), GRID), path)
    return path


def test_one_half_is_least_certain(tmp_path: Path) -> None:
    first = written(tmp_path / "a.nii.gz", [0.0, 0.5, 1.0])
    second = written(tmp_path / "b.nii.gz", [0.25, 0.0, 1.0])
    assert uncertainty([first], GRID).ravel().tolist() == [0, 255, 0]
    assert uncertainty([first, second], GRID).ravel().tolist() == [128, 255, 0]


def test_steps_of_255_are_shares(tmp_path: Path) -> None:
    assert uncertainty([written(tmp_path / "a.nii.gz", [0, 51, 255], np.uint8)], GRID).ravel().tolist() == [0, 102, 0]


def test_nothing_and_another_grid_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no map"):
        uncertainty([], GRID)
    with pytest.raises(GeometryError, match=r"a\.nii\.gz"):
        uncertainty([written(tmp_path / "a.nii.gz", [0, 0, 0])], Geometry.from_spacing((3, 1, 2), (1, 1, 1)))
