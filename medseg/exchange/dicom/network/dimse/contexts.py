"""What is spoken: SOP classes and transfer syntaxes accepted and proposed, as the conformance statement lists them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when the module is loaded
    StorageCommitmentPushModel,
    Verification,
)

from medseg.core.errors import InputError
from medseg.exchange.dicom.codecs.syntaxes import DECODED

RECEIVED_CLASSES: tuple[UID, ...] = (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MRImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    PositronEmissionTomographyImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
)
"""Images that a model may be for. Anything else a sender proposes is declined, so that nothing is taken and dropped."""

RECEIVED_SYNTAXES: tuple[str, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    *DECODED,
)
"""All that the series reader decodes; stored as they come."""

MOST_CONTEXTS = 128
"""Presentation contexts in one association (PS3.8 9.3.2.2)."""


def accepted_contexts() -> list[PresentationContext]:
    """What the listener accepts: images, verification, and reports of storage commitment that its sender asked for."""
    images = [build_context(sop_class, list(RECEIVED_SYNTAXES)) for sop_class in RECEIVED_CLASSES]
    commitment = build_context(StorageCommitmentPushModel)
    commitment.scu_role, commitment.scp_role = False, True
    return [*images, build_context(Verification), commitment]


def proposed_contexts(files: Iterable[Path]) -> list[PresentationContext]:
    """What must be agreed for these files: each class as it is stored, uncompressed ones as implicit too, commitment.

    Raises InputError where a file is not DICOM, or the files are of too many kinds for one association.
    """
    pairs: dict[tuple[str, str], None] = {}
    for path in files:
        sop_class, syntax = kind_of_file(path)
        pairs[sop_class, syntax] = None
        if syntax == ExplicitVRLittleEndian:
            pairs[sop_class, ImplicitVRLittleEndian] = None
    if len(pairs) >= MOST_CONTEXTS:
        raise InputError(
            f"the files are of {len(pairs)} kinds; one association can agree on {MOST_CONTEXTS}. Send fewer."
        )
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in pairs]
    return [*contexts, build_context(StorageCommitmentPushModel)]


def kind_of_file(path: Path) -> tuple[str, str]:
    """SOP class and transfer syntax by the file's own header. Raises InputError where it is no DICOM file."""
    try:
        meta = read_file_meta_info(path)
        return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except (OSError, AttributeError, ValueError, TypeError) as error:
        raise InputError(f"{path.name} cannot be sent: it is no DICOM file ({type(error).__name__}).") from error
