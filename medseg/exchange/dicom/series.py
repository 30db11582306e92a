"""read_dicom: one volume from a DICOM file or folder.

Positions first, checks second, pixels last. What is in a folder is sorted into series and phases; one of them is
chosen, by the user where there are several; its grid is made from the positions and orientations of its own frames;
and only then are pixels read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from medseg.core.errors import InputError
from medseg.core.study import Modality, Series, Study
from medseg.core.volume import Volume
from medseg.exchange.dicom.elements import lenient, text
from medseg.exchange.dicom.files import find_files, is_dicom, read_dataset
from medseg.exchange.dicom.reading.duplicates import without_duplicates
from medseg.exchange.dicom.reading.grid import stack
from medseg.exchange.dicom.reading.image_file import Frame, ImageFile, image_file
from medseg.exchange.dicom.reading.kinds import kind_of
from medseg.exchange.dicom.reading.phases import Phase, phases, reason_to_set_aside, set_aside
from medseg.exchange.dicom.reading.values import real_values
from medseg.exchange.scan import Mends, Scan, scan_of

_MODALITIES: dict[str, Modality] = {"CT": "CT", "MR": "MR", "PT": "PT"}


@dataclass(slots=True)
class SeriesFiles:
    """The images of one series as they lie in a folder."""

    uid: str
    images: list[ImageFile] = field(default_factory=list)

    @property
    def number(self) -> str:
        """SeriesNumber as text."""
        return self.images[0].said("SeriesNumber")

    @property
    def description(self) -> str:
        """SeriesDescription."""
        return self.images[0].said("SeriesDescription")

    @property
    def modality(self) -> str:
        """DICOM's own modality, which may be any."""
        return self.images[0].said("Modality")

    @property
    def label(self) -> str:
        """The series for people: modality, number, description, count, UID."""
        count = sum(image.frame_count for image in self.images)
        said = f"{self.modality or '?'} series {self.number or '?'}"
        about = f' "{self.description}"' if self.description else ""
        return f"{said}{about}, {count} image{'s'[: count > 1]} ({self.uid})"

    def is_called(self, wanted: str) -> bool:
        """Whether the UID, the number or the description is the wanted one."""
        return wanted in (self.uid, self.number, self.description)


@dataclass(slots=True)
class FolderContents:
    """What a file or folder holds: series of images, and what was passed over and why."""

    path: Path
    series: list[SeriesFiles] = field(default_factory=list)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)
    damaged: list[tuple[Path, str]] = field(default_factory=list)


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


def contents_of(path: Path) -> FolderContents:
    """The series of images in a file or folder, by their UIDs, and what else is there."""
    contents = FolderContents(path)
    by_uid: dict[str, SeriesFiles] = {}
    for file in find_files(path):
        if not is_dicom(file):
            contents.passed_over.append((file, "it is not DICOM"))
            continue
        try:
            header = read_dataset(file)
        except InputError as error:
            contents.damaged.append((file, str(error)))
            continue
        kind = kind_of(header)
        if kind != "image":
            contents.passed_over.append((file, f"it is a {kind}"))
            continue
        uid = text(header, "SeriesInstanceUID")
        by_uid.setdefault(uid, SeriesFiles(uid)).images.append(image_file(file, header))
    contents.series = sorted(by_uid.values(), key=lambda series: (len(series.number), series.number, series.uid))
    return contents


def read_series(series: SeriesFiles, mends: Mends) -> Scan:
    """The volume of one series, or of its chosen phase. Raises InputError as `read_dicom` does."""
    try:
        return _read_series(series, mends)
    except InputError as error:
        raise type(error)(f"{series.label} is not read: {error}") from error


def _read_series(series: SeriesFiles, mends: Mends) -> Scan:
    images, warnings = set_aside(series.images)
    _require_one_patient(images)
    for image in images:
        if image.problem:
            raise InputError(image.problem)
    frames, twins = without_duplicates([frame for image in images for frame in image.frames])
    phase = _choose_phase(phases(frames), mends)
    stacked = stack(list(phase.frames), allow_gaps=mends.allow_gaps)
    modality = _MODALITIES.get(series.modality, "OT")
    values = real_values(stacked, modality, allow_gaps=mends.allow_gaps)
    volume = Volume(values.array, stacked.geometry, values.unit)
    noun = _series_noun(stacked.frames, modality, phase)
    return scan_of(volume, noun, (*warnings, *twins, *stacked.warnings, *values.warnings))


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
