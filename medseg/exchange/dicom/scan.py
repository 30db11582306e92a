"""inspect: the studies and series in a folder, what each file is, and what would be read or refused and why."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
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


def inspect(path: Path, *, with_pixels: bool = False, mends: Mends | None = None) -> Inspection:
    """What lies under a path. By headers alone, unless `with_pixels`: then every volume is read and checked.

    With `mends` only the series and the phase that they name, and gaps filled where they say so. Raises InputError
    where the path does not exist, or holds no series or phase of that name.
    """
    mends = mends or Mends()
    if not path.exists():
        raise InputError(f"{path} does not exist. Check the path.")
    with lenient():
        contents = contents_of(path)
        chosen = [one for one in contents.series if mends.series is None or one.is_called(mends.series)]
        series = tuple(_found(one, with_pixels, mends) for one in chosen)
    if mends.series is not None and not chosen:
        there = "; ".join(one.label for one in contents.series) or "none"
        raise InputError(f"no series under {path} is called {mends.series!r}; there are: {there}")
    if mends.phase is not None and not any(one.volumes for one in series):
        raise InputError(f"no series under {path} has a phase that is called {mends.phase!r}")
    others = tuple(FoundObject(path=file, what=what) for file, what in (*contents.damaged, *contents.passed_over))
    return Inspection(path=path, series=series, others=others)


def orientation_of(geometry: Geometry) -> Orientation:
    """How the slices of a grid lie in the patient, by the normal of rows and columns."""
    return orientation_by_normal(np.cross(geometry.directions[:, 0], geometry.directions[:, 1]))


def orientation_by_normal(normal: NDArray[np.floating]) -> Orientation:
    """How slices of this unit normal (x, y, z) lie in the patient."""
    axis = int(np.abs(normal).argmax())
    return _ORIENTATIONS[axis] if abs(normal[axis]) >= _STRAIGHT else "oblique"


def _found(series: SeriesFiles, with_pixels: bool, mends: Mends) -> FoundSeries:
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
        volumes=_volumes(series, with_pixels, mends),
    )


def _volumes(series: SeriesFiles, with_pixels: bool, mends: Mends) -> tuple[FoundVolume, ...]:
    try:
        found = phases(usable_frames(series)[0])
    except InputError as error:
        return (FoundVolume(phase="", outcome="refused", reason=str(error)),)
    chosen = [phase for phase in found if mends.phase is None or phase.is_called(mends.phase)]
    is_open = len(found) > 1 and mends.phase is None
    wanted = [Mends(phase=phase.name if len(found) > 1 else None, allow_gaps=mends.allow_gaps) for phase in chosen]
    return tuple(
        _volume(series, phase, with_pixels, its, "choose a phase" if is_open else "read")
        for phase, its in zip(chosen, wanted, strict=True)
    )


def _volume(series: SeriesFiles, phase: Phase, with_pixels: bool, mends: Mends, outcome: Outcome) -> FoundVolume:
    try:
        arranged = arrange(series, mends)
        warnings = read_series(series, mends).warnings if with_pixels else arranged.warnings
    except InputError as error:
        return FoundVolume(phase=phase.name, outcome="refused", reason=str(error))
    geometry = arranged.stack.geometry
    return FoundVolume(
        phase=phase.name,
        outcome=outcome,
        warnings=warnings,
        shape=geometry.shape,
        spacing_mm=geometry.spacing_mm,
        axis_codes=geometry.axis_codes,
        orientation=orientation_of(geometry),
    )
