"""DICOM files on disk: which files are DICOM, and their datasets, read with caps."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from medseg.core.atomic import is_unfinished
from medseg.core.errors import InputError
from medseg.exchange.dicom.elements import DAMAGE, lenient, text

MOST_FILES = 100_000
MOST_FILE_BYTES = 4 << 30
MOST_INFLATED_BYTES = 1 << 30
MOST_INFLATION = 250
"""Images inflate by 2 to 20; more is a bomb ..."""
LEAST_INFLATED_BYTES = 32 << 20
"""... unless all of it is small."""

_PREAMBLE = 128
_MAGIC = b"DICM"
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")


def is_dicom(path: Path) -> bool:
    """Whether a file begins as a DICOM file does: with a preamble, or without one with group 2 or 8."""
    try:
        with path.open("rb") as file:
            head = file.read(_PREAMBLE + 4)
    except OSError:
        return False
    if head[_PREAMBLE:] == _MAGIC:
        return True
    # without a preamble: the first element's number is small and its value representation, if any, is two letters
    return len(head) >= 16 and head[:2] in _FIRST_GROUPS and (head[4:6].isalpha() or head[6:8] == b"\0\0")


def find_files(path: Path) -> tuple[Path, ...]:
    """Every regular file under a folder, sorted by name, or the file itself; hidden and unfinished ones are left out.

    Links are not followed. Raises InputError above MOST_FILES.
    """
    if path.is_file():
        return (path,)
    found = []
    for entry in path.rglob("*"):
        hidden = any(part.startswith(".") for part in entry.relative_to(path).parts)
        if hidden or entry.is_symlink() or is_unfinished(entry) or not entry.is_file():
            continue
        found.append(entry)
        if len(found) > MOST_FILES:
            raise InputError(f"{path} holds more than {MOST_FILES} files. Give the folder of one study or series.")
    return tuple(sorted(found))


def read_dataset(path: Path, *, with_pixels: bool = False) -> FileDataset:
    """The dataset of a DICOM file, without its pixel data unless asked for.

    Raises InputError where the file is not DICOM, too large or damaged.
    """
    if path.stat().st_size > MOST_FILE_BYTES:
        raise InputError(f"{path.name} has {path.stat().st_size / 2**30:.1f} GiB; files up to 4 GiB are read")
    try:
        with lenient():
            dataset = _read(path, with_pixels)
    except InvalidDicomError as error:
        raise InputError(f"{path.name} is not a DICOM file: it has neither a preamble nor a first element") from error
    except (*DAMAGE, zlib.error) as error:
        raise InputError(f"{path.name} is damaged: {_reason(error)}. Send the file again.") from error
    if not sop_class(dataset):
        raise InputError(f"{path.name} is no DICOM object that can be used: it does not say what it is (SOPClassUID)")
    return dataset


def sop_class(dataset: Dataset) -> str:
    """The UID of what the object is, by its own word or its file's; empty where neither says."""
    said = text(dataset, "SOPClassUID")
    meta = getattr(dataset, "file_meta", None)
    return said or (text(meta, "MediaStorageSOPClassUID") if meta is not None else "")


def transfer_syntax(dataset: FileDataset) -> str:
    """The UID of the transfer syntax; empty where the file does not say."""
    try:
        return str(dataset.file_meta.get("TransferSyntaxUID", ""))
    except DAMAGE:
        return ""


def _read(path: Path, with_pixels: bool) -> FileDataset:
    if not is_dicom(path):
        raise InvalidDicomError
    with path.open("rb") as file:
        file.seek(_PREAMBLE)
        has_preamble = file.read(4) == _MAGIC
    if has_preamble and read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return _read_deflated(path, with_pixels)
    return pydicom.dcmread(path, stop_before_pixels=not with_pixels, force=not has_preamble)


def _read_deflated(path: Path, with_pixels: bool) -> FileDataset:
    """A deflated dataset (PS3.5 A.5), inflated here because pydicom inflates without a limit."""
    meta = read_file_meta_info(path)
    length = meta.get("FileMetaInformationGroupLength")
    if length is None:
        raise InputError(f"{path.name} is deflated and does not say where its header ends. Send the file again.")
    raw = path.read_bytes()
    begins = _PREAMBLE + 4 + 12 + int(length)  # the group length element itself has 12 bytes
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    most = min(MOST_INFLATED_BYTES, max(MOST_INFLATION * len(raw), LEAST_INFLATED_BYTES))
    inflated = inflater.decompress(raw[begins:], most)
    if inflater.unconsumed_tail:
        raise InputError(f"{path.name} inflates to more than {most / 2**20:.0f} MiB and was stopped")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = DicomBytesIO()
    buffer.write(b"\0" * _PREAMBLE + _MAGIC)
    pydicom.filewriter.write_file_meta_info(buffer, meta, enforce_standard=False)
    whole = io.BytesIO(buffer.getvalue() + inflated)
    return pydicom.dcmread(whole, stop_before_pixels=not with_pixels)


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "its sequences are nested deeper than any real object's"
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def sop_instance(dataset: Dataset) -> str:
    """The object's own UID; empty where it has none."""
    return text(dataset, "SOPInstanceUID")
