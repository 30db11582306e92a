"""Masks over pictures: grey and labels become RGB, with opacity, outline, and labels that may be hidden.

Whole-number arithmetic throughout, so that the browser, which does the same, comes to the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.labels import LabelSchema


@dataclass(frozen=True, slots=True)
class OverlayStyle:
    """How a mask lies over a picture: opacity from 0 to 1, an outline in full colour or none, labels not shown."""

    opacity: float = 0.35
    has_outline: bool = True
    hidden: frozenset[int] = frozenset()


def overlay(
    grey: NDArray[np.uint8], labels: NDArray[np.unsignedinteger[Any]], schema: LabelSchema, style: OverlayStyle
) -> NDArray[np.uint8]:
    """RGB (rows, columns, 3) of a grey picture with its labels drawn over it.

    Inside a label a pixel is grey * (1 - opacity) + colour * opacity; on its outline, the colour. Labels that the
    schema does not name stay invisible. Raises InputError when the two pictures differ in size or the opacity is not
    between 0 and 1.
    """
    if grey.shape != labels.shape or grey.ndim != 2:
        raise InputError(f"a picture of {grey.shape} and labels of {labels.shape} pixels do not lie over each other")
    if not 0.0 <= style.opacity <= 1.0:
        raise InputError(f"an opacity lies between 0 and 1, got {style.opacity:g}")
    shown = [label for label in schema.labels if label.index not in style.hidden]
    visible = np.where(np.isin(labels, [label.index for label in shown]), labels, 0)
    colours = np.zeros((max(schema.indices) + 1, 3), dtype=np.int32)
    for label in shown:
        colours[label.index] = label.colour
    share = np.where(visible > 0, int(style.opacity * 255 + 0.5), 0)
    if style.has_outline:
        share = np.where(outline(visible), 255, share)
    share = share[..., np.newaxis]
    mixed = grey.astype(np.int32)[..., np.newaxis] * (255 - share) + colours[visible] * share
    return np.asarray((mixed + 127) // 255, dtype=np.uint8)


def outline(labels: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.bool_]:
    """Which pixels of a label touch, along a row or column, another label, background or the picture's edge."""
    framed = np.pad(labels, 1)
    same = np.ones(labels.shape, dtype=bool)
    for rows, columns in ((slice(0, -2), slice(1, -1)), (slice(2, None), slice(1, -1))):
        same &= framed[rows, columns] == labels
        same &= labels == framed.T[rows, columns].T
    return (labels > 0) & ~same
