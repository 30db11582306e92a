"""A series by the archive's words and one header: enough to choose by the same rules as series on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from medseg.exchange.dicom.network.web.answers import Answer, ArchivedInstance, ArchivedSeries, all_said, items, said
from medseg.exchange.dicom.scan import FoundSeries, FoundVolume, Orientation, orientation_by_normal


@dataclass(frozen=True, slots=True)
class DescribedSeries:
    """A series with its list of objects and the header of one of them."""

    series: ArchivedSeries
    instances: tuple[ArchivedInstance, ...]
    header: Answer

    @property
    def slice_count(self) -> int:
        """How many slices it has: its objects, or the frames of its only one."""
        frames = said(self.header, "NumberOfFrames")
        return int(frames) if len(self.instances) == 1 and frames.isdigit() else len(self.instances)

    @property
    def lack(self) -> str:
        """What tells that images are missing; empty where nothing does.

        A scanner may say how many images an acquisition has (0020,1002); and instance numbers have no gaps.
        """
        announced = said(self.header, "ImagesInAcquisition")
        return lack_of([one.number for one in self.instances], announced, self.slice_count)

    def found(self, study_description: str = "") -> FoundSeries:
        """The series as `choose_series` judges it; what the header leaves open is taken to be as it should."""
        series = self.series
        volume = FoundVolume(
            phase="",
            outcome="read",
            shape=(_whole(self.header, "Columns"), _whole(self.header, "Rows"), self.slice_count),
            spacing_mm=self._spacing_mm(),
            orientation=_orientation(_within(self.header, "PlaneOrientationSequence")),
        )
        return FoundSeries(
            patient_id="",
            study_uid=series.study_uid,
            study_date="",
            study_description=study_description,
            uid=series.series_uid,
            number=series.number,
            description=series.description,
            modality=series.modality,
            body_part=series.body_part or said(self.header, "BodyPartExamined"),
            kernel=said(self.header, "ConvolutionKernel"),
            contrast_agent=said(self.header, "ContrastBolusAgent"),
            image_type=all_said(self.header, "ImageType"),
            image_count=len(self.instances),
            volumes=(volume,),
        )

    def _spacing_mm(self) -> tuple[float, float, float]:
        measures = _within(self.header, "PixelMeasuresSequence")
        plane = _numbers(measures, "PixelSpacing") or [1.0, 1.0]
        between = _numbers(measures, "SpacingBetweenSlices") or _numbers(measures, "SliceThickness") or [1.0]
        return plane[-1], plane[0], abs(between[0])


def lack_of(numbers: Iterable[str], announced: str, slice_count: int) -> str:
    """What instance numbers and ImagesInAcquisition tell of missing images; empty where they tell of none."""
    if announced.isdigit() and int(announced) > slice_count:
        return f"it has {slice_count} of the {announced} images that its header announces. Send the series again."
    known = sorted({int(number) for number in numbers if number.isdigit()})
    missing = sum(after - before - 1 for before, after in pairwise(known))
    if missing:
        return f"of its image numbers from {known[0]} to {known[-1]}, {missing} are missing. Send the series again."
    return ""


def _within(header: Answer, sequence: str) -> Answer:
    """Where an element stands: in the header itself, or among what all frames of a multi-frame object share."""
    for shared in items(header, "SharedFunctionalGroupsSequence"):
        for item in items(shared, sequence):
            return item
    return header


def _orientation(place: Answer) -> Orientation:
    axes = _numbers(place, "ImageOrientationPatient")
    if len(axes) != 6:
        return ""
    return orientation_by_normal(np.cross(axes[:3], axes[3:]))


def _numbers(answer: Answer, keyword: str) -> Sequence[float]:
    try:
        return [float(text) for text in all_said(answer, keyword)]
    except ValueError:
        return []


def _whole(answer: Answer, keyword: str) -> int:
    text = said(answer, keyword)
    return int(text) if text.isdigit() else 1
