"""Small data sets on disk whose every voxel is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from medseg.core.geometry import Geometry, Spacing
from medseg.core.volume import Volume
from medseg.exchange.write import write_volume

WriteImage = Callable[..., Path]

TASK = """
name = "two_labels"
title = "Two labels on CT"

[[channels]]
name = "CT"
modality = "CT"

[[labels]]
index = 1
name = "liver"
colour = [1, 2, 3]
code = { value = "10200004", scheme = "SCT", meaning = "Liver" }
category = { value = "91723000", scheme = "SCT", meaning = "Anatomical Structure" }

[[labels]]
index = 2
name = "tumour"
kind = "lesion"
colour = [4, 5, 6]
code = { value = "108369006", scheme = "SCT", meaning = "Neoplasm" }
category = { value = "49755003", scheme = "SCT", meaning = "Morphologically Abnormal Structure" }
"""


def _write(
    path: Path, array: ArrayLike | None = None, spacing_mm: Spacing = (1.0, 2.0, 2.5), shift_mm: float = 0.0
) -> Path:
    """Write an image; without voxels, each file gets other ones, made from its name."""
    voxels: NDArray[Any] = (
        np.random.default_rng(list(path.name.encode())).normal(size=(4, 5, 6)).astype(np.float32)
        if array is None
        else np.asarray(array)
    )
    i, j, k = voxels.shape
    geometry = Geometry.from_spacing((i, j, k), spacing_mm, (shift_mm, 0.0, 0.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(voxels, geometry), path)
    return path


@pytest.fixture
def write_image() -> WriteImage:
    return _write


def mask_of(*values: int) -> NDArray[np.uint8]:
    """A mask of 4 x 5 x 6 voxels that holds each value once, background elsewhere."""
    array = np.zeros((4, 5, 6), dtype=np.uint8)
    array.reshape(-1)[: len(values)] = values
    return array


@pytest.fixture
def write_mask() -> WriteImage:
    def write(path: Path, *values: int, **where: Any) -> Path:
        return _write(path, mask_of(*values), **where)

    return write


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    path = tmp_path / "task.toml"
    path.write_text(TASK, encoding="utf-8")
    return path
