"""Class probabilities mended by what is known of a structure's pieces: it is one, none are tiny, it has no holes.

Each step changes probabilities only where the winning class must change, so that steps can follow one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from medseg.core.geometry import Spacing
from medseg.imaging.regions.components import connected_components

_FACES = ndimage.generate_binary_structure(3, 1)

ClassNumber = Annotated[int, Field(ge=1)]


class KeepLargest(BaseModel):
    """Of each class only its largest piece is kept; the others go to the class that came second there."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["keep_largest"] = "keep_largest"

    classes: tuple[ClassNumber, ...] = ()
    """The classes it is done to, 1 for the task's first label; none named means all."""

    together: bool = False
    """Whether the classes are one structure (parts of one organ): pieces outside the largest are background."""

    def apply(
        self,
        probabilities: NDArray[np.float32],
        _image: NDArray[np.float32],
        _spacing_mm: Spacing,
        _device: torch.device | None = None,
    ) -> NDArray[np.float32]:
        """The probabilities (class, i, j, k); equal pieces are decided by which comes first in the array."""
        refined = probabilities.copy()
        for numbers, mask in _structures(probabilities, self.classes, self.together):
            others = mask.copy()
            for largest in connected_components(mask)[:1]:
                others[largest.box] &= ~largest.mask
            _take_from(refined, numbers, others)
        return refined


class RemoveSmall(BaseModel):
    """Pieces of a class smaller than a volume go to the class that came second there."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["remove_small"] = "remove_small"

    min_volume_ml: Annotated[float, Field(gt=0)]
    classes: tuple[ClassNumber, ...] = ()
    together: bool = False

    def apply(
        self,
        probabilities: NDArray[np.float32],
        _image: NDArray[np.float32],
        spacing_mm: Spacing,
        _device: torch.device | None = None,
    ) -> NDArray[np.float32]:
        """The probabilities (class, i, j, k); pieces of just that volume stay."""
        refined = probabilities.copy()
        voxel_ml = float(np.prod(spacing_mm)) / 1000
        for numbers, mask in _structures(probabilities, self.classes, self.together):
            small = mask.copy()
            for piece in connected_components(mask):
                if piece.voxel_count * voxel_ml < self.min_volume_ml * (1 - 1e-6):
                    break
                small[piece.box] &= ~piece.mask
            _take_from(refined, numbers, small)
        return refined


class FillHoles(BaseModel):
    """Background that a class encloses on all sides becomes that class."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["fill_holes"] = "fill_holes"

    classes: tuple[ClassNumber, ...] = ()
    together: bool = False
    """Whether the classes enclose as one structure; a hole's voxels then go to the likeliest of them."""

    def apply(
        self,
        probabilities: NDArray[np.float32],
        _image: NDArray[np.float32],
        _spacing_mm: Spacing,
        _device: torch.device | None = None,
    ) -> NDArray[np.float32]:
        """The probabilities (class, i, j, k). Background that touches the scan's border by a face path is no hole."""
        refined = probabilities.copy()
        background = probabilities.argmax(axis=0) == 0
        for numbers, mask in _structures(probabilities, self.classes, self.together):
            holes = np.asarray(ndimage.binary_fill_holes(mask, _FACES) & background)
            others = tuple(number for number in range(len(refined)) if number not in numbers)
            _take_from(refined, others, holes, heirs=numbers)
        return refined


def _structures(
    probabilities: NDArray[np.float32], classes: tuple[int, ...], together: bool
) -> Iterator[tuple[tuple[int, ...], NDArray[np.bool_]]]:
    """What counts as one structure: its classes, and where they win."""
    winner = probabilities.argmax(axis=0)
    numbers = classes or tuple(range(1, len(probabilities)))
    if together:
        yield numbers, np.isin(winner, numbers)
    else:
        for number in numbers:
            yield (number,), np.asarray(winner == number)


def _take_from(
    probabilities: NDArray[np.float32],
    numbers: tuple[int, ...],
    mask: NDArray[np.bool_],
    heirs: tuple[int, ...] = (0,),
) -> None:
    """Leave these classes nothing within the mask; the others' sum is 1 again, and where it was 0 the heirs share."""
    scores = probabilities[:, mask]
    scores[list(numbers)] = 0
    unclaimed = scores.sum(axis=0) <= 0
    for heir in heirs:
        scores[heir, unclaimed] = 1
    probabilities[:, mask] = scores / scores.sum(axis=0)
