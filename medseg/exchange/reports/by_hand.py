"""What readers measured by hand, on a page: drawn over the slice it is on, and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse
from numpy.typing import NDArray

from medseg.core.findings import HandMeasurement, Measurement
from medseg.core.geometry import Geometry, PlaneName
from medseg.exchange.reports.numbers import PRINTED_UNITS, number_in_words
from medseg.imaging.pictures import slices

COLOUR = "#f2e55c"


def in_words(drawn: HandMeasurement) -> str:
    """A measurement as a line: "two diameters 12.3 × 8.1 mm (axial, at R 10 A 20 S 30 mm), by jane"."""
    by_name = {measured.name: measured for measured in drawn.measurements}
    if drawn.kind == "diameters":
        said = f"two diameters {_value(by_name['long_axis'])} × {_with_unit(by_name['short_axis'])}"
    elif drawn.kind == "roi":
        spread = f"{_value(by_name['mean'])} ± {_with_unit(by_name['standard_deviation'])}"
        span = f"{_value(by_name['minimum'])} to {_value(by_name['maximum'])}, {_with_unit(by_name['area'])}"
        said = f"ellipse {spread}, {span}"
    else:
        said = f"{drawn.kind} {_with_unit(drawn.measurements[0])}"
    middle = np.mean(drawn.outline_mm, axis=0)
    place = " ".join(
        f"{plus if mm >= 0 else minus} {abs(mm):.0f}"
        for mm, (plus, minus) in zip(middle, (("R", "L"), ("A", "P"), ("S", "I")), strict=True)
    )
    return f"{said} ({drawn.plane}, at {place} mm), by {drawn.reader}"


def drawn_places(
    drawn: Sequence[HandMeasurement], geometry: Geometry
) -> Iterator[tuple[PlaneName, tuple[int, int, int]]]:
    """The plane of each measurement that lies on a grid in display order, and the voxel in its middle."""
    for one in drawn:
        middle = np.floor(geometry.index(one.outline_mm).mean(axis=0) + 0.5).astype(int)
        if (middle >= 0).all() and (middle < geometry.shape).all():
            yield one.plane, (int(middle[0]), int(middle[1]), int(middle[2]))


def draw_marks(axes: Axes, drawn: Sequence[HandMeasurement], geometry: Geometry, plane: PlaneName, index: int) -> None:
    """Draw what lies on one slice of a plane over its picture; `geometry` is in display order."""
    limits = (axes.get_xlim(), axes.get_ylim())
    for one in drawn:
        places = geometry.index(one.outline_mm)
        if one.plane != plane or int(np.floor(places[0][slices.DEPTH[plane]] + 0.5)) != index:
            continue
        columns, rows = slices.picture_places(places, geometry, plane)
        if one.kind == "roi":
            wide, high = np.ptp(columns), np.ptp(rows)
            axes.add_patch(Ellipse((columns.mean(), rows.mean()), wide, high, fill=False, color=COLOUR, linewidth=0.9))
        for part in _lines(one, columns.size):
            axes.plot(columns[part], rows[part], color=COLOUR, linewidth=0.9)
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def _lines(drawn: HandMeasurement, count: int) -> list[NDArray[np.intp]]:
    """Which points are joined."""
    if drawn.kind == "roi":
        return []
    return [np.arange(2), np.arange(2, 4)] if drawn.kind == "diameters" else [np.arange(count)]


def _value(measured: Measurement) -> str:
    return number_in_words(measured.value)


def _with_unit(measured: Measurement) -> str:
    unit = PRINTED_UNITS.get(measured.unit, measured.unit)
    return f"{_value(measured)}{unit}" if unit == "°" else f"{_value(measured)} {unit}".strip()
