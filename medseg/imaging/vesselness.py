"""How much a place looks like a bright tube, at several widths: multi-scale vesselness after Frangi and Sato (itk)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medseg.core.volume import Volume

SIGMAS_MM = (0.8, 2.4)
SCALES = 3
"""The narrowest and widest tubes looked for are about as wide as these standard deviations, in even ratios."""

BLOB, PLATE = 0.5, 0.5
"""How strongly shapes that are blobs or plates count against a tube (alpha and beta of Frangi 1998)."""

CONTRAST_SHARE = 0.15
"""Second derivatives below this share of the contrast are noise."""

SLAB, OVERLAP_SIGMAS = 96, 4.0
"""Slices along the last axis that are worked on at a time: the filter holds six double numbers a voxel."""


def vesselness(volume: Volume, contrast: float) -> NDArray[np.float32]:
    """The vesselness (i, j, k), 0 to 1, of tubes that stand out from their surroundings by about `contrast`.

    The measure is that of Antiga 2007 for lines, which holds Frangi's and Sato's as cases.
    """
    array = np.asarray(volume.array, dtype=np.float32)
    spacing = volume.geometry.spacing_mm
    margin = int(np.ceil(OVERLAP_SIGMAS * SIGMAS_MM[1] / spacing[2]))
    found = np.empty(array.shape, dtype=np.float32)
    for start in range(0, array.shape[2], SLAB):
        stop = min(start + SLAB, array.shape[2])
        low, high = max(0, start - margin), min(array.shape[2], stop + margin)
        slab = _of_slab(array[:, :, low:high], spacing, CONTRAST_SHARE * contrast)
        found[:, :, start:stop] = slab[:, :, start - low : stop - low]
    return found


def _of_slab(array: NDArray[np.float32], spacing_mm: tuple[float, float, float], noise: float) -> NDArray[np.float32]:
    import itk  # loads for seconds; nobody else should wait for it

    image = itk.image_from_array(np.ascontiguousarray(array.T))
    image.SetSpacing([float(step) for step in spacing_mm])
    hessian = itk.Image[itk.SymmetricSecondRankTensor[itk.D, 3], 3]
    measured = itk.Image[itk.F, 3]
    tube = itk.HessianToObjectnessMeasureImageFilter[hessian, measured].New()
    tube.SetBrightObject(True)
    tube.SetObjectDimension(1)
    tube.SetScaleObjectnessMeasure(False)
    tube.SetAlpha(PLATE)
    tube.SetBeta(BLOB)
    tube.SetGamma(noise)
    scales = itk.MultiScaleHessianBasedMeasureImageFilter[type(image), hessian, measured].New()
    scales.SetInput(image)
    scales.SetHessianToMeasureFilter(tube)
    scales.SetSigmaMinimum(SIGMAS_MM[0])
    scales.SetSigmaMaximum(SIGMAS_MM[1])
    scales.SetNumberOfSigmaSteps(SCALES)
    scales.SetSigmaStepMethodToLogarithmic()
    scales.Update()
    return np.asarray(itk.array_from_image(scales.GetOutput()).T, dtype=np.float32)
