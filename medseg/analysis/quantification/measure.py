"""From a mask to findings: each organ, each lesion, with where it is and how large."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.analysis.quantification import concepts
from medseg.analysis.quantification.diameters import axial_diameters, maximum_diameter_mm
from medseg.core.errors import InputError
from medseg.core.findings import Finding, Measurement
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Label
from medseg.core.task import Task
from medseg.core.volume import Volume
from medseg.imaging.components import Box, Component, connected_components


def measure_findings(label_map: LabelMap, task: Task, volume: Volume | None = None) -> tuple[Finding, ...]:
    """The findings of a mask, in order of the task's labels, with the measurements that the task asks for.

    An organ or a vessel is one finding, in however many pieces; of a counted label (lesion, blockage) each connected
    piece of at least `task.min_finding_ml` is one, largest first. A label that is not in the mask gives none, and so
    does an empty mask. Diameters are measured of counted labels only. Intensity needs the volume, and is left out
    without one.
    Raises InputError where the mask's labels are not the task's, GeometryError where mask and volume are on different
    grids.
    """
    if label_map.schema != task.label_schema:
        raise InputError(
            f"the mask's labels {[label.name for label in label_map.schema.labels]} are not those of task {task.name}, "
            f"{[label.name for label in task.labels]}. Read the mask with the task's schema."
        )
    if volume is not None:
        label_map.geometry.require_same(volume.geometry, "the mask and the image")
    boxes = ndimage.find_objects(label_map.array)
    return tuple(
        _finding(label, number, component, label_map.geometry, task, volume)
        for label in task.labels
        if label.index <= len(boxes) and boxes[label.index - 1] is not None
        for number, component in enumerate(_instances(label_map, label, boxes[label.index - 1], task), start=1)
    )


def _instances(label_map: LabelMap, label: Label, box: Box, task: Task) -> Iterator[Component]:
    """The pieces of one label that are findings of their own."""
    mask = np.asarray(label_map.array[box] == label.index)
    if not label.is_counted:
        yield Component(mask, box, int(np.count_nonzero(mask)))
        return
    # The small allowance keeps a lesion of exactly the smallest volume, which the division may put a hair above.
    minimum_voxels = max(1, math.ceil(task.min_finding_ml / label_map.geometry.voxel_volume_ml - 1e-6))
    for piece in connected_components(mask, minimum_voxels=minimum_voxels):
        i, j, k = (slice(a.start + b.start, a.stop + b.start) for a, b in zip(piece.box, box, strict=True))
        yield Component(piece.mask, (i, j, k), piece.voxel_count)


def _finding(
    label: Label, number: int, component: Component, geometry: Geometry, task: Task, volume: Volume | None
) -> Finding:
    indices = component.indices()
    middle = indices.mean(axis=0)
    x, y, z = geometry.world(middle).tolist()
    # The middle of a bent structure may lie outside it; the jump goes to its nearest voxel.
    offsets_mm = (indices - middle) @ geometry.affine[:3, :3].T
    i, j, k = indices[int(np.argmin((offsets_mm**2).sum(axis=1)))].tolist()
    measurements: list[Measurement] = []
    if "volume" in task.measurements:
        measurements.append(_volume(component, geometry))
    if "diameters" in task.measurements and label.is_counted:
        measurements.extend(_diameters(component, geometry))
    if "intensity" in task.measurements and volume is not None:
        measurements.extend(_intensity(volume.array[component.box][component.mask], concepts.UCUM_OF_UNIT[volume.unit]))
    return Finding(
        label=label, instance=number, centroid_mm=(x, y, z), index=(i, j, k), measurements=tuple(measurements)
    )


def _volume(component: Component, geometry: Geometry) -> Measurement:
    volume_ml = component.voxel_count * geometry.voxel_volume_ml
    return Measurement(name="volume", value=volume_ml, unit=concepts.MILLILITRE, code=concepts.VOLUME)


def _diameters(component: Component, geometry: Geometry) -> Iterator[Measurement]:
    axial = axial_diameters(component, geometry)
    for name, value, code in (
        ("longest_axial_diameter", axial.longest_mm, concepts.LONG_AXIS),
        ("perpendicular_axial_diameter", axial.perpendicular_mm, concepts.SHORT_AXIS),
        ("maximum_3d_diameter", maximum_diameter_mm(component, geometry), concepts.DIAMETER),
    ):
        yield Measurement(name=name, value=value, unit=concepts.MILLIMETRE, code=code)


def _intensity(values: NDArray[np.generic], unit: str) -> Iterator[Measurement]:
    """Mean, standard deviation (of the voxels, not of their mean) and maximum; voxels without a value are left out."""
    numbers = values.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size == 0:
        return
    for name, value, code in (
        ("mean_intensity", numbers.mean(), concepts.MEAN),
        ("intensity_standard_deviation", numbers.std(), concepts.STANDARD_DEVIATION),
        ("maximum_intensity", numbers.max(), concepts.MAXIMUM),
    ):
        yield Measurement(name=name, value=float(value), unit=unit, code=code)
