"""A printed report and its key images as DICOM: an encapsulated PDF (A.45.1) and a multi-frame colour capture (A.8.5).

Neither has a place in the patient; both show text, which a copy for research must not keep (BurnedInAnnotation).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, MultiFrameTrueColorSecondaryCaptureImageStorage

from medseg.core.errors import InputError
from medseg.core.labels import Code
from medseg.exchange.dicom.elements import lenient, text
from medseg.exchange.dicom.files import sop_class
from medseg.exchange.dicom.writing.elements import code_item
from medseg.exchange.dicom.writing.read_back import deliver, read_written, undelivered
from medseg.exchange.dicom.writing.source import (
    ImageReference,
    Made,
    Source,
    copy_body_part,
    identify,
    open_source,
    reference_item,
)

PDF_SERIES_NUMBER = 904
PICTURES_SERIES_NUMBER = 905

LONGEST_TITLE = 1024
MOST_WORDS = 10_240
"""A long text (PS3.5 6.2, VR LT) has at most so many characters."""

_REPORT = Code(value="126000", scheme="DCM", meaning="Imaging Measurement Report")


def write_pdf_document(pdf: bytes, title: str, path: Path, made: Made) -> None:
    """The PDF as an encapsulated document of the source's study; read back byte by byte before it appears.

    Raises InputError where the bytes are no PDF or the file does not read back the same.
    """
    if not pdf.startswith(b"%PDF"):
        raise InputError("what is to be encapsulated is no PDF")
    with lenient():
        source = open_source(made)
        dataset = _begun(source, "document", hashlib.sha256(pdf).hexdigest())
        dataset.SOPClassUID = EncapsulatedPDFStorage
        dataset.Modality, dataset.SeriesNumber = "DOC", PDF_SERIES_NUMBER
        dataset.ConversionType = "SYN"
        dataset.AcquisitionDateTime = ""
        dataset.DocumentTitle = title[:LONGEST_TITLE]
        dataset.ConceptNameCodeSequence = [code_item(_REPORT)]
        dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
        dataset.SourceInstanceSequence = [_reference(header) for header in source.headers]
        dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
        dataset.EncapsulatedDocumentLength = len(pdf)
        identify(dataset, source, f"{made.model.name}, report")
        deliver(dataset, path, source, lambda file: require_same_document(pdf, file))


def require_same_document(pdf: bytes, path: Path) -> None:
    """Refuse a written document that does not hold the PDF, or does not warn of the names in it."""
    written = read_written(path)
    if bytes(written.EncapsulatedDocument)[: int(written.EncapsulatedDocumentLength)] != pdf:
        raise undelivered("its document is not the report")
    _require_warned(written)


def write_pictures(pictures: NDArray[np.uint8], words: Sequence[str], path: Path, made: Made) -> None:
    """Pictures (frame, rows, columns, 3) in RGB as one secondary capture, with `words` said of them as its comment.

    Raises InputError where there is no picture, or the file does not read back the same.
    """
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or not len(pictures):
        raise InputError(f"key images are (frame, rows, columns, 3), at least one; got {pictures.shape}")
    comment = "\n".join(words)[:MOST_WORDS]
    with lenient():
        source = open_source(made)
        dataset = _begun(source, "key images", hashlib.sha256(pictures.tobytes() + comment.encode()).hexdigest())
        dataset.SOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
        dataset.Modality, dataset.SeriesNumber = "OT", PICTURES_SERIES_NUMBER
        dataset.ConversionType = "WSD"
        dataset.ImageType = ["DERIVED", "SECONDARY"]
        dataset.PatientOrientation = ""
        dataset.ImageComments = comment
        dataset.SourceImageSequence = [_reference(header) for header in source.headers]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pictures.shape[:3]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
        if len(pictures) > 1:
            dataset.FrameIncrementPointer = 0x00182001
            dataset.PageNumberVector = list(range(1, len(pictures) + 1))
        data = pictures.tobytes()
        dataset.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
        copy_body_part(dataset, source)
        identify(dataset, source, f"{made.model.name}, key images")
        deliver(dataset, path, source, lambda file: require_same_pictures(pictures, comment, file))


def require_same_pictures(pictures: NDArray[np.uint8], comment: str, path: Path) -> None:
    """Refuse a written capture whose pixels or comment are not those, or that does not warn of the text in it."""
    written = read_written(path)
    shape = (int(written.NumberOfFrames), written.Rows, written.Columns, written.SamplesPerPixel)
    data = bytes(written.PixelData)[: pictures.size]
    if shape != pictures.shape or data != pictures.tobytes():
        raise undelivered("its pictures are not the key images")
    if text(written, "ImageComments").splitlines() != comment.strip().splitlines():
        raise undelivered("its comment does not say the findings")
    _require_warned(written)


def _require_warned(written: Dataset) -> None:
    if text(written, "BurnedInAnnotation") != "YES":
        raise undelivered("it does not say that text is burned in")


def _begun(source: Source, kind: str, content: str) -> Dataset:
    """What both have in common; the moments are filled in when the object is identified."""
    dataset = Dataset()
    dataset.SOPInstanceUID = source.uid(kind, content)
    dataset.SeriesInstanceUID = source.uid(f"{kind} series", content)
    dataset.InstanceNumber = 1
    dataset.ContentDate = dataset.ContentTime = ""
    dataset.InstanceCreationDate = dataset.InstanceCreationTime = ""
    dataset.BurnedInAnnotation = "YES"
    return dataset


def _reference(header: Dataset) -> Dataset:
    return reference_item(ImageReference(sop_class(header), text(header, "SOPInstanceUID"), None))
