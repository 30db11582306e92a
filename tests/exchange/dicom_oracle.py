"""Made DICOM series whose every voxel tells where it lies: HU = round(2x + 3y + 5z) of its place in RAS+ mm.

One flip, one wrong slice, one wrong spacing or one inverted value is seen in whatever array and affine a reader
returns. Nothing here uses the library's own arithmetic: positions and values are written out in LPS+ by hand.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medseg.core.volume import Volume

Vector = tuple[float, float, float]

WEIGHTS = np.array([2.0, 3.0, 5.0])
AXIAL: tuple[Vector, Vector] = ((1, 0, 0), (0, 1, 0))
PRONE: tuple[Vector, Vector] = ((-1, 0, 0), (0, -1, 0))
CORONAL: tuple[Vector, Vector] = ((1, 0, 0), (0, 0, -1))
SAGITTAL: tuple[Vector, Vector] = ((0, 1, 0), (0, 0, -1))
HTJ2K_NAME = "1.2.840.10008.1.2.4.201"
JPEG_XL_NAME = "1.2.840.10008.1.2.4.110"
ROOT = "1.2.826.0.1.3680043.10.1."


def turned(seed: int) -> tuple[Vector, Vector]:
    """Row and column directions of a random oblique plane."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    row, column = rotation[:, 0], rotation[:, 1]
    return (row[0], row[1], row[2]), (column[0], column[1], column[2])


@dataclass(frozen=True)
class Storage:
    """How values are kept in the file: stored = (value - intercept) / slope in the low bits."""

    allocated: int = 16
    stored: int = 16
    high: int | None = None
    signed: bool = True
    slope: float = 1.0
    intercept: float = 0.0
    junk: int = 0

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.unsignedinteger]:
        numbers = np.rint((values - self.intercept) / self.slope).astype(np.int64)
        low = -(1 << (self.stored - 1)) if self.signed else 0
        assert low <= numbers.min()
        assert numbers.max() < low + (1 << self.stored)
        shift = (self.stored - 1 if self.high is None else self.high) - self.stored + 1
        words = (numbers & ((1 << self.stored) - 1)) << shift
        if self.junk:
            words |= (self.junk << (shift + self.stored)) & ((1 << self.allocated) - 1)
        kind: NDArray[np.unsignedinteger] = words.astype(f"u{self.allocated // 8}")
        return kind


UNSIGNED = Storage(signed=False, intercept=-1024.0)
"""As most CT scanners store."""


@dataclass(frozen=True)
class Grid:
    """Where a made series lies: LPS+ origin, directions, spacings in mm, and a sideways shift a slice (gantry tilt)."""

    count: int = 6
    rows: int = 10
    columns: int = 8
    row_spacing: float = 0.9
    column_spacing: float = 0.7
    step: float = 2.5
    tilt: float = 0.0
    directions: tuple[Vector, Vector] = AXIAL
    origin: Vector = (-11.3, 7.9, 21.7)

    def position(self, k: float) -> NDArray[np.float64]:
        row, column = np.array(self.directions[0]), np.array(self.directions[1])
        normal = np.cross(row, column)
        place: NDArray[np.float64] = np.array(self.origin) + k * (self.step * normal + self.tilt * column)
        return place


def values_at(
    position: NDArray[np.float64], directions: tuple[Vector, Vector], grid: Grid, offset: float = 0.0
) -> NDArray[np.float64]:
    """HU of the plane (rows, columns) whose first pixel lies at this LPS+ position."""
    row, column = np.array(directions[0]), np.array(directions[1])
    j, i = np.mgrid[: grid.rows, : grid.columns]
    lps = position + i[..., None] * grid.column_spacing * row + j[..., None] * grid.row_spacing * column
    ras = lps * (-1, -1, 1)
    plane: NDArray[np.float64] = np.rint(ras @ WEIGHTS) + offset
    return plane


def ds(value: float) -> str:
    """A decimal string of 16 characters at most."""
    text = f"{value + 0.0:.15g}"
    digits = 15
    while len(text) > 16:
        digits -= 1
        text = f"{value:.{digits}g}"
    return text


