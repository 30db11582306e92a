"""Source: the images that a result was made from, and what every object made of them says alike.

Patient and study are copied from the images (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2), in UTF-8, so that a name keeps its
characters whatever the images were written in; the model, its version and its content hash stand in each object.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.labels import Code
from medseg.core.report import ModelIdentity
from medseg.exchange.dicom.elements import text
from medseg.exchange.dicom.files import read_dataset, sop_class
from medseg.exchange.dicom.patient_axes import lps_to_ras
from medseg.exchange.dicom.reading.image_file import image_file
from medseg.exchange.dicom.uids import uid_from
from medseg.exchange.dicom.writing.elements import code_item, file_meta

CHARACTER_SET = "ISO_IR 192"
"""UTF-8: it can say every name, whatever the images were written in."""

_ALWAYS_NAMED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"),
)

_NAMING_TAGS = frozenset(tag_for_keyword(keyword) for keyword in _ALWAYS_NAMED)

COPIED = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence"),
    *("PatientBirthDate", "PatientBirthTime", "PatientSex", "OtherPatientIDsSequence", "EthnicGroup"),
    *("PatientComments", "QualityControlSubject", "PatientSpeciesDescription", "PatientSpeciesCodeSequence"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("LongitudinalTemporalInformationModified", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "StudyDescription"),
    *("PhysiciansOfRecord", "ProcedureCodeSequence", "PatientAge", "PatientSize", "PatientWeight"),
    *("AdmittingDiagnosesDescription", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID"),
    *("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID"),
    *("ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription"),
)
"""What an object shares with the images of its study: patient, study, patient in the study, clinical trial."""

_ON_SLICE = 0.25
"""How far, in slices, an image may lie from a slice of the grid and still be that slice."""


@dataclass(frozen=True)
class Made:
    """By which model, from which files, and when a mask was made; and the reader who corrected it, if one has.

    The files are read once, however many objects are made of them.
    """

    model: ModelIdentity
    source_files: tuple[Path, ...]
    created: datetime
    corrected_by: str | None = None

    @cached_property
    def headers(self) -> tuple[FileDataset, ...]:
        """The headers of the images, without pixels, complete as the standard wants them.

        Raises InputError where a file cannot be read.
        """
        return tuple(_completed(read_dataset(file)) for file in self.source_files)

    @cached_property
    def plain_headers(self) -> tuple[Dataset, ...]:
        """The headers without who the patient is, for a library that is stricter than hospitals are.

        What is missing here is set when the object is identified.
        """
        return tuple(without_names(header) for header in self.headers)


@dataclass(frozen=True, slots=True)
class ImageReference:
    """One image as other objects refer to it; `frame` counts from 1 and is None where the object has one frame."""

    sop_class: str
    sop_instance: str
    frame: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The images that were found fit to make objects of, and who made what of them."""

    made: Made

    @property
    def headers(self) -> tuple[FileDataset, ...]:
        """The headers of the images, complete as the standard wants them."""
        return self.made.headers

    @property
    def series_uid(self) -> str:
        return text(self.headers[0], "SeriesInstanceUID")

    @property
    def frame_of_reference(self) -> str:
        return text(self.headers[0], "FrameOfReferenceUID")

    def uid(self, *parts: str) -> str:
        """A UID of something made by this model from these images: always the same for the same parts."""
        return uid_from(*parts, self.series_uid, self.made.model.sha256)

    def slices(self, geometry: Geometry) -> dict[int, ImageReference]:
        """The image of each slice number k of a grid; slices that were filled between images have none."""
        found: dict[int, ImageReference] = {}
        for path, header in zip(self.made.source_files, self.headers, strict=True):
            file = image_file(path, header)
            for frame in file.frames:
                place = geometry.index(lps_to_ras(frame.plane.position))
                k = round(float(place[2]))
                if abs(place[2] - k) <= _ON_SLICE and np.abs(place[:2]).max() <= 1 and 0 <= k < geometry.shape[2]:
                    number = frame.number + 1 if file.is_multiframe else None
                    found.setdefault(k, ImageReference(sop_class(header), text(header, "SOPInstanceUID"), number))
        return found


