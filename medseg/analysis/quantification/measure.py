"""From a mask to findings: each organ, each lesion, with where it is and how large."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medseg.analysis.quantification import concepts
from medseg.analysis.quantification.confidence import confidence_of
from medseg.analysis.quantification.diameters import axial_diameters, maximum_diameter_mm
from medseg.analysis.quantification.intensity import contrast_to_noise, intensity_of, peak_of
from medseg.analysis.quantification.lesions import Instance, each_instance
from medseg.analysis.quantification.location import SIDES, organ_of, side_of
from medseg.analysis.quantification.shape import shape_of
from medseg.core.errors import InputError
from medseg.core.findings import Finding, FindingFlag, Measurement
from medseg.core.geometry import Geometry, Shape
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code
from medseg.core.probability import Probabilities
from medseg.core.task import Task
from medseg.core.volume import Volume
from medseg.imaging.regions.components import Component

FEWEST_VOXELS_ACROSS = 3
"""A lesion that spans fewer voxels than this along an axis is too small for the spacing to be measured well."""


def measure_findings(
    label_map: LabelMap,
    task: Task,
    volume: Volume | None = None,
    probabilities: Probabilities | None = None,
    laterality: str = "",
) -> tuple[Finding, ...]:
    """The findings of a mask, in order of the task's labels, with the measurements that the task asks for.

    An organ or a vessel is one finding; of a counted label (lesion, blockage) each instance is one, largest first. An
    empty mask has none. Diameters, shape and confidence are measured of counted labels only. Intensity needs the
    volume, uptake a volume in SUV, confidence the model's probability of the label; what is lacking is left out.
    A counted finding is told in which organ of the mask it lies; `laterality` is the side that was imaged (L or R).
    Raises InputError where the mask's labels are not the task's, GeometryError where mask and images are on different
    grids.
    """
    if label_map.schema != task.label_schema:
        raise InputError(
            f"the mask's labels {[label.name for label in label_map.schema.labels]} are not those of task {task.name}, "
            f"{[label.name for label in task.labels]}. Read the mask with the task's schema."
        )
    if volume is not None:
        label_map.geometry.require_same(volume.geometry, "the mask and the image")
    probabilities = probabilities or Probabilities({})
    for name, probability in probabilities.of_label.items():
        label_map.geometry.require_same(probability.geometry, f"the mask and the probability of {name}")
    if probabilities.agreement is not None:
        label_map.geometry.require_same(probabilities.agreement.geometry, "the mask and the agreement of the answers")
    findings = (
        _finding(instance, label_map, task, volume, probabilities) for instance in each_instance(label_map, task)
    )
    return tuple(finding.model_copy(update={"side": finding.side or SIDES.get(laterality)}) for finding in findings)


def _finding(
    instance: Instance, label_map: LabelMap, task: Task, volume: Volume | None, probabilities: Probabilities
) -> Finding:
    component, geometry = instance.component, label_map.geometry
    organ = organ_of(component, label_map, task) if instance.label.is_counted else None
    middle = sum(part.sum(axis=0) for part in component.indices_in_parts()) / component.voxel_count
    x, y, z = geometry.world(middle).tolist()
    measurements = [*_size(instance, label_map, task, probabilities)]
    if volume is not None:
        measurements.extend(_image(component, volume, task))
    return Finding(
        label=instance.label,
        instance=instance.number,
        centroid_mm=(x, y, z),
        index=_nearest_voxel(component, geometry, middle),
        measurements=tuple(measurements),
        flags=tuple(_flags(instance, label_map, volume if "intensity" in task.measurements else None)),
        organ=organ,
        side=side_of(organ or instance.label),
    )


def _nearest_voxel(component: Component, geometry: Geometry, middle: NDArray[np.float64]) -> Shape:
    """The index of the component's voxel nearest to its middle, which may lie outside where it is bent."""
    nearest, least_mm2 = component.start, np.inf
    for part in component.indices_in_parts():
        if len(part):
            distance_mm2 = (((part - middle) @ geometry.affine[:3, :3].T) ** 2).sum(axis=1)
            first = int(np.argmin(distance_mm2))
            if distance_mm2[first] < least_mm2:
                i, j, k = part[first].tolist()
                nearest, least_mm2 = (i, j, k), distance_mm2[first]
    return nearest


