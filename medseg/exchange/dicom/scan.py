"""inspect: the studies and series in a folder, what each file is, and what would be read or refused and why."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.exchange.dicom.contents import SeriesFiles, contents_of
from medseg.exchange.dicom.elements import lenient
from medseg.exchange.dicom.reading.phases import Phase, phases
from medseg.exchange.dicom.series import arrange, read_series, usable_frames
from medseg.exchange.scan import Mends

Outcome = Literal["read", "refused", "choose a phase"]
Orientation = Literal["axial", "coronal", "sagittal", "oblique", ""]

_STRAIGHT = 0.94
"""A slice normal within 20 degrees of a patient axis still counts as axial, coronal or sagittal."""

_ORIENTATIONS: tuple[Orientation, ...] = ("sagittal", "coronal", "axial")


class FoundVolume(BaseModel):
    """One volume of a series (its only one, or one phase), and whether it would be read."""

    model_config = ConfigDict(frozen=True)

    phase: str
    outcome: Outcome
    reason: str = ""
    warnings: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    axis_codes: str = ""
    orientation: Orientation = ""


class FoundSeries(BaseModel):
    """One series of images, what its header says of it, and the volumes it makes."""

    model_config = ConfigDict(frozen=True)

    patient_id: str
    study_uid: str
    study_date: str
    study_description: str
    uid: str
    number: str
    description: str
    modality: str
    body_part: str
    kernel: str
    contrast_agent: str
    image_type: tuple[str, ...]
    image_count: int
    volumes: tuple[FoundVolume, ...]


class FoundObject(BaseModel):
    """A file that is no image, and what it is or why it cannot be read."""

    model_config = ConfigDict(frozen=True)

    path: Path
    what: str


class Inspection(BaseModel):
    """Everything found under a path; `model_dump_json` gives it as JSON."""

    model_config = ConfigDict(frozen=True)

    path: Path
    series: tuple[FoundSeries, ...]
    others: tuple[FoundObject, ...]

    def table(self) -> list[tuple[str, ...]]:
        """Rows for people: study, series, images, grid, outcome; the first row is the heading."""
        rows: list[tuple[str, ...]] = [("study", "series", "modality", "description", "images", "grid", "result")]
        for series in self.series:
            for volume in series.volumes:
                shape = " x ".join(map(str, volume.shape or ()))
                spacing = " x ".join(f"{length:.3g}" for length in volume.spacing_mm or ())
                grid = f"{shape} at {spacing} mm, {volume.orientation}" if shape else ""
                name = f"{series.description} [{volume.phase}]" if volume.phase else series.description
                result = ": ".join(part for part in (volume.outcome, volume.reason) if part)
                rows.append(
                    (series.study_date, series.number, series.modality, name, str(series.image_count), grid, result)
                )
        rows.extend(("", "", "", found.path.name, "", "", found.what) for found in self.others)
        return rows


def inspect(path: Path, *, with_pixels: bool = False) -> Inspection:
    """What lies under a path. By headers alone, unless `with_pixels`: then every volume is read and checked.

    Raises InputError where the path does not exist.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist. Check the path.")
    with lenient():
        contents = contents_of(path)
        series = tuple(_found(one, with_pixels) for one in contents.series)
    others = tuple(FoundObject(path=file, what=what) for file, what in (*contents.damaged, *contents.passed_over))
    return Inspection(path=path, series=series, others=others)


def orientation_of(geometry: Geometry) -> Orientation:
    """How the slices of a grid lie in the patient, by the normal of rows and columns."""
    normal = np.abs(np.cross(geometry.directions[:, 0], geometry.directions[:, 1]))
    axis = int(normal.argmax())
    return _ORIENTATIONS[axis] if normal[axis] >= _STRAIGHT else "oblique"


def _found(series: SeriesFiles, with_pixels: bool) -> FoundSeries:
    first = series.images[0]
    return FoundSeries(
        patient_id=first.said("PatientID"),
        study_uid=first.said("StudyInstanceUID"),
        study_date=first.said("StudyDate"),
        study_description=first.said("StudyDescription"),
        uid=series.uid,
        number=series.number,
        description=series.description,
        modality=series.modality,
        body_part=first.said("BodyPartExamined"),
        kernel=first.said("ConvolutionKernel"),
        contrast_agent=first.said("ContrastBolusAgent"),
        image_type=first.image_type,
        image_count=sum(image.frame_count for image in series.images),
        volumes=_volumes(series, with_pixels),
    )


def _volumes(series: SeriesFiles, with_pixels: bool) -> tuple[FoundVolume, ...]:
    try:
        found = phases(usable_frames(series)[0])
    except InputError as error:
        return (FoundVolume(phase="", outcome="refused", reason=str(error)),)
    return tuple(_volume(series, phase, len(found) > 1, with_pixels) for phase in found)


def _volume(series: SeriesFiles, phase: Phase, is_one_of_many: bool, with_pixels: bool) -> FoundVolume:
    mends = Mends(phase=phase.name if is_one_of_many else None)
    try:
        arranged = arrange(series, mends)
        warnings = read_series(series, mends).warnings if with_pixels else arranged.warnings
    except InputError as error:
        return FoundVolume(phase=phase.name, outcome="refused", reason=str(error))
    geometry = arranged.stack.geometry
    return FoundVolume(
        phase=phase.name,
        outcome="choose a phase" if is_one_of_many else "read",
        warnings=warnings,
        shape=geometry.shape,
        spacing_mm=geometry.spacing_mm,
        axis_codes=geometry.axis_codes,
        orientation=orientation_of(geometry),
    )
