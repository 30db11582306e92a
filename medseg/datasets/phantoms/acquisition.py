"""What a scanner does to a perfect image: blur by its point spread, and noise with a texture."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter

from medseg.core.geometry import Geometry


class Acquisition(BaseModel):
    """How a made scan is taken.

    The point spread is a Gaussian, given by its standard deviation; the noise is Gaussian, correlated over
    `noise_grain_mm` in the plane of a slice, as filtered back projection leaves it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    point_spread_mm: float = Field(default=0.8, ge=0)
    noise_sd_hu: float = Field(default=15.0, ge=0)
    noise_grain_mm: float = Field(default=1.2, ge=0)

    def blurred(self, image: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
        """The image (i, j, k) after the point spread; beyond the grid its edge goes on."""
        sigma = [self.point_spread_mm / spacing for spacing in geometry.spacing_mm]
        return np.asarray(gaussian_filter(image, sigma, mode="nearest", truncate=3.0), dtype=np.float32)

    def noise(self, geometry: Geometry, generator: Generator) -> NDArray[np.float32]:
        """Noise (i, j, k) in HU of the asked standard deviation."""
        white = generator.standard_normal(geometry.shape, dtype=np.float32)
        grain = [self.noise_grain_mm / spacing for spacing in geometry.spacing_mm[:2]]
        grainy = gaussian_filter(white, (*grain, 0.0), mode="wrap", truncate=3.0)
        spread = float(grainy.std())
        return np.asarray(grainy * (self.noise_sd_hu / spread if spread > 0 else 0.0), dtype=np.float32)