def made_slice(
    grid: Grid, k: float, storage: Storage = UNSIGNED, *, offset: float = 0.0, jitter: Sequence[float] = (0, 0, 0)
) -> Dataset:
    """One axial CT image of the series, slice k of the grid, jittered in truth and header alike."""
    position = grid.position(k) + np.array(jitter, dtype=float)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{ROOT}3.{round(offset) + 5000}.{round(k * 1000)}"
    dataset.StudyInstanceUID = ROOT + "1"
    dataset.SeriesInstanceUID = ROOT + "2"
    dataset.FrameOfReferenceUID = ROOT + "4"
    dataset.Modality = "CT"
    dataset.PatientID = "MADE"
    dataset.PatientName = "Made^Series"
    dataset.SeriesNumber = 3
    dataset.SeriesDescription = "made"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber = round(k) + 1
    dataset.AcquisitionNumber = 1
    dataset.ImagePositionPatient = [ds(value) for value in position]
    dataset.ImageOrientationPatient = [ds(value) for axis in grid.directions for value in axis]
    dataset.PixelSpacing = [ds(grid.row_spacing), ds(grid.column_spacing)]
    dataset.SliceThickness = ds(grid.step)
    store(dataset, values_at(position, grid.directions, grid, offset), storage)
    return dataset


def store(dataset: Dataset, values: NDArray[np.float64], storage: Storage) -> None:
    """Put these values into the dataset's pixels."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.BitsAllocated = storage.allocated
    dataset.BitsStored = storage.stored
    dataset.HighBit = storage.stored - 1 if storage.high is None else storage.high
    dataset.PixelRepresentation = int(storage.signed)
    dataset.RescaleSlope = ds(storage.slope)
    dataset.RescaleIntercept = ds(storage.intercept)
    dataset.RescaleType = "HU"
    words = storage.encode(values)
    data = words.astype(words.dtype.newbyteorder("<")).tobytes()
    dataset.add_new("PixelData", "OW" if storage.allocated > 8 else "OB", data + b"\0" * (len(data) % 2))


def made_series(grid: Grid | None = None, storage: Storage = UNSIGNED, *, offset: float = 0.0) -> list[Dataset]:
    """All slices of a grid, in order."""
    grid = grid or Grid()
    return [made_slice(grid, k, storage, offset=offset) for k in range(grid.count)]


def words_of(dataset: Dataset) -> NDArray[np.unsignedinteger]:
    """The allocated words (frames, rows, columns) of a native dataset."""
    count = int(dataset.get("NumberOfFrames", 1))
    pixels = np.frombuffer(dataset.PixelData, dtype=f"<u{dataset.BitsAllocated // 8}")
    words: NDArray[np.unsignedinteger] = pixels[: count * dataset.Rows * dataset.Columns].reshape(
        count, dataset.Rows, dataset.Columns
    )
    return words


Encoder = Callable[[NDArray[np.unsignedinteger], Dataset], bytes]


def compress(dataset: Dataset, encode: Encoder, fragments: int = 1, has_table: bool = True) -> Dataset:
    """The dataset with its frames compressed by `encode`, in as many fragments a frame."""
    frames = [encode(words, dataset) for words in words_of(dataset)]
    dataset.add_new("PixelData", "OB", encapsulate(frames, fragments_per_frame=fragments, has_bot=has_table))
    dataset["PixelData"].is_undefined_length = True
    return dataset


def rle(words: NDArray[np.unsignedinteger], dataset: Dataset) -> bytes:
    planes = words.astype(words.dtype.newbyteorder(">")).reshape(-1).view("u1").reshape(-1, words.dtype.itemsize).T
    segments = []
    for plane in planes:
        packed = b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in plane.reshape(words.shape[-2:]))
        segments.append(packed + b"\0" * (len(packed) % 2))
    starts, place = [], 64
    for segment in segments:
        starts.append(place)
        place += len(segment)
    header = np.zeros(16, dtype="<u4")
    header[: len(starts) + 1] = [len(starts), *starts]
    return header.tobytes() + b"".join(segments)


def jpeg(words: NDArray[np.unsignedinteger], dataset: Dataset) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(words, level=100, bitspersample=dataset.BitsStored))


def jpeg_lossless(words: NDArray[np.unsignedinteger], dataset: Dataset) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(words, lossless=True, bitspersample=dataset.BitsStored))


def jpeg_ls(words: NDArray[np.unsignedinteger], dataset: Dataset) -> bytes:
    return bytes(imagecodecs.jpegls_encode(words))


def jpeg_2000(words: NDArray[np.unsignedinteger], dataset: Dataset) -> bytes:
    pixels = words.view(f"i{words.dtype.itemsize}") if dataset.PixelRepresentation else words
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, level=0))


def jpeg_2000_of_codes(words: NDArray[np.unsignedinteger], dataset: Dataset) -> bytes:
    """Signed numbers kept as unsigned codes, as some archives do."""
    return bytes(imagecodecs.jpeg2k_encode(words, codecformat="j2k", reversible=True, level=0))


def htj2k(words: NDArray[np.unsignedinteger], dataset: Dataset) -> bytes:
    return bytes(
        imagecodecs.htj2k_encode(words.view(f"i{words.dtype.itemsize}") if dataset.PixelRepresentation else words)
    )


def jpeg_xl(words: NDArray[np.unsignedinteger], dataset: Dataset) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(words, lossless=True))


def save(dataset: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian, *, preamble: bool = True) -> Path:
    """Write the dataset as a file of this transfer syntax."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    # pydicom writes only what it knows: JPEG XL goes out under another name of the same length
    dataset.file_meta.TransferSyntaxUID = HTJ2K_NAME if syntax == JPEG_XL_NAME else syntax
    if syntax == ExplicitVRBigEndian and dataset.BitsAllocated > 8:
        size = dataset.BitsAllocated // 8
        dataset.PixelData = np.frombuffer(dataset.PixelData, dtype=f"<u{size}").astype(f">u{size}").tobytes()
    if not preamble:
        del dataset.file_meta
        pydicom.dcmwrite(
            path, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True, enforce_file_format=False
        )
        return path
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    if syntax == JPEG_XL_NAME:
        path.write_bytes(path.read_bytes().replace(HTJ2K_NAME.encode(), JPEG_XL_NAME.encode(), 1))
    return path


