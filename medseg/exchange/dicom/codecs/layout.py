"""PixelLayout: how the integers of one frame are stored (PS3.3 C.7.6.3, PS3.5 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """Rows, columns and bits of a frame of one sample a pixel."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type of the allocated bits, in native byte order."""
        return np.dtype(f"{'i' if self.is_signed else 'u'}{self.bits_allocated // 8}")


def stored_values(words: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    """The stored integers of allocated words: what lies outside the stored bits is dropped and the sign is extended.

    Old scanners keep overlays and other things in the unused bits (PS3.5 8.1.1).
    """
    if layout.bits_stored == layout.bits_allocated:
        return words.view(layout.dtype)
    above = layout.bits_allocated - 1 - layout.high_bit
    below = layout.bits_allocated - layout.bits_stored
    return (words.view(layout.dtype) << above) >> below
