"""Who and what was imaged: Study and Series for a scan, Case for one training or test example."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Modality = Literal["CT", "MR", "PT", "OT"]
"""DICOM modality (PS3.3 C.7.3.1.1.1); OT where a file format does not say."""


@dataclass(frozen=True, slots=True)
class Study:
    """The examination a scan belongs to; empty strings where the source does not say."""

    patient_id: str = ""
    patient_name: str = ""
    study_uid: str = ""
    date: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One acquisition of a study and the files it was read from.

    `laterality` is the side of a paired body part that was imaged: L, R, B or U as in DICOM (PS3.3 C.7.3.1), or empty.
    """

    study: Study
    modality: Modality
    series_uid: str = ""
    description: str = ""
    body_part: str = ""
    files: tuple[Path, ...] = ()
    laterality: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One training or test example: an image file per channel, a reference mask where there is one, and its subject.

    `subject` is what splits are made by: two cases of one patient share it.
    """

    name: str
    subject: str
    channels: dict[str, Path] = field(hash=False)
    label: Path | None = None
