"""read_dicom: one volume from a DICOM file or folder.

Positions first, checks second, pixels last. What is in a folder is sorted into series and phases; one of them is
chosen, by the user where there are several; its grid is made from the positions and orientations of its own frames;
and only then are pixels read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from medseg.core.errors import InputError
from medseg.core.study import Modality, Series, Study
from medseg.core.volume import Volume
from medseg.exchange.dicom.contents import FolderContents, SeriesFiles, contents_of
from medseg.exchange.dicom.elements import lenient
from medseg.exchange.dicom.reading.duplicates import without_duplicates
from medseg.exchange.dicom.reading.grid import Stack, stack
from medseg.exchange.dicom.reading.image_file import Frame, ImageFile
from medseg.exchange.dicom.reading.phases import Phase, phases, reason_to_set_aside, set_aside
from medseg.exchange.dicom.reading.values import real_values
from medseg.exchange.scan import Mends, Scan, scan_of

_MODALITIES: dict[str, Modality] = {"CT": "CT", "MR": "MR", "PT": "PT"}


def read_dicom(path: Path, mends: Mends) -> Scan:
    """The volume of a DICOM file, or of the one series in a folder, in RAS+ mm and real values.

    i runs along a row, j along a column, k along the slices. Raises InputError where there is no volume, several to
    choose from, or where the files make a wrong one.
    """
    with lenient():
        contents = contents_of(path)
        chosen, warnings = _choose_series(contents, mends)
        scan = read_series(chosen, mends)
    damaged = [f"{file.name} was not read: {reason}" for file, reason in contents.damaged]
    return replace(scan, warnings=(*warnings, *damaged, *scan.warnings))


def read_series(series: SeriesFiles, mends: Mends) -> Scan:
    """The volume of one series, or of its chosen phase. Raises InputError as `read_dicom` does."""
    try:
        return _read_series(series, mends)
    except InputError as error:
        raise type(error)(f"{series.label} is not read: {error}") from error


@dataclass(frozen=True, slots=True)
class Arranged:
    """One phase of a series on its grid, as its headers give it; no pixel has been read."""

    stack: Stack
    phase: Phase
    modality: Modality
    warnings: tuple[str, ...]


def arrange(series: SeriesFiles, mends: Mends) -> Arranged:
    """The chosen phase of a series on its grid. Raises InputError where the headers make no volume."""
    frames, warnings = usable_frames(series)
    phase = _choose_phase(phases(frames), mends)
    stacked = stack(list(phase.frames), allow_gaps=mends.allow_gaps)
    modality = _MODALITIES.get(series.modality, "OT")
    return Arranged(stacked, phase, modality, (*warnings, *stacked.warnings))


def usable_frames(series: SeriesFiles) -> tuple[list[Frame], list[str]]:
    """The frames of a series that may make volumes, and what was left out of it.

    Raises InputError where images lack their place or belong to two patients, studies or frames of reference.
    """
    images, warnings = set_aside(series.images)
    _require_one_patient(images)
    for image in images:
        if image.problem:
            raise InputError(image.problem)
    frames, twins = without_duplicates([frame for image in images for frame in image.frames])
    return frames, [*warnings, *twins]


def _read_series(series: SeriesFiles, mends: Mends) -> Scan:
    arranged = arrange(series, mends)
    values = real_values(arranged.stack, arranged.modality, allow_gaps=mends.allow_gaps)
    volume = Volume(values.array, arranged.stack.geometry, values.unit)
    noun = _series_noun(arranged.stack.frames, arranged.modality, arranged.phase)
    return scan_of(volume, noun, (*arranged.warnings, *values.warnings))


def _choose_series(contents: FolderContents, mends: Mends) -> tuple[SeriesFiles, list[str]]:
    if not contents.series:
        raise InputError(f"{contents.path} holds no DICOM image" + _what_else(contents))
    candidates = contents.series
    if mends.series is not None:
        called = [series for series in candidates if series.is_called(mends.series)]
        if len(called) != 1:
            raise InputError(
                f"{len(called) or 'no'} series in {contents.path} "
                f"{'are' if len(called) > 1 else 'is'} called {mends.series!r}; there are: {_list_series(candidates)}"
            )
        return called[0], []
    if len(candidates) == 1:
        return candidates[0], []
    volumes = [series for series in candidates if _may_be_volume(series)]
    if len(volumes) == 1:
        others = [series.label for series in candidates if series is not volumes[0]]
        return volumes[0], [f"{volumes[0].label} was read and left out: {'; '.join(others)}"]
    raise InputError(
        f"{contents.path} holds {len(candidates)} series; choose one with --series: "
        f"{_list_series(volumes or candidates)}"
    )


def _may_be_volume(series: SeriesFiles) -> bool:
    """Whether a series may be the one that is meant: not one of localizers, captures or images without a place."""
    return any(image.frames and not reason_to_set_aside(image) for image in series.images)


def _choose_phase(found: list[Phase], mends: Mends) -> Phase:
    names = "; ".join(f"{phase.name} ({len(phase.frames)} images)" for phase in found)
    if mends.phase is not None:
        called = [phase for phase in found if phase.is_called(mends.phase)]
        if len(called) == 1:
            return called[0]
        there = f"there are: {names}" if len(found) > 1 else "it has one phase only"
        raise InputError(f"no phase is called {mends.phase!r}; {there}")
    if len(found) == 1:
        return found[0]
    raise InputError(f"it holds {len(found)} phases; choose one with --phase: {names}")


def _require_one_patient(images: list[ImageFile]) -> None:
    for keyword, what, mend in (
        ("PatientID", "patients", "Separate them, each into its own folder."),
        (
            "FrameOfReferenceUID",
            "frames of reference",
            "The patient was moved in between: export each as its own series.",
        ),
        ("Modality", "modalities", "Separate them, each into its own folder."),
        ("StudyInstanceUID", "studies", "Separate them, each into its own folder."),
    ):
        values: dict[str, str] = {}
        for image in images:
            said = image.said(keyword)
            if said:
                values.setdefault(said, image.path.name)
        if len(values) > 1:
            first, second = list(values.values())[:2]
            raise InputError(
                f"its images belong to {len(values)} {what} ({first} and {second} differ in {keyword}). {mend}"
            )


def _series_noun(frames: tuple[Frame, ...], modality: Modality, phase: Phase) -> Series:
    file = frames[0].file
    description = file.said("SeriesDescription")
    return Series(
        Study(
            patient_id=file.said("PatientID"),
            patient_name=file.said("PatientName"),
            study_uid=file.said("StudyInstanceUID"),
            date=file.said("StudyDate"),
            description=file.said("StudyDescription"),
        ),
        modality,
        series_uid=file.said("SeriesInstanceUID"),
        description=f"{description} [{phase.name}]" if phase.name else description,
        body_part=file.said("BodyPartExamined"),
        laterality=file.said("Laterality") or file.said("ImageLaterality"),
        files=tuple(dict.fromkeys(frame.file.path for frame in frames)),
    )


def _list_series(series: list[SeriesFiles]) -> str:
    shown = "; ".join(one.label for one in series[:20])
    return shown + (f"; and {len(series) - 20} more" if len(series) > 20 else "")


def _what_else(contents: FolderContents) -> str:
    reasons = [f"{file.name}: {reason}" for file, reason in (*contents.damaged, *contents.passed_over)]
    if not reasons:
        return ": it is empty"
    return ": " + "; ".join(reasons[:5]) + (f"; and {len(reasons) - 5} more files" if len(reasons) > 5 else "")
