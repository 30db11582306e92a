"""What a DICOM object is, in a word, by its SOP class (PS3.6 Annex A)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import UID

from medseg.exchange.dicom.files import sop_class

_KINDS = (
    ("1.2.840.10008.5.1.4.1.1.66.4", "segmentation"),
    ("1.2.840.10008.5.1.4.1.1.66.7", "segmentation"),
    ("1.2.840.10008.5.1.4.1.1.481.3", "structure set"),
    ("1.2.840.10008.5.1.4.1.1.481.2", "radiotherapy dose"),
    ("1.2.840.10008.5.1.4.1.1.481.", "radiotherapy object"),
    ("1.2.840.10008.5.1.4.1.1.88.", "structured report"),
    ("1.2.840.10008.5.1.4.1.1.104.", "encapsulated document"),
    ("1.2.840.10008.5.1.4.1.1.11.", "presentation state"),
    ("1.2.840.10008.5.1.4.1.1.30", "parametric map"),
    ("1.2.840.10008.5.1.4.1.1.66", "spatial object"),
    ("1.2.840.10008.5.1.4.1.1.67", "real world value map"),
    ("1.2.840.10008.5.1.4.1.1.9.", "waveform"),
    ("1.2.840.10008.1.3.10", "directory of a medium (DICOMDIR)"),
)
"""SOP class, or its beginning where it ends in a dot, and the kind; the first that fits counts."""


def kind_of(header: Dataset) -> str:
    """What an object is; "image" for what may be a slice or the frames of a scan."""
    uid = sop_class(header)
    for beginning, kind in _KINDS:
        if uid == beginning or (beginning.endswith(".") and uid.startswith(beginning)):
            return kind
    if "Rows" in header or "Image Storage" in UID(uid).name:
        return "image"
    return UID(uid).name if UID(uid).name != uid else "DICOM object of an unknown class"


def a_kind_of(header: Dataset) -> str:
    """What an object is, with its article: "an image"."""
    kind = kind_of(header)
    return f"an {kind}" if kind[:1].lower() in "aeiou" else f"a {kind}"
