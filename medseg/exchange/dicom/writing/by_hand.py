"""What readers measured by hand, as measurement groups of a structured report (PS3.16 TID 1501).

Each number is inferred from places in the patient (SCOORD3D), so that it stands where it was drawn in any plane.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.findings import HandMeasurement
from medseg.exchange.dicom.patient_axes import ras_to_lps
from medseg.exchange.dicom.writing.segmentation import concept
from medseg.exchange.dicom.writing.source import Source
from medseg.exchange.dicom.writing.units import unit_code

KIND_NAMES = {"length": "length", "diameters": "two diameters", "angle": "angle", "roi": "ellipse"}
"""What each kind is called in the name that a group is followed by."""


def hand_groups(drawn: Sequence[HandMeasurement], source: Source) -> Iterator[Any]:
    """A group for each, in order. Its tracking name ends in who drew it."""
    import highdicom

    for number, one in enumerate(drawn, start=1):
        name = f"{KIND_NAMES[one.kind]} {number}, drawn by {one.reader}"
        yield highdicom.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=highdicom.sr.TrackingIdentifier(
                uid=source.uid("by hand", one.model_dump_json()), identifier=name
            ),
            measurements=[
                highdicom.sr.Measurement(
                    name=concept(measured.code),
                    value=measured.value,
                    unit=concept(unit_code(measured.unit)),
                    referenced_coordinates=[
                        highdicom.sr.CoordinatesForMeasurement3D(
                            "ELLIPSE" if one.kind == "roi" else "POLYLINE", places, source.frame_of_reference
                        )
                    ],
                )
                for measured, places in zip(one.measurements, places_lps(one), strict=True)
            ],
        )


def places_lps(drawn: HandMeasurement) -> list[NDArray[np.float64]]:
    """The points (n, 3) in LPS+ mm that each measurement is of: a diameter has its own two, others have all."""
    points = ras_to_lps(drawn.outline_mm)
    if drawn.kind == "diameters":
        return [points[:2], points[2:]]
    return [points] * len(drawn.measurements)
