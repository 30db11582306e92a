"""What readers drew comes to: lengths, two diameters, angles, and the values within an ellipse.

The viewer's marks.js says the same in the browser while a reader draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medseg.analysis.quantification import concepts
from medseg.core.findings import HandMeasurement, Mark, Measurement
from medseg.core.labels import Code
from medseg.core.volume import Volume
from medseg.imaging.pictures.slices import DEPTH, SCREEN_AXES

_ROUNDING = 1 + 1e-6
"""A voxel whose centre lies on the rim is inside, whatever the last digit of its place in the world."""


def measure_by_hand(mark: Mark, reader: str, volume: Volume) -> HandMeasurement | None:
    """What a reader's mark comes to on a scan; None for an ellipse that holds no voxel.

    Lengths and angles are those between the points in the world. An ellipse lies in its slice, between the corners that
    were drawn, and holds the voxels whose centres are in it; its standard deviation is that of a sample (n - 1).
    """
    points = np.asarray(mark.points_mm)
    outline, found = mark.points_mm, []
    if mark.kind == "length":
        found = [_millimetres("length", points[0] - points[1], concepts.LENGTH)]
    elif mark.kind == "diameters":
        pairs = sorted((points[:2], points[2:]), key=lambda pair: -float(np.linalg.norm(pair[0] - pair[1])))
        outline = _as_points(np.concatenate(pairs))
        names = (("long_axis", concepts.LONG_AXIS), ("short_axis", concepts.SHORT_AXIS))
        found = [_millimetres(name, a - b, code) for (name, code), (a, b) in zip(names, pairs, strict=True)]
    elif mark.kind == "angle":
        degrees = _degrees(points[0] - points[1], points[2] - points[1])
        found = [Measurement(name="angle", value=degrees, unit=concepts.DEGREE, code=concepts.ANGLE)]
    else:
        outline, found = _ellipse(mark, volume)
    if not found:
        return None
    return HandMeasurement(
        kind=mark.kind, plane=mark.plane, outline_mm=outline, measurements=tuple(found), reader=reader
    )


def _millimetres(name: str, apart_mm: NDArray[np.float64], code: Code) -> Measurement:
    return Measurement(name=name, value=float(np.linalg.norm(apart_mm)), unit=concepts.MILLIMETRE, code=code)


def _degrees(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The angle between two arms; 0 where one has no length."""
    both = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.degrees(np.arccos(np.clip(one @ other / both, -1, 1)))) if both > 0 else 0.0


def _ellipse(mark: Mark, volume: Volume) -> tuple[tuple[tuple[float, float, float], ...], list[Measurement]]:
    """The ends of the axes of an ellipse, the longer one first, and what is within; nothing where no voxel is."""
    turn = volume.geometry.reorientation_to(SCREEN_AXES)
    geometry = volume.geometry.reoriented(turn)
    corners = geometry.index(mark.points_mm)
    depth = DEPTH[mark.plane]
    a, b = (axis for axis in range(3) if axis != depth)
    middle, radii = corners.mean(axis=0), np.abs(corners[0] - corners[1]) / 2
    axes = []
    for axis in (a, b):
        step = np.zeros(3)
        step[axis] = radii[axis]
        axes.append(geometry.world([middle - step, middle + step]))
    axes.sort(key=lambda ends: -float(np.linalg.norm(ends[0] - ends[1])))
    outline = _as_points(np.concatenate(axes))
    at = int(np.floor(corners[0][depth] + 0.5))  # halves up, as in the browser
    if min(radii[a], radii[b]) <= 0 or not 0 <= at < geometry.shape[depth]:
        return outline, []
    picture = np.take(turn.apply(volume.array), at, axis=depth)
    i, j = np.ogrid[: picture.shape[0], : picture.shape[1]]
    values = picture[((i - middle[a]) / radii[a]) ** 2 + ((j - middle[b]) / radii[b]) ** 2 <= _ROUNDING].astype(
        np.float64
    )
    values = values[np.isfinite(values)]
    if not values.size:
        return outline, []
    unit = concepts.UCUM_OF_UNIT[volume.unit]
    area = values.size * geometry.spacing_mm[a] * geometry.spacing_mm[b]
    deviation = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return outline, [
        Measurement(name="mean", value=float(values.mean()), unit=unit, code=concepts.MEAN),
        Measurement(name="standard_deviation", value=deviation, unit=unit, code=concepts.STANDARD_DEVIATION),
        Measurement(name="minimum", value=float(values.min()), unit=unit, code=concepts.MINIMUM),
        Measurement(name="maximum", value=float(values.max()), unit=unit, code=concepts.MAXIMUM),
        Measurement(name="area", value=area, unit=concepts.SQUARE_MILLIMETRE, code=concepts.AREA),
    ]


def _as_points(array: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
    return tuple((float(x), float(y), float(z)) for x, y, z in array)