def open_source(made: Made, geometry: Geometry | None = None) -> Source:
    """The source of an object, its headers without pixels. To be called where pydicom is lenient.

    Raises InputError where there are no images, or they belong to no study or lie in another frame of reference.
    """
    if not made.source_files:
        raise InputError("the images that the mask was made from are needed for a DICOM object: give their files")
    source = Source(made)
    name = made.source_files[0].name
    for keyword, what in (("StudyInstanceUID", "study"), ("SeriesInstanceUID", "series")):
        if not text(source.headers[0], keyword):
            raise InputError(f"{name} does not say which {what} it belongs to ({keyword}): nothing can be added to it")
    if geometry is not None:
        theirs, mine = source.frame_of_reference, geometry.frame_of_reference
        if not theirs:
            raise InputError(f"{name} has no frame of reference, so nothing can refer to its places")
        if mine and mine != theirs:
            raise InputError(
                f"the mask lies in the frame of reference {mine}, the images in {theirs}. "
                "Give the images it was made from."
            )
    return source


def without_names(header: FileDataset) -> Dataset:
    """The header with nothing said of patient and study but their UIDs, decoded when it is asked for."""
    plain = Dataset()
    plain.update({tag: element for tag, element in header.items() if tag not in _NAMING_TAGS})
    plain.set_original_encoding(*header.original_encoding, header.original_character_set)
    for keyword in _ALWAYS_NAMED:
        setattr(plain, keyword, "")
    plain.file_meta = header.file_meta
    return plain


def _completed(header: FileDataset) -> FileDataset:
    """The header with what every object must name, empty where it does not (type 2, PS3.5 7.4.3).

    pydicom decodes by the character set that was read, whatever the header says from here on; but not what stands in
    sequences, so those that are copied are decoded first.
    """
    for element in (header[keyword] for keyword in COPIED if keyword.endswith("Sequence") and keyword in header):
        for item in element.value if element.VR == "SQ" else ():
            item.decode()
    header.SpecificCharacterSet = CHARACTER_SET
    for keyword in _ALWAYS_NAMED:
        if keyword not in header:
            setattr(header, keyword, "")
    return header


def identify(dataset: Dataset, source: Source, title: str) -> None:
    """Set what every object says alike: patient and study, model, moment, and the way the file is written.

    `title` is what a list of series shows. The moments that the object has become those of the result, so that it gives
    the same bytes again.
    """
    made, first = source.made, source.headers[0]
    dataset.SpecificCharacterSet = CHARACTER_SET
    for keyword in COPIED:
        if keyword in first:
            setattr(dataset, keyword, getattr(first, keyword))
    dataset.Manufacturer = "medseg"
    dataset.ManufacturerModelName = made.model.name[:64]
    dataset.DeviceSerialNumber = made.model.sha256[:16] or "0"
    dataset.SoftwareVersions = made.model.medseg_version
    dataset.SeriesDescription = f"medseg {title}"[:64]
    dataset.ContributingEquipmentSequence = [_equipment(made)]
    _set_moment(dataset, made.created)
    dataset.file_meta = file_meta(dataset)


def copy_body_part(dataset: Dataset, source: Source) -> None:
    """Say of an image which part of the body it shows, and its side, as far as the source does (PS3.3 C.7.3.1)."""
    body_part = text(source.headers[0], "BodyPartExamined")
    if body_part:
        dataset.BodyPartExamined = body_part
    dataset.Laterality = text(source.headers[0], "Laterality")


def reference_item(image: ImageReference) -> Dataset:
    """An image as an item of a reference sequence (PS3.3 10.8 and 10.3)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.sop_class, image.sop_instance
    if image.frame is not None:
        item.ReferencedFrameNumber = image.frame
    return item


def _equipment(made: Made) -> Dataset:
    """The model as contributing equipment (PS3.3 C.12.1.1.5): name, version, content hash."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [
        code_item(Code(value="109102", scheme="DCM", meaning="Processing Equipment"))
    ]
    item.Manufacturer = "medseg"
    item.ManufacturerModelName = made.model.name[:64]
    item.DeviceSerialNumber = made.model.sha256[:16] or "0"
    item.SoftwareVersions = made.model.medseg_version
    item.ContributionDateTime = made.created.strftime("%Y%m%d%H%M%S")
    item.ContributionDescription = f"model {made.model.name[:256]}, sha256 {made.model.sha256}"
    return item


def _set_moment(dataset: Any, created: datetime) -> None:
    date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
    for kind in ("Content", "Series", "InstanceCreation"):
        if f"{kind}Date" in dataset:
            setattr(dataset, f"{kind}Date", date)
            setattr(dataset, f"{kind}Time", time)
