"""deidentify: DICOM images without what names the patient, by a list of what may stay (PS3.15 Annex E).

What is not on the list goes, so a private element or a field that nobody thought of cannot leak. UIDs are replaced
alike everywhere, dates are moved by the same number of days for one patient, and every byte that is written is
searched for what stood in the input.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from medseg.core.atomic import whole_folder
from medseg.core.errors import InputError
from medseg.exchange.dicom.elements import lenient, text
from medseg.exchange.dicom.files import find_files, is_dicom, read_dataset, sop_class, transfer_syntax
from medseg.exchange.dicom.reading.kinds import a_kind_of, kind_of
from medseg.exchange.dicom.writing.elements import IMPLEMENTATION_NAME, IMPLEMENTATION_UID

_KEPT_KEYWORDS = """
SpecificCharacterSet ImageType SOPClassUID Modality Manufacturer ManufacturerModelName PatientSex PatientAge
PatientSize PatientWeight BodyPartExamined ScanningSequence SequenceVariant ScanOptions MRAcquisitionType
SliceThickness KVP RepetitionTime EchoTime InversionTime NumberOfAverages ImagingFrequency ImagedNucleus
EchoNumbers MagneticFieldStrength SpacingBetweenSlices EchoTrainLength DataCollectionDiameter
ReconstructionDiameter GantryDetectorTilt TableHeight RotationDirection ExposureTime XRayTubeCurrent
Exposure ConvolutionKernel FlipAngle PatientPosition SliceLocation ImagePositionPatient
ImageOrientationPatient PixelSpacing InstanceNumber SeriesNumber AcquisitionNumber
TemporalPositionIdentifier NumberOfTemporalPositions TemporalPositionIndex StackID InStackPositionNumber
DimensionIndexValues PositionReferenceIndicator Laterality ImageLaterality SamplesPerPixel
PhotometricInterpretation PlanarConfiguration Rows Columns NumberOfFrames BitsAllocated BitsStored HighBit
PixelRepresentation SmallestImagePixelValue LargestImagePixelValue PixelPaddingValue WindowCenter
WindowWidth RescaleIntercept RescaleSlope RescaleType LossyImageCompression LossyImageCompressionRatio
LossyImageCompressionMethod ContrastBolusAgent Units CountsSource CorrectedImage DecayCorrection SUVType
SeriesType CollimatorType ActualFrameDuration FrameReferenceTime DecayFactor ImageIndex NumberOfSlices
RadionuclideTotalDose RadionuclideHalfLife RadionuclidePositronFraction RadiopharmaceuticalStartTime
RadiopharmaceuticalVolume Radiopharmaceutical TriggerTime NominalPercentageOfCardiacPhase DiffusionBValue
DiffusionGradientOrientation FrameType ComplexImageComponent PixelData FloatPixelData DoubleFloatPixelData
CodeValue CodingSchemeDesignator CodeMeaning LUTDescriptor LUTData ModalityLUTType EffectiveEchoTime
VolumetricProperties VolumeBasedCalculationTechnique AcquisitionContrast PixelPresentation
FrameAcquisitionNumber PatientAgeAtStudy BurnedInAnnotation
"""
_KEPT_SEQUENCE_KEYWORDS = """
SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PlanePositionSequence
PlaneOrientationSequence PixelMeasuresSequence PixelValueTransformationSequence FrameContentSequence
CTImageFrameTypeSequence MRImageFrameTypeSequence MREchoSequence MRDiffusionSequence ModalityLUTSequence
RadionuclideCodeSequence RadiopharmaceuticalInformationSequence RadiopharmaceuticalCodeSequence
CardiacSynchronizationSequence FrameAnatomySequence AnatomicRegionSequence
"""

KEPT = frozenset(_KEPT_KEYWORDS.split())
"""Elements that stay as they are: how the image was made and how its pixels are to be read."""

KEPT_SEQUENCES = frozenset(_KEPT_SEQUENCE_KEYWORDS.split())
"""Sequences that stay, cleaned inside by the same rule."""

REPLACED_UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")

MOVED_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
KEPT_TIMES = ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime")

_METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
_SHORTEST_SECRET = 16
_SHORTEST_IDENTIFIER = 4
IDENTIFYING_VRS = ("PN", "LO", "SH", "ST", "LT", "UT", "DA", "DT", "UI", "AE")
_MOST_DAYS = 3650
_STANDARD_UIDS = "1.2.840.10008."  # what DICOM itself has named tells nothing of a patient


@dataclass(frozen=True, slots=True)
class Deidentified:
    """How many files were written, and which were left out and why; names of input files appear nowhere else."""

    written: int
    left_out: tuple[tuple[Path, str], ...]


def deidentify(source: Path, target: Path, secret: bytes) -> Deidentified:
    """The images under `source`, without what names the patient, as a folder that appears whole or not at all.

    Pseudonyms, UIDs and date shifts follow from `secret` (16 bytes and more, to be kept): the same patient stays the
    same patient, and nobody without it can tell who. Captures, reports and images with burned-in text are left out.

    Raises InputError for a short secret, nothing to write, or an identifier of the input found in what was written.
    """
    if len(secret) < _SHORTEST_SECRET:
        raise InputError(f"the secret has {len(secret)} bytes; {_SHORTEST_SECRET} and more are needed")
    written, left_out = 0, []
    with whole_folder(target) as folder, lenient():
        for file in find_files(source):
            reason = _reason_to_leave_out(file)
            if reason:
                left_out.append((file, reason))
                continue
            dataset = read_dataset(file, with_pixels=True)
            clean = _clean_file(dataset, secret)
            place = folder / f"{written:06d}.dcm"  # names never come from the input
            clean.save_as(place, enforce_file_format=True)
            _require_no_leak(dataset, place.read_bytes(), file)
            written += 1
        if not written:
            raise InputError(
                f"{source} holds no image that can be de-identified" + (f": {left_out[0][1]}" if left_out else "")
            )
    return Deidentified(written, tuple(left_out))


def _reason_to_leave_out(file: Path) -> str:
    if not is_dicom(file):
        return "it is not DICOM"
    try:
        header = read_dataset(file)
    except InputError as error:
        return str(error)
    if kind_of(header) != "image":
        return f"it is {a_kind_of(header)}"
    if text(header, "BurnedInAnnotation").upper() == "YES":
        return "text is burned into its pixels"
    if sop_class(header).startswith("1.2.840.10008.5.1.4.1.1.7") or text(header, "SamplesPerPixel") not in ("", "1"):
        return "it is a capture or a colour image, which may show the patient's name"
    return ""


def _clean_file(dataset: FileDataset, secret: bytes) -> Dataset:
    clean = _clean(dataset, secret)
    days = _days(text(dataset, "PatientID"), secret)
    for keyword in MOVED_DATES:
        if keyword in dataset:
            setattr(clean, keyword, _moved(text(dataset, keyword), days))
    for keyword in KEPT_TIMES:
        if keyword in dataset:
            setattr(clean, keyword, text(dataset, keyword))
    for keyword in REPLACED_UIDS:
        if keyword in dataset:
            setattr(clean, keyword, _uid(text(dataset, keyword), secret))
    clean.PatientID = clean.PatientName = _keyed(secret, "patient", text(dataset, "PatientID"))[:16].upper()
    clean.PatientBirthDate = clean.AccessionNumber = clean.StudyID = clean.ReferringPhysicianName = ""
    if text(clean, "PatientAge") > "089Y":
        clean.PatientAge = "090Y"
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = "medseg: kept by list, UIDs and dates replaced"
    clean.DeidentificationMethodCodeSequence = [_method(value, meaning) for value, meaning in _METHODS]
    clean.LongitudinalTemporalInformationModified = "MODIFIED"
    clean.file_meta = FileMetaDataset()
    clean.file_meta.MediaStorageSOPClassUID = sop_class(dataset)
    clean.file_meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    syntax = transfer_syntax(dataset)
    # deflated bytes cannot be searched for names: they are written plainly
    is_plain = syntax in ("", DeflatedExplicitVRLittleEndian)
    clean.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if is_plain else UID(syntax)
    clean.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
    clean.file_meta.ImplementationVersionName = IMPLEMENTATION_NAME
    return clean


def _clean(dataset: Dataset, secret: bytes) -> Dataset:
    """A dataset of what may stay, in sequences too."""
    clean = Dataset()
    for element in dataset:
        if element.keyword in KEPT:
            clean.add(DataElement(element.tag, element.VR, element.value))
            if element.keyword == "PixelData":
                clean["PixelData"].is_undefined_length = element.is_undefined_length
        elif element.keyword in KEPT_SEQUENCES:
            clean.add(DataElement(element.tag, "SQ", [_clean(item, secret) for item in element.value]))
    return clean


def _method(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _keyed(secret: bytes, kind: str, value: str) -> str:
    return hmac.new(secret, f"{kind}\x1f{value}".encode(), hashlib.sha256).hexdigest()


def _uid(uid: str, secret: bytes) -> str:
    return f"2.25.{int(_keyed(secret, 'uid', uid)[:32], 16)}"


def _days(patient_id: str, secret: bytes) -> int:
    return 1 + int(_keyed(secret, "days", patient_id)[:8], 16) % _MOST_DAYS


def _moved(date: str, days: int) -> str:
    try:
        return (datetime.strptime(date, "%Y%m%d") - timedelta(days=days)).strftime("%Y%m%d")  # noqa: DTZ007 - a day only
    except (ValueError, OverflowError):
        return ""


def _require_no_leak(original: Dataset, written: bytes, file: Path) -> None:
    """Refuse a written file where a piece of the input's names, numbers, dates or UIDs stands outside the pixels."""
    searched = _without_pixels(original, written).lower()
    for name, value in _identifiers(original):
        for encoding in ("utf-8", "latin-1"):
            try:
                piece = value.lower().encode(encoding)
            except UnicodeEncodeError:
                continue
            if piece in searched:
                raise InputError(f"{file}: its {name} would stand in the de-identified file; nothing was written")


