"""write_series: a volume as a plain CT, MR or PET series of single-frame files, as a scanner would send it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from medseg.core.atomic import whole_folder
from medseg.core.errors import InputError
from medseg.core.geometry import SHEAR_TOLERANCE
from medseg.core.study import Series
from medseg.core.volume import Volume
from medseg.exchange.dicom.patient_axes import ras_to_lps
from medseg.exchange.dicom.uids import uid_from
from medseg.exchange.dicom.writing.elements import decimal, file_meta
from medseg.exchange.scan import volume_sha256

_SOP_CLASSES = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}
_PET_UNITS = {"SUVbw": "GML", "Bq/ml": "BQML", "arbitrary": "CNTS", "HU": "CNTS"}
_THIRD_IMAGE_TYPE: dict[str, list[str]] = {"CT": ["AXIAL"], "MR": ["OTHER"], "PT": []}
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, slots=True)
class _Stored:
    """Voxels as they stand in the files, and the slope and intercept that give the values back."""

    array: NDArray[np.int16]
    slope: float
    intercept: float


def write_series(volume: Volume, folder: Path, series: Series, *, date: str = "20000101") -> tuple[Path, ...]:
    """The files written, one a slice along k, rows along j and columns along i; the folder appears whole or not at all.

    Whole numbers within int16 are kept exactly; CT fractions are rounded to whole HU, as scanners do; other fractions
    are kept to one part in 65,000 of their range. UIDs that the series does not give follow from the content, so the
    same volume gives the same files. i and j must be at right angles; k may be tilted (a CT gantry).

    Raises InputError for a modality other than CT, MR, PT, or a grid that single-frame images cannot say.
    """
    if series.modality not in _SOP_CLASSES:
        raise InputError(f"a series of modality {series.modality} is not written; choose one of CT, MR, PT")
    directions = volume.geometry.directions
    if abs(float(directions[:, 0] @ directions[:, 1])) > SHEAR_TOLERANCE:
        raise InputError("rows and columns of this grid are not at right angles, which DICOM cannot say. Resample it.")
    stored = _stored(volume, series.modality)
    common = _common(volume, series, stored, date)
    count = volume.geometry.shape[2]
    names = [f"IM{k + 1:05d}.dcm" for k in range(count)]
    with whole_folder(folder) as temporary:
        for k, name in enumerate(names):
            _slice(common, volume, stored, k).save_as(temporary / name, enforce_file_format=True)
    return tuple(folder / name for name in names)


def _stored(volume: Volume, modality: str) -> _Stored:
    array = volume.array
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise InputError("the volume holds voxels that are not finite numbers, which DICOM integers cannot say")
        whole = np.rint(array)
        if modality != "CT" and not np.array_equal(whole, array):
            return _scaled(array, modality)
        array = whole
    low, high = float(array.min()), float(array.max())
    if low >= _INT16.min and high <= _INT16.max:
        return _Stored(array.astype(np.int16), 1.0, 0.0)
    return _scaled(array, modality)


def _scaled(array: NDArray[Any], modality: str) -> _Stored:
    low, high = float(array.min()), float(array.max())
    if modality == "PT":  # its intercept is always 0 (PS3.3 C.8.9.4)
        high = max(abs(low), abs(high))
        low = -high
    # a decimal string has 16 characters: slope and intercept are rounded to what can be written before they are used
    slope = float(f"{(high - low) / 65000 or 1.0:.9e}")
    intercept = float(f"{(high + low) / 2:.8e}")
    stored = np.clip(np.rint((array.astype(np.float64) - intercept) / slope), _INT16.min, _INT16.max)
    return _Stored(stored.astype(np.int16), slope, intercept)


def _common(volume: Volume, series: Series, stored: _Stored, date: str) -> Dataset:
    """The attributes that all slices share (PS3.3 A.3, A.4, A.21)."""
    study = series.study
    content = volume_sha256(volume)
    study_uid = study.study_uid or uid_from("study", study.patient_id, study.date, content)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = _SOP_CLASSES[series.modality]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", *_THIRD_IMAGE_TYPE[series.modality]]
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = study.date or date
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "120000"
    dataset.AccessionNumber = ""
    dataset.Modality = series.modality
    dataset.Manufacturer = "medseg"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = study.description[:64]
    dataset.SeriesDescription = series.description[:64]
    dataset.PatientName = study.patient_name
    dataset.PatientID = study.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.BodyPartExamined = series.body_part[:16].upper()
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = series.series_uid or uid_from("series", study_uid, series.description, content)
    dataset.StudyID = "1"
    dataset.SeriesNumber = 1
    dataset.AcquisitionNumber = 1
    if series.modality != "PT":  # PET says it by codes (PS3.3 C.8.9.5)
        dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = volume.geometry.frame_of_reference or uid_from("frame of reference", study_uid)
    dataset.PositionReferenceIndicator = ""
    dataset.update(_modality_attributes(volume, series))
    dataset.update(_pixel_attributes(volume))
    if series.modality != "MR" or (stored.slope, stored.intercept) != (1.0, 0.0):
        dataset.RescaleIntercept = decimal(stored.intercept)
        dataset.RescaleSlope = decimal(stored.slope)
    if series.modality == "CT":
        dataset.RescaleType = "HU" if volume.unit == "HU" else "US"
    return dataset


def _modality_attributes(volume: Volume, series: Series) -> Dataset:
    dataset = Dataset()
    if series.modality == "CT":
        dataset.KVP = "120"
        dataset.LossyImageCompression = "00"
    elif series.modality == "MR":
        dataset.ScanningSequence = "GR"
        dataset.SequenceVariant = "NONE"
        dataset.ScanOptions = ""
        dataset.MRAcquisitionType = "3D"
        dataset.RepetitionTime = "10"
        dataset.EchoTime = "3"
        dataset.EchoTrainLength = 1
        dataset.FlipAngle = "15"
    else:
        dataset.Units = _PET_UNITS[volume.unit]
        dataset.CountsSource = "EMISSION"
        dataset.SeriesType = ["WHOLE BODY", "IMAGE"]
        dataset.NumberOfSlices = volume.geometry.shape[2]
        dataset.CorrectedImage = ["ATTN", "DECY"]
        dataset.DecayCorrection = "START"
        dataset.DecayFactor = "1"
        dataset.CollimatorType = "NONE"
        dataset.ActualFrameDuration = 60000
        dataset.FrameReferenceTime = "0"
        dataset.RadiopharmaceuticalInformationSequence = []
        dataset.PatientGantryRelationshipCodeSequence = []
        dataset.PatientOrientationCodeSequence = []
    return dataset


def _pixel_attributes(volume: Volume) -> Dataset:
    spacing_i, spacing_j, spacing_k = volume.geometry.spacing_mm
    directions = ras_to_lps(volume.geometry.directions.T)
    dataset = Dataset()
    dataset.SliceThickness = decimal(spacing_k)
    dataset.ImageOrientationPatient = [decimal(value) for value in (*directions[0], *directions[1])]
    dataset.PixelSpacing = [decimal(spacing_j), decimal(spacing_i)]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = volume.geometry.shape[1]
    dataset.Columns = volume.geometry.shape[0]
    dataset.BitsAllocated = 16
    dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    return dataset


def _slice(common: Dataset, volume: Volume, stored: _Stored, k: int) -> Dataset:
    position = ras_to_lps(volume.geometry.world((0, 0, k)))
    dataset = Dataset()
    dataset.update(common)
    dataset.SOPInstanceUID = uid_from("instance", common.SeriesInstanceUID, str(k))
    dataset.InstanceNumber = k + 1
    dataset.ImagePositionPatient = [decimal(value) for value in position]
    if common.Modality == "PT":
        dataset.ImageIndex = k + 1
    plane = np.ascontiguousarray(stored.array[:, :, k].T, dtype="<i2")
    dataset.add_new("PixelData", "OW", plane.tobytes())
    dataset.file_meta = file_meta(dataset)
    return dataset
