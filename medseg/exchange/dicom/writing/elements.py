"""Small parts that all written objects share: numbers as decimal strings, codes, and who wrote the file."""

from __future__ import annotations

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from medseg.core.labels import Code

IMPLEMENTATION_UID = "2.25.204716391577853127829136402861754350237"
IMPLEMENTATION_NAME = "MEDSEG"


def decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2, VR DS) with as many digits as fit."""
    for digits in range(15, 0, -1):
        said = f"{value + 0.0:.{digits}g}"
        if len(said) <= 16:
            return said
    return f"{value:.8e}"


def code_item(code: Code) -> Dataset:
    """A code as an item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def person_name(name: str) -> str:
    """A name as a person's (PS3.5 6.2, VR PN), without the signs that have a meaning there, 64 characters at most."""
    return "".join(" " if sign in "\\=^" else sign for sign in name)[:64]


def file_meta(dataset: Dataset) -> FileMetaDataset:
    """The file's own header (PS3.10 7.1) of an object that is written uncompressed."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    return meta
