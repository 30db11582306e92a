"""A prior scan laid onto a current one by elastix: rigid first, then deformable; its labels follow."""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume

REGISTRATION_SPACING_MM = 2.0
"""Scans are averaged to about this spacing before they are registered: an anatomy is found as well, in a fraction of
the time and memory. The result holds at full resolution, since it is a movement in mm."""

CONTROL_SPACING_MM = 16.0
"""Distance of the control points of the deformation, which follows breathing and posture. It also stretches a lesion
that has grown: labels are moved to tell which lesion is which, never to be measured."""

_ITERATIONS = "100"
"""Steps of each of the levels from coarse to fine; on made breathing of 6 mm, 250 steps gained 0.1 mm for three times
the time."""

_SEED = "121212"


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How the prior scan moves onto the current one.

    `moved_mm` is the mean length of the movement over the current scan's grid.
    """

    prior: Geometry
    current: Geometry
    moved_mm: float
    _transform: Any

    def on_current(self, labels: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.uint16]:
        """Labels of the prior scan (i, j, k), moved onto the current grid; 0 where the prior did not reach.

        Each voxel takes the nearest label. Raises GeometryError where the labels are not on the prior's grid.
        """
        import itk

        if labels.shape != self.prior.shape:
            raise GeometryError(f"labels of shape {labels.shape} are not on the prior's grid of {self.prior.shape}")
        image = _itk_image(labels.astype(np.float32), self.prior)
        moved = itk.transformix_filter(image, _onto(self._transform, self.current), log_to_console=False)
        return np.asarray(np.rint(np.asarray(itk.array_view_from_image(moved)).T), dtype=np.uint16)


def align(current: Volume, prior: Volume, *, is_deformable: bool = True, threads: int = 1) -> Alignment:
    """The movement that lays the prior scan onto the current one, found by mutual information.

    Rigid first, then deformable where asked for. Two scans of one frame of reference start where they lie, others with
    their centres of mass on each other. The same images give the same movement, whatever the threads.
    Raises InputError where the two show too little in common, GeometryError for a sheared grid, on which no rigid
    movement is defined.
    """
    import itk

    for volume, what in ((current, "current"), (prior, "prior")):
        if volume.geometry.is_sheared:
            raise GeometryError(f"the {what} scan's axes are not at right angles. Resample it onto a straight grid.")
    settings = itk.ParameterObject.New()
    for settings_of_stage in _stages(settings, current.geometry, prior.geometry, is_deformable):
        settings.AddParameterMap(settings_of_stage)
    images = [_itk_image(*_averaged(volume)) for volume in (current, prior)]
    try:
        _, transform = itk.elastix_registration_method(
            *images, parameter_object=settings, log_to_console=False, number_of_threads=threads
        )
    except RuntimeError as error:
        raise InputError(
            "the prior scan cannot be laid onto the current one: they show too little in common. "
            "Are both of one patient and one part of the body?"
        ) from error
    return Alignment(prior.geometry, current.geometry, _mean_movement_mm(transform, images[1]), transform)


def _stages(settings: Any, current: Geometry, prior: Geometry, is_deformable: bool) -> list[Any]:
    """The settings of each stage: elastix's own for the kind of movement, with what differs here."""
    frame = current.frame_of_reference
    rigid = settings.GetDefaultParameterMap("rigid", 4)
    rigid["AutomaticTransformInitialization"] = ["false" if frame and frame == prior.frame_of_reference else "true"]
    rigid["AutomaticTransformInitializationMethod"] = ["CenterOfGravity"]
    stages = [rigid]
    if is_deformable:
        stages.append(settings.GetDefaultParameterMap("bspline", 3, CONTROL_SPACING_MM))
    for stage in stages:
        stage["RandomSeed"] = [_SEED]
        stage["WriteResultImage"] = ["false"]
        stage["MaximumNumberOfIterations"] = [_ITERATIONS]
        # Scans of unlike reach share little at the start: a tenth of the samples is enough to go on from.
        stage["RequiredRatioOfValidSamples"] = ["0.1"]
        # Several threads in the metric crash the program on some small scans (elastix 5.2); one gives the same numbers.
        stage["UseMultiThreadingForMetrics"] = ["false"]
    return stages


def _onto(transform: Any, geometry: Geometry) -> Any:
    """The transform, set to give labels on a grid."""
    import itk

    copy = itk.ParameterObject.New()
    for number in range(transform.GetNumberOfParameterMaps()):
        stage = dict(transform.GetParameterMap(number))
        stage["Size"] = [str(n) for n in geometry.shape]
        stage["Index"] = ["0", "0", "0"]
        stage["Spacing"] = [repr(length) for length in geometry.spacing_mm]
        stage["Origin"] = [repr(float(x)) for x in geometry.origin_mm]
        # ITK writes a direction matrix column by column.
        stage["Direction"] = [repr(float(x)) for x in geometry.directions.T.ravel()]
        stage["ResampleInterpolator"] = ["FinalNearestNeighborInterpolator"]
        stage["DefaultPixelValue"] = ["0"]
        copy.AddParameterMap(stage)
    return copy


def _mean_movement_mm(transform: Any, prior: Any) -> float:
    import itk

    with TemporaryDirectory() as folder:  # transformix also writes the field to a file, by default where it is called
        field = itk.transformix_deformation_field(prior, transform, output_directory=folder)
    return float(np.linalg.norm(np.asarray(itk.array_view_from_image(field)), axis=-1).mean())


def _averaged(volume: Volume) -> tuple[NDArray[np.float32], Geometry]:
    """The scan averaged over blocks of voxels to about the registration's spacing, with its grid; nothing is invented.

    What is not finite becomes the lowest value. Blocks that the grid's end would cut are left out.
    """
    geometry = volume.geometry
    factors = [
        int(np.clip(round(REGISTRATION_SPACING_MM / length), 1, max(1, n // 16)))
        for length, n in zip(geometry.spacing_mm, geometry.shape, strict=True)
    ]
    shape = [n // factor for n, factor in zip(geometry.shape, factors, strict=True)]
    a, b, c = (slice(0, n * factor) for n, factor in zip(shape, factors, strict=True))
    values = volume.array[a, b, c].astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, values[finite].min() if finite.any() else 0).astype(np.float32)
    blocks = [size for n, factor in zip(shape, factors, strict=True) for size in (n, factor)]
    averaged = values.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)
    affine = geometry.affine.copy()
    affine[:3, :3] *= factors
    affine[:3, 3] = geometry.world((np.asarray(factors) - 1) / 2)
    return averaged, Geometry((shape[0], shape[1], shape[2]), affine)


def _itk_image(array: NDArray[np.float32], geometry: Geometry) -> Any:
    """An ITK image in the world of the grid: both scans are in RAS+, and ITK need not know."""
    import itk

    image = itk.image_from_array(np.ascontiguousarray(array.T))
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm.tolist())
    image.SetDirection(geometry.directions)
    return image