def _without_pixels(original: Dataset, written: bytes) -> bytes:
    """The written bytes less the pixel data, in which any short word occurs by chance."""
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        pixels = bytes(original[keyword].value or b"") if keyword in original else b""
        place = written.rfind(pixels) if pixels else -1
        if place >= 0:
            written = written[:place] + written[place + len(pixels) :]
    return written


def _identifiers(dataset: Dataset) -> set[tuple[str, str]]:
    """Names of elements that do not stay, and their values and words of values, long enough to be told by."""
    found: set[tuple[str, str]] = set()
    staying = _staying_words(dataset)
    for element in dataset.iterall():
        if element.keyword in KEPT or element.VR not in IDENTIFYING_VRS:
            continue
        name = element.keyword or "private element"
        for part in str(element.value).replace("^", " ").replace("\\", " ").replace("=", " ").split():
            word = part.strip("[]'\",;:()")
            if len(word) < _SHORTEST_IDENTIFIER or word.startswith(_STANDARD_UIDS):
                continue
            if word.lower() not in staying:
                found.add((name, word))
    return found


def _staying_words(dataset: Dataset) -> set[str]:
    """Words that also stand in what stays (a maker's name, a code), and so tell nothing."""
    words: set[str] = {"medseg"}
    for element in dataset.iterall():
        if element.keyword in KEPT and element.VR not in ("OB", "OW", "OF", "OD", "OB or OW"):
            for part in str(element.value).replace("\\", " ").replace("^", " ").split():
                words.add(part.strip("[]'\",;:()").lower())
    for _, meaning in _METHODS:
        words.update(meaning.lower().split())
    return words