def save_all(
    datasets: Sequence[Dataset], folder: Path, syntax: str = ExplicitVRLittleEndian, *, preamble: bool = True
) -> Path:
    """Write every dataset, named in order, and return the folder."""
    for number, dataset in enumerate(datasets):
        save(dataset, folder / f"{number:04d}.dcm", syntax, preamble=preamble)
    return folder


def deflate_bomb(path: Path, size: int) -> Path:
    """A deflated DICOM file that inflates to `size` bytes of zeros."""
    dataset = made_slice(Grid(), 0)
    save(dataset, path, DeflatedExplicitVRLittleEndian)
    head = path.read_bytes()
    start = 128 + 4 + 12 + int(pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = b"\0" * (1 << 20)
    body = b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()
    path.write_bytes(head[:start] + body)
    return path


def enhanced(slices: Sequence[Dataset], *, keep_rescale_per_frame: bool = True) -> Dataset:
    """One enhanced multi-frame CT of single-frame slices (PS3.3 A.38), positions and rescale in functional groups."""
    first = slices[0]
    dataset = Dataset()
    dataset.update({element.tag: element for element in first if element.keyword not in _PER_FRAME})
    dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.SOPInstanceUID = first.SOPInstanceUID + ".7"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = len(slices)
    shared = Dataset()
    shared.PlaneOrientationSequence = [_part(first, "ImageOrientationPatient")]
    shared.PixelMeasuresSequence = [_part(first, "PixelSpacing", "SliceThickness")]
    if not keep_rescale_per_frame:
        shared.PixelValueTransformationSequence = [_part(first, "RescaleSlope", "RescaleIntercept", "RescaleType")]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame_group(one, number, keep_rescale_per_frame) for number, one in enumerate(slices)
    ]
    dataset.add_new("PixelData", "OW", b"".join(one.PixelData for one in slices))
    return dataset


_PER_FRAME = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "PixelData", "InstanceNumber", "AcquisitionNumber",
)  # fmt: skip


def _frame_group(one: Dataset, number: int, has_rescale: bool) -> Dataset:
    group = Dataset()
    content = Dataset()
    content.FrameAcquisitionNumber = one.AcquisitionNumber
    if "TemporalPositionIndex" in one:
        content.TemporalPositionIndex = one.TemporalPositionIndex
    content.StackID = "1"
    content.InStackPositionNumber = number + 1
    group.FrameContentSequence = [content]
    group.PlanePositionSequence = [_part(one, "ImagePositionPatient")]
    if has_rescale:
        group.PixelValueTransformationSequence = [_part(one, "RescaleSlope", "RescaleIntercept", "RescaleType")]
    return group


def _part(source: Dataset, *keywords: str) -> Dataset:
    part = Dataset()
    for keyword in keywords:
        setattr(part, keyword, getattr(source, keyword))
    return part


def error_of(volume: Volume, offset: float = 0.0) -> float:
    """How far the worst voxel lies from the value of its own place; at most 0.5 by rounding where all is right."""
    i, j, k = np.indices(volume.array.shape)
    index = np.stack([i, j, k], axis=-1).astype(float)
    world = index @ volume.geometry.affine[:3, :3].T + volume.geometry.affine[:3, 3]
    return float(np.abs(volume.array - (world @ WEIGHTS + offset)).max())


def small(grid: Grid) -> Grid:
    """The same grid with values that fit eight bits."""
    return replace(grid, count=4, rows=6, columns=5, origin=(-30.0, -10.0, 1.0))
