"""What is done to a model's class probabilities before they become a mask. The union is the one list of ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from medseg.core.errors import InputError
from medseg.core.geometry import Spacing
from medseg.imaging.crf.dense import DenseCRF
from medseg.imaging.crf.grid import CPU, GridCRF
from medseg.imaging.regions.islands import FillHoles, KeepLargest, RemoveSmall

RefinementConfig = Annotated[GridCRF | DenseCRF | KeepLargest | RemoveSmall | FillHoles, Field(discriminator="kind")]

SUM_TOLERANCE = 1e-2
"""How far probabilities may sum from 1: windows blended in half precision are off by a few thousandths."""


def refine(
    probabilities: NDArray[np.float32],
    image: NDArray[np.float32],
    spacing_mm: Spacing,
    steps: Sequence[RefinementConfig],
    device: torch.device = CPU,
) -> NDArray[np.float32]:
    """The probabilities (class, i, j, k) float32 after every step in turn; without steps, those given.

    `image` (channel, i, j, k) is what the model saw, on the same grid. Raises InputError where the two do not fit each
    other or are no probabilities, or a step names a class that there is none of.
    """
    if not steps:
        return probabilities
    _check(probabilities, image)
    for step in steps:
        highest = highest_class(step)
        if highest >= len(probabilities):
            raise InputError(
                f"the refinement {step.kind} names class {highest}, the model has classes 0 to "
                f"{len(probabilities) - 1}. Name one of those."
            )
        probabilities = step.apply(probabilities, image, spacing_mm, device)
    return probabilities


def highest_class(step: RefinementConfig) -> int:
    """The highest class number that a step names; 0 where it names none."""
    if isinstance(step, KeepLargest | RemoveSmall | FillHoles):
        return max(step.classes, default=0)
    return 0


def _check(probabilities: NDArray[np.float32], image: NDArray[np.float32]) -> None:
    if probabilities.ndim != 4 or image.ndim != 4 or probabilities.shape[1:] != image.shape[1:]:
        raise InputError(
            f"probabilities (class, i, j, k) and image (channel, i, j, k) lie on one grid; got shapes "
            f"{probabilities.shape} and {image.shape}"
        )
    if not np.isfinite(image).all():
        raise InputError("the image holds values that are not finite numbers. Mend them before it is segmented.")
    worst = float(np.abs(probabilities.sum(axis=0) - 1).max(initial=0.0))
    if not worst <= SUM_TOLERANCE or float(probabilities.min(initial=0.0)) < 0:
        raise InputError(
            f"class probabilities are 0 or more and sum to 1 at each voxel; here they are up to {worst:.3g} off. "
            "Apply a softmax first."
        )
