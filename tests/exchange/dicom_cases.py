"""The cases a DICOM reader must get right, and those it must refuse: a visible list of small makers over the oracle."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_oracle import (
    CORONAL,
    PRONE,
    ROOT,
    SAGITTAL,
    UNSIGNED,
    Encoder,
    Grid,
    Storage,
    compress,
    deflate_bomb,
    enhanced,
    htj2k,
    jpeg,
    jpeg_2000,
    jpeg_2000_of_codes,
    jpeg_lossless,
    jpeg_ls,
    jpeg_xl,
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
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

Make = Callable[[Path], Path]

TWELVE = Storage(stored=12, signed=False, intercept=-1024.0)
SIGNED_TWELVE = Storage(stored=12, signed=True)
SIGNED = Storage()
EIGHT = Storage(allocated=8, stored=8, signed=False, intercept=-128.0)
SMALL = Grid(count=4, rows=6, columns=5, origin=(12.0, -4.0, 3.0), step=1.5)


@dataclass(frozen=True)
class Case:
    """What is made, and whether it must be read (then every voxel is checked) or refused (then with these words)."""

    name: str
    make: Make
    refused: str = ""
    mends: dict[str, Any] = field(default_factory=dict)
    warns: str = ""
    offset: float = 0.0
    error: float = 0.51
    slices: int = 6


def _series(grid: Grid | None = None, storage: Storage = UNSIGNED, syntax: str = ExplicitVRLittleEndian) -> Make:
    return lambda folder: save_all(made_series(grid, storage), folder, syntax)


def _changed(change: Callable[[list[Dataset]], object], grid: Grid | None = None, storage: Storage = UNSIGNED) -> Make:
    """A plain series, changed in place; what the change returns, if a list, is written instead."""

    def make(folder: Path) -> Path:
        slices = made_series(grid, storage)
        result = change(slices)
        return save_all(result if isinstance(result, list) else slices, folder)

    return make


def _each(change: Callable[[Dataset, int], object], grid: Grid | None = None, storage: Storage = UNSIGNED) -> Make:
    """A plain series with one change made to every slice."""
    return _changed(lambda slices: [change(one, k) for k, one in enumerate(slices)] and None, grid, storage)


def _one(change: Callable[[Dataset], object], k: int = 2, storage: Storage = UNSIGNED) -> Make:
    """A plain series with one slice changed."""
    return _changed(lambda slices: change(slices[k]) and None, storage=storage)


def _set(**values: object) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def _drop(*keywords: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for keyword in keywords:
            delattr(dataset, keyword)

    return change


# ---------------------------------------------------------------------------------------------- where slices lie


def _renumbered(order: list[int]) -> Make:
    return _each(lambda one, k: setattr(one, "InstanceNumber", order[k]))


def _shuffled_names(folder: Path) -> Path:
    slices = made_series()
    return save_all([slices[k] for k in (3, 0, 5, 1, 4, 2)], folder)


def _jittered(size: float, axis: int) -> Make:
    def make(folder: Path) -> Path:
        jitter = np.zeros((6, 3))
        jitter[2, axis] = size
        return save_all([made_slice(Grid(), k, jitter=jitter[k]) for k in range(6)], folder)

    return make


def _rounded_positions(folder: Path) -> Path:
    slices = made_series(replace(Grid(), step=0.625))
    for one in slices:
        one.ImagePositionPatient = [f"{float(value):.2f}" for value in one.ImagePositionPatient]
    return save_all(slices, folder)


def _six_decimals(folder: Path) -> Path:
    slices = made_series(replace(Grid(), directions=turned(3)))
    for one in slices:
        one.ImageOrientationPatient = [f"{float(value):.6f}" for value in one.ImageOrientationPatient]
    return save_all(slices, folder)


def _with_twins(slices: list[Dataset]) -> list[Dataset]:
    return [*slices, deepcopy(slices[1]), deepcopy(slices[4])]


def _without(*lost: int) -> Make:
    return lambda folder: save_all([made_slice(Grid(), k) for k in range(6) if k not in lost], folder)


def _two_spacings(folder: Path) -> Path:
    return save_all([made_slice(Grid(), k) for k in (0, 1, 2, 3, 4.4, 5.8)], folder)


# ---------------------------------------------------------------------------------- other images in the same series


def _and(*others: Callable[[], Dataset]) -> Make:
    return lambda folder: save_all([*made_series(), *(other() for other in others)], folder)


def _localizer() -> Dataset:
    dataset = made_slice(replace(Grid(), directions=CORONAL), 40)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return dataset


def _projection() -> Dataset:
    dataset = made_slice(replace(Grid(), directions=CORONAL), 41)
    dataset.ImageType = ["DERIVED", "SECONDARY", "MIP"]
    return dataset


def _colour_capture() -> Dataset:
    dataset = made_slice(Grid(), 42)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = b"\x80" * (3 * dataset.Rows * dataset.Columns)
    return dataset


def _capture() -> Dataset:
    dataset = made_slice(Grid(), 43)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing
    return dataset


def _of_series(uid: str, number: int, description: str, grid: Grid, offset: float = 0.0) -> list[Dataset]:
    slices = made_series(grid, offset=offset)
    for one in slices:
        one.SeriesInstanceUID, one.SeriesNumber, one.SeriesDescription = uid, number, description
        one.SOPInstanceUID = f"{one.SOPInstanceUID}.{number}"
    return slices


def _two_series(folder: Path) -> Path:
    both = [*_of_series(ROOT + "21", 1, "thin", Grid()), *_of_series(ROOT + "22", 2, "thick", SMALL, 300.0)]
    return save_all(both, folder)


def _series_and_scouts(folder: Path) -> Path:
    scouts = [_localizer(), _localizer()]
    for number, one in enumerate(scouts):
        one.SeriesInstanceUID, one.SOPInstanceUID = ROOT + "23", f"{ROOT}23.{number}"
    return save_all([*made_series(), *scouts], folder)


def _series_and_report(folder: Path) -> Path:
    report = Dataset()
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    report.SOPInstanceUID = ROOT + "88"
    report.SeriesInstanceUID = ROOT + "89"
    report.Modality = "SR"
    save(report, folder / "report.dcm")
    return save_all(made_series(), folder)


def _phases(mark: Callable[[Dataset, int, int], None], count: int = 2) -> Make:
    """The same places `count` times, phase p brighter by 400 p, told apart by what `mark(slice, phase, k)` sets."""

    def make(folder: Path) -> Path:
        slices = []
        for phase in range(count):
            for k, one in enumerate(made_series(offset=400.0 * phase)):
                mark(one, phase, k)
                slices.append(one)
        return save_all(slices, folder)

    return make


def _mark(keyword: str, values: Sequence[object]) -> Callable[[Dataset, int, int], None]:
    return lambda one, phase, k: setattr(one, keyword, values[phase])


def _mark_two(one: Dataset, phase: int, k: int) -> None:
    one.EchoTime = str(2 + phase % 2)
    one.TemporalPositionIdentifier = phase // 2 + 1


def _mark_times(one: Dataset, phase: int, k: int) -> None:
    one.AcquisitionNumber = phase * 10 + k  # differs for every image: tells nothing
    one.AcquisitionTime = f"1200{phase:02d}"


# --------------------------------------------------------------------------------------------- how values are stored


def _rescaled_each(folder: Path) -> Path:
    grid = Grid()
    return save_all(
        [made_slice(grid, k, Storage(slope=0.5 ** (k % 3), intercept=-7.0 * k)) for k in range(grid.count)], folder
    )


def _modality_lut(first: int, signed: bool) -> Make:
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


def _float_pixels(keyword: str, vr: str, dtype: str) -> Make:
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


def _real_world_map(one: Dataset, k: int) -> None:
    item = Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = 17.0, 3.0
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 4095
    one.RealWorldValueMappingSequence = [item]


def _compressed(encode: Encoder, syntax: str, storage: Storage, grid: Grid | None = None, **options: Any) -> Make:
    def make(folder: Path) -> Path:
        return save_all([compress(one, encode, **options) for one in made_series(grid, storage)], folder, syntax)

    return make


def _mixed_syntaxes(folder: Path) -> Path:
    slices = made_series(storage=TWELVE)
    for number, (encode, syntax) in enumerate(
        [
            (None, ExplicitVRLittleEndian),
            (rle, _TS + ".5"),
            (jpeg_ls, _TS + ".4.80"),
            (jpeg_2000, _TS + ".4.90"),
            (None, ImplicitVRLittleEndian),
            (jpeg_lossless, _TS + ".4.70"),
        ]
    ):
        dataset = compress(slices[number], encode) if encode else slices[number]
        save(dataset, folder / f"{number}.dcm", syntax)
    return folder


_TS = "1.2.840.10008.1.2"


# ------------------------------------------------------------------------------------------------- files and folders


def _bare(syntax: str) -> Make:
    return lambda folder: save_all(made_series(), folder, syntax, preamble=False)


def _subfolders(folder: Path) -> Path:
    for number, one in enumerate(made_series()):
        save(one, folder / f"part {number % 2}" / "deep" / f"IM{number}")
    return folder


def _with_junk(folder: Path) -> Path:
    save_all(made_series(), folder)
    (folder / "readme.txt").write_text("not an image")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    (folder / "noise.bin").write_bytes(np.random.default_rng(0).bytes(4000))
    return folder


def _unicode(folder: Path) -> Path:
    return save_all(made_series(), folder / "Größe 脳 مسح")


def _zipped(folder: Path) -> Path:
    inner = save_all(made_series(), folder / "in")
    with zipfile.ZipFile(folder / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(inner.iterdir()):
            archive.write(file, f"study/series/{file.name}")
        archive.writestr("__MACOSX/._junk", b"x")
    shutil.rmtree(inner)
    return folder / "scan.zip"


def _tarred(folder: Path) -> Path:
    inner = save_all(made_series(), folder / "in")
    with tarfile.open(folder / "scan.tar.gz", "w:gz") as archive:
        archive.add(inner, "study")
    shutil.rmtree(inner)
    return folder / "scan.tar.gz"


# ------------------------------------------------------------------------------------------------------ multi-frame


def _multi(
    change: Callable[[list[Dataset]], list[Dataset]] | None = None, grid: Grid | None = None, **kept: Any
) -> Make:
    def make(folder: Path) -> Path:
        slices = made_series(grid)
        save(enhanced(change(slices) if change else slices, **kept), folder / "enhanced.dcm")
        return folder

    return make


def _multi_rescaled(folder: Path) -> Path:
    slices = [made_slice(Grid(), k, Storage(slope=0.5 ** (k % 3), intercept=-7.0 * k)) for k in range(6)]
    save(enhanced(slices), folder / "enhanced.dcm")
    return folder


def _multi_split(folder: Path) -> Path:
    slices = made_series()
    for number, part in enumerate((slices[::2], slices[1::2])):
        save(enhanced(part), folder / f"part{number}.dcm")
    return folder


def _multi_phases(folder: Path) -> Path:
    slices = []
    for phase in range(2):
        for one in made_series(offset=400.0 * phase):
            one.TemporalPositionIndex = phase + 1
            slices.append(one)
    save(enhanced(slices[::-1]), folder / "enhanced.dcm")
    return folder


def _multi_compressed(encode: Encoder, syntax: str, fragments: int = 1, has_table: bool = True) -> Make:
    def make(folder: Path) -> Path:
        dataset = compress(enhanced(made_series(storage=TWELVE)), encode, fragments, has_table)
        save(dataset, folder / "enhanced.dcm", syntax)
        return folder

    return make


def _multi_changed(change: Callable[[Dataset], object]) -> Make:
    def make(folder: Path) -> Path:
        dataset = enhanced(made_series())
        change(dataset)
        save(dataset, folder / "enhanced.dcm")
        return folder

    return make


def _drop_last_frame_group(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence = list(dataset.PerFrameFunctionalGroupsSequence)[:-1]


def _drop_positions(dataset: Dataset) -> None:
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence


def _plain_multiframe(folder: Path) -> Path:
    dataset = enhanced(made_series())
    del dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence
    save(dataset, folder / "frames.dcm")
    return folder


# --------------------------------------------------------------------------------------------------------- damage


def _cut_off(number_of_bytes: int) -> Make:
    def make(folder: Path) -> Path:
        save_all(made_series(), folder)
        victim = folder / "0003.dcm"
        victim.write_bytes(victim.read_bytes()[:-number_of_bytes])
        return folder

    return make


def _pixels(change: Callable[[bytes], bytes], k: int = 3, storage: Storage = UNSIGNED) -> Make:
    return _one(lambda one: setattr(one, "PixelData", change(one.PixelData)), k, storage)


def _broken_stream(encode: Encoder, syntax: str, change: Callable[[bytes], bytes]) -> Make:
    def make(folder: Path) -> Path:
        slices = made_series(storage=TWELVE)
        for k, one in enumerate(slices):
            compress(one, (lambda words, dataset: change(encode(words, dataset))) if k == 3 else encode)
        return save_all(slices, folder, syntax)

    return make


def _rows_of_pixels_doubled(one: Dataset) -> None:
    one.Rows = one.Rows * 2


def _same_uid_other_pixels(slices: list[Dataset]) -> list[Dataset]:
    twin = deepcopy(slices[2])
    twin.PixelData = bytes(reversed(twin.PixelData))
    return [*slices, twin]


def _same_place_other_pixels(slices: list[Dataset]) -> list[Dataset]:
    twin = deepcopy(slices[2])
    twin.SOPInstanceUID += ".9"
    twin.PixelData = bytes(reversed(twin.PixelData))
    return [*slices, twin]


def _lut_cut_short(folder: Path) -> Path:
    _modality_lut(0, signed=False)(folder)
    for file in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(file)
        lut = dataset.ModalityLUTSequence[0]
        lut.LUTData = lut.LUTData[:1000]
        dataset.save_as(file)
    return folder


def _bomb(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return deflate_bomb(folder / "bomb.dcm", 80 << 20).parent


def _zip_with(name: str, link: bool = False) -> Make:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / "scan.zip", "w") as archive:
            info = zipfile.ZipInfo(name)
            if link:
                info.external_attr = 0o120777 << 16
            archive.writestr(info, b"/etc/passwd")
        return folder / "scan.zip"

    return make


def _zip_bomb(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.dcm", "w") as file:
        for _ in range(80):
            file.write(b"\0" * (1 << 20))
    return folder / "scan.zip"


def _tar_with_link(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "scan.tar", "w") as archive:
        info = tarfile.TarInfo("slice.dcm")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    return folder / "scan.tar"


def _cut_zip(folder: Path) -> Path:
    path = _zipped(folder)
    path.write_bytes(path.read_bytes()[:-400])
    return path


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _only_report(folder: Path) -> Path:
    _series_and_report(folder)
    for file in folder.glob("0*.dcm"):
        file.unlink()
    return folder


def _one_file(folder: Path) -> Path:
    save_all(made_series(), folder)
    return folder / "0002.dcm"


def _nan_pixels(folder: Path) -> Path:
    _float_pixels("FloatPixelData", "OF", "<f4")(folder)
    dataset = pydicom.dcmread(folder / "0002.dcm")
    dataset.FloatPixelData = np.full(dataset.Rows * dataset.Columns, np.nan, "<f4").tobytes()
    dataset.save_as(folder / "0002.dcm")
    return folder


def _compressed_size_lies(folder: Path) -> Path:
    slices = [compress(one, jpeg_ls) for one in made_series(storage=TWELVE)]
    for one in slices:
        one.Rows, one.Columns = one.Columns, one.Rows
    return save_all(slices, folder, _TS + ".4.80")


RIGHT: tuple[Case, ...] = (
    Case("axial", _series()),
    Case("instance numbers reversed", _renumbered([6, 5, 4, 3, 2, 1])),
    Case("instance numbers shuffled", _renumbered([2, 6, 1, 5, 3, 4])),
    Case("instance numbers all equal", _renumbered([1] * 6)),
    Case("no instance numbers", _each(lambda one, k: delattr(one, "InstanceNumber"))),
    Case("file names in another order", _shuffled_names),
    Case("prone", _series(Grid(directions=PRONE))),
    Case("slices from head to feet", _changed(lambda slices: slices[::-1])),
    Case("coronal", _series(Grid(directions=CORONAL))),
    Case("sagittal", _series(Grid(directions=SAGITTAL))),
    *(Case(f"double oblique {seed}", _series(Grid(directions=turned(seed)))) for seed in range(6)),
    Case("gantry tilt forward", _series(Grid(tilt=0.9))),
    Case("gantry tilt backward", _series(Grid(tilt=-1.2))),
    Case("gantry tilt, oblique", _series(Grid(tilt=0.5, directions=turned(9)))),
    Case("positions jitter by micrometres", _jittered(0.003, 2), error=0.53),
    Case("positions rounded to 0.01 mm", _rounded_positions, error=0.6),
    Case("directions rounded to six decimals", _six_decimals),
    Case("lying SliceThickness", _each(lambda one, k: setattr(one, "SliceThickness", "9.9"))),
    Case("no SliceThickness", _each(lambda one, k: delattr(one, "SliceThickness"))),
    Case("SliceThickness is zero", _each(lambda one, k: setattr(one, "SliceThickness", "0"))),
    Case("negative SpacingBetweenSlices", _each(lambda one, k: setattr(one, "SpacingBetweenSlices", "-2.5"))),
    Case("lying SpacingBetweenSlices", _each(lambda one, k: setattr(one, "SpacingBetweenSlices", "5"))),
    Case("thin slices far apart", _each(lambda one, k: setattr(one, "SliceThickness", "1")), warns="unseen tissue"),
    Case("exact copies of files", _changed(_with_twins), warns="is a copy of"),
    Case("one slice", _series(Grid(count=1)), slices=1, warns="one slice only"),
    Case("one file of a series", _one_file, slices=1, warns="one slice only"),
    Case("two slices", _series(Grid(count=2)), slices=2),
    Case("tiny and large spacings", _series(Grid(row_spacing=0.07, column_spacing=3.1, step=9.0))),
    Case("a localizer in the series", _and(_localizer), warns="LOCALIZER"),
    Case("a projection in the series", _and(_projection), warns="MIP"),
    Case("a colour capture in the series", _and(_colour_capture), warns="colour"),
    Case("a capture without a place in the series", _and(_capture), warns="secondary capture"),
    Case("two series, by number", _two_series, mends={"series": "1"}),
    Case("two series, by description", _two_series, mends={"series": "thick"}, offset=300.0, slices=4),
    Case("two series, by UID", _two_series, mends={"series": ROOT + "21"}),
    Case("a series and its scouts", _series_and_scouts, warns="left out"),
    Case("a series and a report", _series_and_report),
    *(
        Case(
            f"phases by {keyword}, the {which}", _phases(_mark(keyword, values)), mends={"phase": chosen}, offset=offset
        )
        for keyword, values in (
            ("AcquisitionNumber", [3, 4]),
            ("TemporalPositionIdentifier", [1, 2]),
            ("NominalPercentageOfCardiacPhase", [40, 75]),
            ("EchoTime", ["2.46", "4.92"]),
            ("TriggerTime", ["0", "350.5"]),
            ("ContentTime", ["101500", "101530"]),
            ("DiffusionBValue", [0.0, 1000.0]),
        )
        for which, chosen, offset in (("first", str(values[0]), 0.0), ("second", str(values[1]), 400.0))
    ),
    Case(
        "phases by ImageType",
        _phases(_mark("ImageType", [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]])),
        mends={"phase": "ImageType=ORIGINAL\\PRIMARY\\P"},
        offset=400.0,
    ),
    Case("phases by time, acquisition numbers useless", _phases(_mark_times), mends={"phase": "120001"}, offset=400.0),
    Case(
        "phases by two values at once",
        _phases(_mark_two, 4),
        mends={"phase": "TemporalPositionIdentifier=2, EchoTime=2"},
        offset=800.0,
    ),
    Case("a gap, allowed", _without(3), mends={"allow_gaps": True}, warns="interpolated", error=1.1),
    Case("two gaps, allowed", _without(1, 4), mends={"allow_gaps": True}, warns="interpolated", error=1.1),
    Case(
        "a zeroed slice, gaps allowed",
        _pixels(lambda data: b"\0" * len(data)),
        mends={"allow_gaps": True},
        warns="interpolation",
        error=1.1,
    ),
    Case("unsigned 16 bits", _series()),
    Case("signed 16 bits", _series(storage=SIGNED)),
    Case("unsigned 12 bits", _series(storage=TWELVE)),
    Case("signed 12 bits", _series(storage=SIGNED_TWELVE)),
    Case("unsigned 12 bits, junk above", _series(storage=replace(TWELVE, junk=0b1010))),
    Case("signed 12 bits, junk above", _series(storage=replace(SIGNED_TWELVE, junk=0b0101))),
    Case("12 bits in the high bits", _series(storage=replace(TWELVE, high=15))),
    Case("signed 12 bits in the middle, junk above", _series(storage=replace(SIGNED_TWELVE, high=13, junk=0b11))),
    Case("unsigned 8 bits", _series(SMALL, EIGHT), slices=4),
    Case("unsigned 8 bits, odd length", _series(replace(SMALL, rows=5), EIGHT), slices=4),
    Case("signed 32 bits", _series(storage=Storage(allocated=32, stored=32))),
    Case("slope 0.5", _series(storage=Storage(slope=0.5))),
    Case("negative slope", _series(storage=Storage(slope=-1.0, intercept=100.0))),
    Case("slope and intercept of each slice", _rescaled_each),
    Case("MONOCHROME1", _each(lambda one, k: setattr(one, "PhotometricInterpretation", "MONOCHROME1"))),
    Case("Modality LUT", _modality_lut(1900, signed=False), offset=100.0),
    Case("Modality LUT of signed pixels", _modality_lut(-300, signed=True), offset=300.0),
    Case("float pixels", _float_pixels("FloatPixelData", "OF", "<f4")),
    Case("double float pixels", _float_pixels("DoubleFloatPixelData", "OD", "<f8")),
    Case("a padding value", _each(lambda one, k: one.add_new("PixelPaddingValue", "US", 63536))),
    Case("a real-world value map beside HU", _each(_real_world_map)),
    Case("implicit VR", _series(syntax=ImplicitVRLittleEndian)),
    Case("big endian", _series(syntax=ExplicitVRBigEndian)),
    Case("deflated", _series(syntax=DeflatedExplicitVRLittleEndian)),
    Case("RLE", _compressed(rle, _TS + ".5", UNSIGNED)),
    Case("RLE, 8 bits", _compressed(rle, _TS + ".5", EIGHT, SMALL), slices=4),
    Case("RLE, signed 12 bits, junk above", _compressed(rle, _TS + ".5", replace(SIGNED_TWELVE, junk=0b0110))),
    Case("JPEG baseline", _compressed(jpeg, _TS + ".4.50", EIGHT, SMALL), slices=4, error=2.6),
    Case("JPEG extended, 12 bits", _compressed(jpeg, _TS + ".4.51", TWELVE), error=2.6),
    Case("JPEG lossless", _compressed(jpeg_lossless, _TS + ".4.57", TWELVE)),
    Case("JPEG lossless, first order", _compressed(jpeg_lossless, _TS + ".4.70", TWELVE)),
    Case("JPEG lossless, 16 bits signed", _compressed(jpeg_lossless, _TS + ".4.70", SIGNED)),
    Case("JPEG-LS", _compressed(jpeg_ls, _TS + ".4.80", TWELVE)),
    Case("JPEG-LS, signed", _compressed(jpeg_ls, _TS + ".4.80", SIGNED)),
    Case("JPEG-LS as near-lossless", _compressed(jpeg_ls, _TS + ".4.81", TWELVE)),
    Case("JPEG 2000 lossless", _compressed(jpeg_2000, _TS + ".4.90", TWELVE)),
    Case("JPEG 2000", _compressed(jpeg_2000, _TS + ".4.91", UNSIGNED)),
    Case("JPEG 2000, signed", _compressed(jpeg_2000, _TS + ".4.90", SIGNED)),
    Case("JPEG 2000, unsigned codes of signed pixels", _compressed(jpeg_2000_of_codes, _TS + ".4.90", SIGNED)),
    Case("HTJ2K lossless", _compressed(htj2k, _TS + ".4.201", UNSIGNED)),
    Case("HTJ2K, signed", _compressed(htj2k, _TS + ".4.203", SIGNED)),
    Case("JPEG XL lossless", _compressed(jpeg_xl, _TS + ".4.110", UNSIGNED)),
    Case("several syntaxes in one series", _mixed_syntaxes),
    Case("no preamble", _bare(ExplicitVRLittleEndian)),
    Case("no preamble, implicit VR", _bare(ImplicitVRLittleEndian)),
    Case("files in subfolders, no suffix", _subfolders),
    Case("junk among the files", _with_junk),
    Case("Unicode path", _unicode),
    Case("zip", _zipped),
    Case("tar.gz", _tarred),
    Case("enhanced CT", _multi()),
    Case("enhanced CT, shared rescale", _multi(keep_rescale_per_frame=False)),
    Case("enhanced CT, frames shuffled", _multi(lambda slices: [slices[k] for k in (4, 0, 5, 2, 1, 3)])),
    Case("enhanced CT, frames reversed", _multi(lambda slices: slices[::-1])),
    Case("enhanced CT, rescale of each frame", _multi_rescaled),
    Case("enhanced CT, tilt", _multi(grid=Grid(tilt=0.8))),
    Case("enhanced CT, oblique", _multi(grid=Grid(directions=turned(4)))),
    Case("enhanced CT in two files", _multi_split),
    Case("enhanced CT, first phase", _multi_phases, mends={"phase": "1"}),
    Case("enhanced CT, second phase", _multi_phases, mends={"phase": "2"}, offset=400.0),
    Case("enhanced CT, RLE", _multi_compressed(rle, _TS + ".5")),
    Case("enhanced CT, JPEG 2000", _multi_compressed(jpeg_2000, _TS + ".4.90")),
    Case("enhanced CT, JPEG-LS in fragments", _multi_compressed(jpeg_ls, _TS + ".4.80", fragments=2)),
    Case("enhanced CT, JPEG-LS without offset table", _multi_compressed(jpeg_ls, _TS + ".4.80", has_table=False)),
    Case(
        "enhanced CT, a gap, allowed",
        _multi(lambda slices: slices[:2] + slices[3:]),
        mends={"allow_gaps": True},
        warns="interpolated",
        error=1.1,
    ),
)


REFUSED: tuple[Case, ...] = (
    Case(
        "a missing slice",
        _without(3),
        refused=r"1 slice is missing.*5\.000 mm between 0002.dcm and 0003.dcm.*--allow-gaps",
    ),
    Case("three missing slices", _without(2, 3, 4), refused="3 slices are missing"),
    Case("two spacings", _two_spacings, refused="not evenly spaced"),
    Case("positions jitter by 0.4 mm along", _jittered(0.4, 2), refused=r"mm from its place|not evenly spaced"),
    Case("positions jitter by 0.4 mm sideways", _jittered(0.4, 0), refused=r"0002.dcm lies 0\.400 mm from its place"),
    Case("two images at one position", _changed(_same_place_other_pixels), refused="lie at one position"),
    Case("two images under one UID", _changed(_same_uid_other_pixels), refused="claim to be one object"),
    Case(
        "one slice of other pixel spacing",
        _one(_set(PixelSpacing=["0.9", "0.8"])),
        refused="0002.dcm has a pixel spacing",
    ),
    Case(
        "one slice turned by 3 degrees",
        _one(_set(ImageOrientationPatient=["1", "0", "0", "0", "0.998630", "0.052336"])),
        refused="0002.dcm is turned",
    ),
    Case("one slice flipped", _one(_set(ImageOrientationPatient=["-1", "0", "0", "0", "1", "0"])), refused="turned"),
    Case(
        "half of the slices coronal",
        _changed(lambda s: s[:3] + made_series(Grid(directions=CORONAL))[3:]),
        refused="turned",
    ),
    Case("one smaller slice", _changed(lambda s: [*s[:5], made_slice(Grid(rows=9), 5)]), refused="8 x 9 pixels"),
    Case("two patients", _one(_set(PatientID="OTHER")), refused="2 patients.*PatientID"),
    Case("two studies", _one(_set(StudyInstanceUID=ROOT + "99")), refused="2 studies"),
    Case("two frames of reference", _one(_set(FrameOfReferenceUID=ROOT + "98")), refused="2 frames of reference"),
    Case("two modalities", _one(_set(Modality="MR")), refused="2 modalities"),
    Case("no position", _one(_drop("ImagePositionPatient")), refused="no ImagePositionPatient"),
    Case(
        "no orientation",
        _each(lambda o, k: delattr(o, "ImageOrientationPatient")),
        refused="no ImageOrientationPatient",
    ),
    Case("no pixel spacing", _each(lambda one, k: delattr(one, "PixelSpacing")), refused="no PixelSpacing"),
    Case("empty position", _one(_set(ImagePositionPatient=[])), refused="no ImagePositionPatient"),
    Case("position of two numbers", _one(_set(ImagePositionPatient=["1", "2"])), refused="must be 3 finite numbers"),
    Case("zero orientation", _each(lambda o, k: setattr(o, "ImageOrientationPatient", ["0"] * 6)), refused="lengths 0"),
    Case("zero pixel spacing", _each(lambda one, k: setattr(one, "PixelSpacing", ["0", "0"])), refused="no scanner"),
    Case(
        "negative pixel spacing", _each(lambda one, k: setattr(one, "PixelSpacing", ["-1", "1"])), refused="no scanner"
    ),
    Case(
        "rows and columns not at right angles",
        _each(lambda one, k: setattr(one, "ImageOrientationPatient", ["1", "0", "0", "0.1", "0.994987", "0"])),
        refused="right angles",
    ),
    Case(
        "long directions",
        _each(lambda o, k: setattr(o, "ImageOrientationPatient", [1, 0, 0, 0, 1.1, 0])),
        refused="lengths",
    ),
    Case(
        "all positions equal", _each(lambda o, k: setattr(o, "ImagePositionPatient", [1, 2, 3])), refused="one position"
    ),
    Case("slices run away sideways", _series(Grid(tilt=4.0)), refused="run away sideways"),
    Case("slope zero", _one(_set(RescaleSlope="0")), refused="RescaleSlope is 0"),
    Case("slope not a number", _one(lambda one: one.add_new("RescaleSlope", "LO", "nan")), refused="RescaleSlope"),
    Case(
        "comma in the spacing",
        _each(lambda o, k: o.add_new("PixelSpacing", "LO", ["0,9", "0,7"])),
        refused="PixelSpacing",
    ),
    Case("comma in a position", _one(lambda o: o.add_new(0x00200032, "LO", ["1,5", "2", "3"])), refused="no number"),
    Case("comma in the slope", _one(lambda one: one.add_new("RescaleSlope", "LO", "1,5")), refused="RescaleSlope"),
    Case("file cut off in its pixels", _cut_off(50), refused=r"0003.dcm.*(damaged|shorter)"),
    Case("file cut off in its header", _cut_off(400), refused=r"missing|damaged|0003.dcm"),
    Case("pixels cut short", _pixels(lambda data: data[:-20]), refused="0003.dcm: its pixel data is shorter"),
    Case("pixels too long", _pixels(lambda data: data + b"\0" * 40), refused="longer"),
    Case("empty pixels", _pixels(lambda data: b""), refused=r"shorter|no pixel data"),
    Case("no pixels", _one(_drop("PixelData")), refused="no pixel data"),
    Case("a zeroed slice", _pixels(lambda data: b"\0" * len(data)), refused="0003.dcm are zero"),
    Case("a zeroed slice at the end", _pixels(lambda data: b"\0" * len(data), 5, SIGNED), refused="0005.dcm are zero"),
    Case("a slice zeroed halfway", _pixels(lambda data: data[:70] + b"\0" * (len(data) - 70)), refused="are zero"),
    Case("rows doubled in the header", _each(lambda one, k: setattr(one, "Rows", 20)), refused="shorter"),
    Case("rows halved in the header", _each(lambda one, k: setattr(one, "Rows", 5)), refused="longer"),
    Case("rows doubled in one header", _one(_rows_of_pixels_doubled), refused="8 x 20 pixels"),
    Case("rows missing", _one(_drop("Rows")), refused="0 rows"),
    Case("65535 rows and columns", _each(lambda one, k: _set(Rows=65535, Columns=65535)(one)), refused=r"GiB"),
    Case("16 bits in 8", _each(lambda one, k: setattr(one, "BitsAllocated", 8)), refused="cannot be"),
    Case(
        "12 allocated bits",
        _each(lambda one, k: _set(BitsAllocated=12, BitsStored=12, HighBit=11)(one)),
        refused="cannot",
    ),
    Case("high bit below the stored bits", _each(lambda one, k: setattr(one, "HighBit", 7)), refused="cannot be"),
    Case("sign not said", _one(_drop("PixelRepresentation")), refused="PixelRepresentation"),
    Case("not-a-number pixels", _nan_pixels, refused="not finite"),
    Case("Modality LUT cut short", _lut_cut_short, refused="Modality LUT"),
    Case("colour images only", _each(lambda one, k: setattr(one, "SamplesPerPixel", 3)), refused="colour"),
    Case("unknown transfer syntax", _compressed(rle, _TS + ".4.102", UNSIGNED), refused="transfer syntax"),
    *(
        Case(
            f"{name}: {damage}", _broken_stream(encode, syntax, change), refused=r"0003.dcm.*(compressed|cannot|holds)"
        )
        for name, encode, syntax in (
            ("RLE", rle, _TS + ".5"),
            ("JPEG lossless", jpeg_lossless, _TS + ".4.70"),
            ("JPEG-LS", jpeg_ls, _TS + ".4.80"),
            ("JPEG 2000", jpeg_2000, _TS + ".4.90"),
            ("HTJ2K", htj2k, _TS + ".4.201"),
        )
        for damage, change in (
            ("stream cut off early", lambda stream: stream[: len(stream) // 3]),
            ("stream cut off late", lambda stream: stream[: len(stream) - 8]),
            ("stream of noise", lambda stream: np.random.default_rng(1).bytes(len(stream))),
        )
    ),
    Case("compressed size lies", _compressed_size_lies, refused="the compressed image is"),
    Case("two series, none chosen", _two_series, refused=r'2 series; choose one with --series.*"thin".*"thick"'),
    Case("unknown series", _two_series, mends={"series": "7"}, refused="no series .* called '7'"),
    Case("phases, none chosen", _phases(_mark("EchoTime", ["2", "4"])), refused="2 phases; choose one with --phase"),
    Case("unknown phase", _phases(_mark("EchoTime", ["2", "4"])), mends={"phase": "3"}, refused="no phase is called"),
    Case("a phase of a series of one", _series(), mends={"phase": "3"}, refused="one phase only"),
    Case("phases that nothing tells apart", _phases(lambda one, phase, k: None), refused="one position"),
    Case("empty folder", _empty, refused="holds no DICOM image"),
    Case("a report only", _only_report, refused="holds no DICOM image.*structured report"),
    Case("multi-frame without geometry", _plain_multiframe, refused="does not say where they lie"),
    Case("enhanced CT, a frame missing", _multi(lambda slices: slices[:2] + slices[3:]), refused="missing"),
    Case(
        "enhanced CT, a frame not described", _multi_changed(_drop_last_frame_group), refused="6 frames and describes 5"
    ),
    Case("enhanced CT without positions", _multi_changed(_drop_positions), refused="no ImagePositionPatient"),
    Case("enhanced CT, two phases, none chosen", _multi_phases, refused="2 phases"),
    Case(
        "enhanced CT, frames cut off",
        _multi_changed(lambda d: setattr(d, "PixelData", d.PixelData[:-30])),
        refused="shorter",
    ),
    Case("deflate bomb", _bomb, refused="MiB and was stopped"),
    Case("zip with a name outside", _zip_with("../../evil.dcm"), refused="points outside"),
    Case("zip with an absolute name", _zip_with("/etc/evil.dcm"), refused="points outside"),
    Case("zip with a link", _zip_with("a.dcm", link=True), refused="link"),
    Case("tar with a link", _tar_with_link, refused="link"),
    Case("zip bomb", _zip_bomb, refused="times its size"),
    Case("zip cut off", _cut_zip, refused="no scan that medseg reads|damaged"),
)