def _size(instance: Instance, label_map: LabelMap, task: Task, probabilities: Probabilities) -> Iterator[Measurement]:
    """Volume, diameters and shape, with what the model's probabilities say of them."""
    component, geometry, is_counted = instance.component, label_map.geometry, instance.label.is_counted
    probability = probabilities.of_label.get(instance.label.name)
    wants_axial = is_counted and ("diameters" in task.measurements or probability is not None)
    axial = axial_diameters(component, geometry) if wants_axial else None
    confidence = None
    if axial is not None and probability is not None:
        index, agreement = instance.label.index, probabilities.agreement
        confidence = confidence_of(component, probability, label_map, index, axial.longest_mm, agreement)
    if "volume" in task.measurements:
        volume_ml = component.voxel_count * geometry.voxel_volume_ml
        interval = None if confidence is None else confidence.volume_interval_ml
        yield _measurement("volume", volume_ml, concepts.MILLILITRE, concepts.VOLUME, interval)
    if "diameters" in task.measurements and axial is not None:
        interval = None if confidence is None else confidence.diameter_interval_mm
        yield _measurement(
            "longest_axial_diameter", axial.longest_mm, concepts.MILLIMETRE, concepts.LONG_AXIS, interval
        )
        yield _measurement(
            "perpendicular_axial_diameter", axial.perpendicular_mm, concepts.MILLIMETRE, concepts.SHORT_AXIS
        )
        longest_mm = maximum_diameter_mm(component, geometry)
        yield _measurement("maximum_3d_diameter", longest_mm, concepts.MILLIMETRE, concepts.DIAMETER)
    if "shape" in task.measurements and is_counted:
        yield from _shape(component, geometry)
    if confidence is not None:
        yield _measurement("mean_probability", confidence.probability, concepts.NO_UNIT, concepts.PROBABILITY)
        yield _measurement("mean_entropy", confidence.entropy_bit, concepts.BIT, concepts.ENTROPY)
        if confidence.agreement is not None:
            yield _measurement("agreement", confidence.agreement, concepts.NO_UNIT, concepts.AGREEMENT)


def _shape(component: Component, geometry: Geometry) -> Iterator[Measurement]:
    shape = shape_of(component, geometry)
    yield _measurement("surface", shape.surface_mm2, concepts.SQUARE_MILLIMETRE, concepts.SURFACE_AREA)
    yield _measurement("sphericity", shape.sphericity, concepts.NO_UNIT, concepts.SPHERICITY)


def _image(component: Component, volume: Volume, task: Task) -> Iterator[Measurement]:
    """Intensity, and of a PET in SUV the uptake; of voxels without a value nothing."""
    if not {"intensity", "uptake"} & set(task.measurements):
        return
    inside = intensity_of(component, volume)
    if inside is None:
        return
    unit = concepts.UCUM_OF_UNIT[volume.unit]
    if "intensity" in task.measurements:
        yield _measurement("mean_intensity", inside.mean, unit, concepts.MEAN)
        yield _measurement("intensity_standard_deviation", inside.standard_deviation, unit, concepts.STANDARD_DEVIATION)
        yield _measurement("maximum_intensity", inside.maximum, unit, concepts.MAXIMUM)
    if "uptake" in task.measurements and volume.unit == "SUVbw":
        volume_ml = component.voxel_count * volume.geometry.voxel_volume_ml
        peak = peak_of(component, volume)
        if peak is not None:
            yield _measurement("suv_peak", peak, unit, concepts.PEAK)
        yield _measurement("metabolic_volume", volume_ml, concepts.MILLILITRE, concepts.METABOLIC_VOLUME)
        yield _measurement(
            "total_lesion_glycolysis", inside.mean * volume_ml, concepts.GRAM, concepts.TOTAL_LESION_GLYCOLYSIS
        )


def _flags(instance: Instance, label_map: LabelMap, volume: Volume | None) -> Iterator[FindingFlag]:
    if instance.component.touches_border(label_map.geometry.shape):
        yield "touches_border"
    if not instance.label.is_counted:
        return
    if min(instance.component.mask.shape) < FEWEST_VOXELS_ACROSS:
        yield "too_small_for_spacing"
    if volume is not None:
        contrast = contrast_to_noise(instance.component, volume, label_map, instance.label.index)
        if contrast is not None and contrast < 1:
            yield "low_contrast"
    if instance.is_split:
        yield "split_from_neighbour"


def _measurement(
    name: str, value: float, unit: str, code: Code, interval: tuple[float, float] | None = None
) -> Measurement:
    return Measurement(name=name, value=value, unit=unit, code=code, interval=interval)
