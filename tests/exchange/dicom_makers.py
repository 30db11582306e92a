"""Makers of folders that hold a made DICOM series in every state that hospitals send: right, odd, and damaged."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_oracle import (
    CORONAL,
    ROOT,
    UNSIGNED,
    Encoder,
    Grid,
    Storage,
    compress,
    deflate_bomb,
    enhanced,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls,
    made_series,
    made_slice,
    rle,
    save,
    save_all,
    store,
    turned,
    values_at,
)
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

Make = Callable[[Path], Path]

TWELVE = Storage(stored=12, signed=False, intercept=-1024.0)
SIGNED_TWELVE = Storage(stored=12, signed=True)
SIGNED = Storage()
EIGHT = Storage(allocated=8, stored=8, signed=False, intercept=-128.0)
SMALL = Grid(count=4, rows=6, columns=5, origin=(12.0, -4.0, 3.0), step=1.5)


def series(grid: Grid | None = None, storage: Storage = UNSIGNED, syntax: str = ExplicitVRLittleEndian) -> Make:
    return lambda folder: save_all(made_series(grid, storage), folder, syntax)


def changed(change: Callable[[list[Dataset]], object], grid: Grid | None = None, storage: Storage = UNSIGNED) -> Make:
    """A plain series, changed in place; what the change returns, if a list, is written instead."""

    def make(folder: Path) -> Path:
        slices = made_series(grid, storage)
        result = change(slices)
        return save_all(result if isinstance(result, list) else slices, folder)

    return make


def each(change: Callable[[Dataset, int], object], grid: Grid | None = None, storage: Storage = UNSIGNED) -> Make:
    """A plain series with one change made to every slice."""
    return changed(lambda slices: [change(one, k) for k, one in enumerate(slices)] and None, grid, storage)


def only(change: Callable[[Dataset], object], k: int = 2, storage: Storage = UNSIGNED) -> Make:
    """A plain series with one slice changed."""
    return changed(lambda slices: change(slices[k]) and None, storage=storage)


def put(**values: object) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def drop(*keywords: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for keyword in keywords:
            delattr(dataset, keyword)

    return change


# ---------------------------------------------------------------------------------------------- where slices lie


def renumbered(order: list[int]) -> Make:
    return each(lambda one, k: setattr(one, "InstanceNumber", order[k]))


def shuffled_names(folder: Path) -> Path:
    slices = made_series()
    return save_all([slices[k] for k in (3, 0, 5, 1, 4, 2)], folder)


def jittered(size: float, axis: int) -> Make:
    def make(folder: Path) -> Path:
        jitter = np.zeros((6, 3))
        jitter[2, axis] = size
        return save_all([made_slice(Grid(), k, jitter=jitter[k]) for k in range(6)], folder)

    return make


def rounded_positions(folder: Path) -> Path:
    slices = made_series(replace(Grid(), step=0.625))
    for one in slices:
        one.ImagePositionPatient = [f"{float(value):.2f}" for value in one.ImagePositionPatient]
    return save_all(slices, folder)


def six_decimals(folder: Path) -> Path:
    slices = made_series(replace(Grid(), directions=turned(3)))
    for one in slices:
        one.ImageOrientationPatient = [f"{float(value):.6f}" for value in one.ImageOrientationPatient]
    return save_all(slices, folder)


def with_twins(slices: list[Dataset]) -> list[Dataset]:
    return [*slices, deepcopy(slices[1]), deepcopy(slices[4])]


def without(*lost: int) -> Make:
    return lambda folder: save_all([made_slice(Grid(), k) for k in range(6) if k not in lost], folder)


def two_spacings(folder: Path) -> Path:
    return save_all([made_slice(Grid(), k) for k in (0, 1, 2, 3, 4.4, 5.8)], folder)


# ---------------------------------------------------------------------------------- other images in the same series


def with_others(*others: Callable[[], Dataset]) -> Make:
    return lambda folder: save_all([*made_series(), *(other() for other in others)], folder)


def localizer() -> Dataset:
    dataset = made_slice(replace(Grid(), directions=CORONAL), 40)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return dataset


def projection() -> Dataset:
    dataset = made_slice(replace(Grid(), directions=CORONAL), 41)
    dataset.ImageType = ["DERIVED", "SECONDARY", "MIP"]
    return dataset


def colour_capture() -> Dataset:
    dataset = made_slice(Grid(), 42)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = b"\x80" * (3 * dataset.Rows * dataset.Columns)
    return dataset


def capture() -> Dataset:
    dataset = made_slice(Grid(), 43)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing
    return dataset


def of_series(uid: str, number: int, description: str, grid: Grid, offset: float = 0.0) -> list[Dataset]:
    slices = made_series(grid, offset=offset)
    for one in slices:
        one.SeriesInstanceUID, one.SeriesNumber, one.SeriesDescription = uid, number, description
        one.SOPInstanceUID = f"{one.SOPInstanceUID}.{number}"
    return slices


def two_series(folder: Path) -> Path:
    both = [*of_series(ROOT + "21", 1, "thin", Grid()), *of_series(ROOT + "22", 2, "thick", SMALL, 300.0)]
    return save_all(both, folder)


def series_and_scouts(folder: Path) -> Path:
    scouts = [localizer(), localizer()]
    for number, one in enumerate(scouts):
        one.SeriesInstanceUID, one.SOPInstanceUID = ROOT + "23", f"{ROOT}23.{number}"
    return save_all([*made_series(), *scouts], folder)


def series_and_report(folder: Path) -> Path:
    report = Dataset()
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    report.SOPInstanceUID = ROOT + "88"
    report.SeriesInstanceUID = ROOT + "89"
    report.Modality = "SR"
    save(report, folder / "report.dcm")
    return save_all(made_series(), folder)


def phases(mark: Callable[[Dataset, int, int], None], count: int = 2) -> Make:
    """The same places `count` times, phase p brighter by 400 p, told apart by what `mark(slice, phase, k)` sets."""

    def make(folder: Path) -> Path:
        slices = []
        for phase in range(count):
            for k, one in enumerate(made_series(offset=400.0 * phase)):
                mark(one, phase, k)
                slices.append(one)
        return save_all(slices, folder)

    return make


def mark(keyword: str, values: Sequence[object]) -> Callable[[Dataset, int, int], None]:
    return lambda one, phase, k: setattr(one, keyword, values[phase])


def mark_two(one: Dataset, phase: int, k: int) -> None:
    one.EchoTime = str(2 + phase % 2)
    one.TemporalPositionIdentifier = phase // 2 + 1


def mark_times(one: Dataset, phase: int, k: int) -> None:
    one.AcquisitionNumber = phase * 10 + k  # differs for every image: tells nothing
    one.AcquisitionTime = f"1200{phase:02d}"


# --------------------------------------------------------------------------------------------- how values are stored


def rescaled_each(folder: Path) -> Path:
    grid = Grid()
    return save_all(
        [made_slice(grid, k, Storage(slope=0.5 ** (k % 3), intercept=-7.0 * k)) for k in range(grid.count)], folder
    )


def modality_lut(first: int, signed: bool) -> Make:
    """Values through a table: stored n becomes 2 n - 1500, as a table of 4096 entries."""

    def make(folder: Path) -> Path:
        slices = made_series()
        for k, one in enumerate(slices):
            grid = Grid()
            values = values_at(grid.position(k), grid.directions, grid)
            store(one, values, Storage(stored=16, signed=signed, slope=1.0, intercept=-2000.0 if not signed else 0.0))
            del one.RescaleSlope, one.RescaleIntercept, one.RescaleType
            lut = Dataset()
            entries = np.arange(4096) + first + (-2000 if not signed else 0)
            lut.LUTDescriptor = [4096, first if signed else first & 0xFFFF, 16]
            lut["LUTDescriptor"].VR = "SS" if signed else "US"
            lut.ModalityLUTType = "HU"
            lut.add_new("LUTData", "OW", (entries - entries.min()).astype("<u2").tobytes())
            one.ModalityLUTSequence = [lut]
        return save_all(slices, folder)

    return make


def float_pixels(keyword: str, vr: str, dtype: str) -> Make:
    def make(folder: Path) -> Path:
        slices = made_series()
        grid = Grid()
        for k, one in enumerate(slices):
            values = values_at(grid.position(k), grid.directions, grid)
            one.add_new(keyword, vr, values.astype(dtype).tobytes())
            one.RescaleIntercept = "0"
            one.BitsAllocated = 8 * np.dtype(dtype).itemsize
            del one.PixelData, one.BitsStored, one.HighBit, one.PixelRepresentation
        return save_all(slices, folder)

    return make


def real_world_map(one: Dataset, k: int) -> None:
    item = Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = 17.0, 3.0
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 4095
    one.RealWorldValueMappingSequence = [item]


def compressed(encode: Encoder, syntax: str, storage: Storage, grid: Grid | None = None, **options: Any) -> Make:
    def make(folder: Path) -> Path:
        return save_all([compress(one, encode, **options) for one in made_series(grid, storage)], folder, syntax)

    return make


def mixed_syntaxes(folder: Path) -> Path:
    slices = made_series(storage=TWELVE)
    for number, (encode, syntax) in enumerate(
        [
            (None, ExplicitVRLittleEndian),
            (rle, DICOM + ".5"),
            (jpeg_ls, DICOM + ".4.80"),
            (jpeg_2000, DICOM + ".4.90"),
            (None, ImplicitVRLittleEndian),
            (jpeg_lossless, DICOM + ".4.70"),
        ]
    ):
        dataset = compress(slices[number], encode) if encode else slices[number]
        save(dataset, folder / f"{number}.dcm", syntax)
    return folder


DICOM = "1.2.840.10008.1.2"


# ------------------------------------------------------------------------------------------------- files and folders


def bare(syntax: str) -> Make:
    return lambda folder: save_all(made_series(), folder, syntax, preamble=False)


def subfolders(folder: Path) -> Path:
    for number, one in enumerate(made_series()):
        save(one, folder / f"part {number % 2}" / "deep" / f"IM{number}")
    return folder


def with_junk(folder: Path) -> Path:
    save_all(made_series(), folder)
    (folder / "readme.txt").write_text("not an image")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    (folder / "noise.bin").write_bytes(np.random.default_rng(0).bytes(4000))
    return folder


def unicode(folder: Path) -> Path:
    return save_all(made_series(), folder / "Größe 脳 مسح")


def zipped(folder: Path) -> Path:
    inner = save_all(made_series(), folder / "in")
    with zipfile.ZipFile(folder / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(inner.iterdir()):
            archive.write(file, f"study/series/{file.name}")
        archive.writestr("__MACOSX/._junk", b"x")
    shutil.rmtree(inner)
    return folder / "scan.zip"


def tarred(folder: Path) -> Path:
    inner = save_all(made_series(), folder / "in")
    with tarfile.open(folder / "scan.tar.gz", "w:gz") as archive:
        archive.add(inner, "study")
    shutil.rmtree(inner)
    return folder / "scan.tar.gz"


# ------------------------------------------------------------------------------------------------------ multi-frame


def multi(
    change: Callable[[list[Dataset]], list[Dataset]] | None = None, grid: Grid | None = None, **kept: Any
) -> Make:
    def make(folder: Path) -> Path:
        slices = made_series(grid)
        save(enhanced(change(slices) if change else slices, **kept), folder / "enhanced.dcm")
        return folder

    return make


def multi_rescaled(folder: Path) -> Path:
    slices = [made_slice(Grid(), k, Storage(slope=0.5 ** (k % 3), intercept=-7.0 * k)) for k in range(6)]
    save(enhanced(slices), folder / "enhanced.dcm")
    return folder


def multi_split(folder: Path) -> Path:
    slices = made_series()
    for number, part in enumerate((slices[::2], slices[1::2])):
        save(enhanced(part), folder / f"part{number}.dcm")
    return folder


def multi_phases(folder: Path) -> Path:
    slices = []
    for phase in range(2):
        for one in made_series(offset=400.0 * phase):
            one.TemporalPositionIndex = phase + 1
            slices.append(one)
    save(enhanced(slices[::-1]), folder / "enhanced.dcm")
    return folder


def multi_compressed(encode: Encoder, syntax: str, fragments: int = 1, has_table: bool = True) -> Make:
    def make(folder: Path) -> Path:
        dataset = compress(enhanced(made_series(storage=TWELVE)), encode, fragments, has_table)
        save(dataset, folder / "enhanced.dcm", syntax)
        return folder

    return make


def multi_changed(change: Callable[[Dataset], object]) -> Make:
    def make(folder: Path) -> Path:
        dataset = enhanced(made_series())
        change(dataset)
        save(dataset, folder / "enhanced.dcm")
        return folder

    return make


def drop_last_frame_group(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence = list(dataset.PerFrameFunctionalGroupsSequence)[:-1]


def drop_positions(dataset: Dataset) -> None:
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence


def plain_multiframe(folder: Path) -> Path:
    dataset = enhanced(made_series())
    del dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence
    save(dataset, folder / "frames.dcm")
    return folder


# --------------------------------------------------------------------------------------------------------- damage


def cut_off(number_of_bytes: int) -> Make:
    def make(folder: Path) -> Path:
        save_all(made_series(), folder)
        victim = folder / "0003.dcm"
        victim.write_bytes(victim.read_bytes()[:-number_of_bytes])
        return folder

    return make


def pixels(change: Callable[[bytes], bytes], k: int = 3, storage: Storage = UNSIGNED) -> Make:
    return only(lambda one: setattr(one, "PixelData", change(one.PixelData)), k, storage)


def broken_stream(encode: Encoder, syntax: str, change: Callable[[bytes], bytes]) -> Make:
    def make(folder: Path) -> Path:
        slices = made_series(storage=TWELVE)
        for k, one in enumerate(slices):
            compress(one, (lambda words, dataset: change(encode(words, dataset))) if k == 3 else encode)
        return save_all(slices, folder, syntax)

    return make


def rows_of_pixels_doubled(one: Dataset) -> None:
    one.Rows = one.Rows * 2


def same_uid_other_pixels(slices: list[Dataset]) -> list[Dataset]:
    twin = deepcopy(slices[2])
    twin.PixelData = bytes(reversed(twin.PixelData))
    return [*slices, twin]


def same_place_other_pixels(slices: list[Dataset]) -> list[Dataset]:
    twin = deepcopy(slices[2])
    twin.SOPInstanceUID += ".9"
    twin.PixelData = bytes(reversed(twin.PixelData))
    return [*slices, twin]


def lut_cut_short(folder: Path) -> Path:
    modality_lut(0, signed=False)(folder)
    for file in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(file)
        lut = dataset.ModalityLUTSequence[0]
        lut.LUTData = lut.LUTData[:1000]
        dataset.save_as(file)
    return folder


def bomb(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return deflate_bomb(folder / "bomb.dcm", 80 << 20).parent


def zip_with(name: str, link: bool = False) -> Make:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / "scan.zip", "w") as archive:
            info = zipfile.ZipInfo(name)
            if link:
                info.external_attr = 0o120777 << 16
            archive.writestr(info, b"/etc/passwd")
        return folder / "scan.zip"

    return make


def zip_bomb(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.dcm", "w") as file:
        for _ in range(80):
            file.write(b"\0" * (1 << 20))
    return folder / "scan.zip"


def tar_with_link(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "scan.tar", "w") as archive:
        info = tarfile.TarInfo("slice.dcm")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    return folder / "scan.tar"


def cut_zip(folder: Path) -> Path:
    path = zipped(folder)
    path.write_bytes(path.read_bytes()[:-400])
    return path


def empty(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def only_report(folder: Path) -> Path:
    series_and_report(folder)
    for file in folder.glob("0*.dcm"):
        file.unlink()
    return folder


def one_file(folder: Path) -> Path:
    save_all(made_series(), folder)
    return folder / "0002.dcm"


def nan_pixels(folder: Path) -> Path:
    float_pixels("FloatPixelData", "OF", "<f4")(folder)
    dataset = pydicom.dcmread(folder / "0002.dcm")
    dataset.FloatPixelData = np.full(dataset.Rows * dataset.Columns, np.nan, "<f4").tobytes()
    dataset.save_as(folder / "0002.dcm")
    return folder


def compressed_size_lies(folder: Path) -> Path:
    slices = [compress(one, jpeg_ls) for one in made_series(storage=TWELVE)]
    for one in slices:
        one.Rows, one.Columns = one.Columns, one.Rows
    return save_all(slices, folder, DICOM + ".4.80")
