"""What a file or folder holds: series of DICOM images by their UIDs, and what else is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medseg.core.errors import InputError
from medseg.exchange.dicom.elements import text
from medseg.exchange.dicom.files import find_files, is_dicom, read_dataset
from medseg.exchange.dicom.reading.image_file import ImageFile, image_file
from medseg.exchange.dicom.reading.kinds import a_kind_of, kind_of

NO_DICOM = "it is not DICOM"
"""Why a file of another format is passed over."""


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


def contents_of(path: Path, on_file: Callable[[int, int], None] | None = None) -> FolderContents:
    """The series of images in a file or folder, by their UIDs, and what else is there.

    `on_file` hears which of how many files is looked at.
    """
    contents = FolderContents(path)
    by_uid: dict[str, SeriesFiles] = {}
    files = find_files(path)
    for number, file in enumerate(files, start=1):
        if on_file:
            on_file(number, len(files))
        if not is_dicom(file):
            contents.passed_over.append((file, NO_DICOM))
            continue
        try:
            header = read_dataset(file)
        except InputError as error:
            contents.damaged.append((file, str(error)))
            continue
        if kind_of(header) != "image":
            contents.passed_over.append((file, f"it is {a_kind_of(header)}"))
            continue
        uid = text(header, "SeriesInstanceUID")
        by_uid.setdefault(uid, SeriesFiles(uid)).images.append(image_file(file, header))
    contents.series = sorted(by_uid.values(), key=lambda series: (len(series.number), series.number, series.uid))
    return contents


def objects_of(path: Path, kind: str) -> tuple[Path, ...]:
    """The DICOM files of that kind (such as "segmentation") at a path: the file itself, or those in a folder."""
    found = []
    for file in find_files(path):
        if is_dicom(file):
            try:
                if kind_of(read_dataset(file)) == kind:
                    found.append(file)
            except InputError:
                continue  # damaged files are told of by whoever reads images
    return tuple(found)
