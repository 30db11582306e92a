"""Every written format read back, on any grid; NRRD and MetaImage lies; masks; archives of one file."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label, LabelSchema
from medseg.core.volume import Volume
from medseg.exchange.read import READERS, read_label_map, read_scan
from medseg.exchange.write import write_label_map, write_volume

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
TISSUE = Code(value="85756007", scheme="SCT", meaning="Tissue")


def random_geometry(seed: int, shape: tuple[int, int, int], tilt: float = 0.0) -> Geometry:
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * rng.uniform(0.4, 5.0, size=3)
    affine[:3, 2] += tilt * np.linalg.norm(affine[:3, 2]) * rotation[:, 1]
    affine[:3, 3] = rng.uniform(-300, 300, size=3)
    return Geometry(shape, affine)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    dtype=st.sampled_from(["u1", "i2", "u2", "i4", "f4", "f8"]),
    tilt=st.sampled_from([0.0, 0.3]),
)
def test_a_volume_comes_back_from_every_format(
    tmp_path_factory: pytest.TempPathFactory, seed: int, shape: tuple[int, int, int], dtype: str, tilt: float
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    geometry = random_geometry(seed, shape, tilt)
    voxels = np.random.default_rng(seed).integers(0, 200, size=shape).astype(dtype)
    hashes = set()
    for suffix in SUFFIXES:
        write_volume(Volume(voxels, geometry), folder / f"image{suffix}")
        scan = read_scan(folder / f"image{suffix}")
        assert_array_equal(scan.volume.array, voxels)
        assert scan.volume.array.dtype == np.dtype(dtype)
        assert scan.volume.geometry.difference(geometry) is None
        assert scan.warnings == ()
        hashes.add(scan.sha256)
    assert len(hashes) <= 3  # an affine in float32 (NIfTI), in text (NRRD), and in text of fewer digits (MetaImage)


def schema(*indices: int) -> LabelSchema:
    return LabelSchema(
        labels=tuple(
            Label(index=i, name=f"part {i}", code=TISSUE, category=TISSUE, colour=(i % 256, 0, 0)) for i in indices
        )
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("labels", [(1, 2), (1, 7, 300)])
def test_a_mask_comes_back_from_every_format(tmp_path: Path, suffix: str, labels: tuple[int, ...]) -> None:
    geometry = random_geometry(5, (6, 5, 4))
    chosen = np.random.default_rng(1).choice([0, *labels], size=(6, 5, 4))
    array = chosen.astype(np.uint16) if max(labels) > 255 else chosen.astype(np.uint8)
    mask = LabelMap(array, geometry, schema(*labels))
    write_label_map(mask, tmp_path / f"mask{suffix}")
    back = read_label_map(tmp_path / f"mask{suffix}", mask.schema)
    assert_array_equal(back.array, array)
    assert back.array.dtype == array.dtype
    assert back.geometry.difference(geometry) is None


def test_a_mask_with_a_strange_label_is_refused_with_its_file(tmp_path: Path) -> None:
    write_volume(Volume(np.full((2, 2, 2), 9, np.uint8), random_geometry(0, (2, 2, 2))), tmp_path / "mask.nii.gz")
    with pytest.raises(InputError, match=r"mask\.nii\.gz is not a mask of this task: .*label 9"):
        read_label_map(tmp_path / "mask.nii.gz", schema(1))


@pytest.mark.parametrize("dtype", [np.int8, np.bool_])
def test_types_that_itk_lacks_are_widened(tmp_path: Path, dtype: type[np.generic]) -> None:
    voxels = np.array([[[0, 1]]], dtype=dtype)
    for suffix in SUFFIXES:
        write_volume(Volume(voxels, random_geometry(1, (1, 1, 2))), tmp_path / f"image{suffix}")
        assert_array_equal(read_scan(tmp_path / f"image{suffix}").volume.array, voxels.astype(int))


def test_an_unknown_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"choose one of \.nii"):
        write_volume(Volume(np.zeros((1, 1, 1)), random_geometry(0, (1, 1, 1))), tmp_path / "image.png")
    assert list(tmp_path.iterdir()) == []


def nrrd(*lines: str, data: bytes = b"\1\0\2\0\3\0\4\0") -> bytes:
    fields = {"type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": "2 2 1",
              "space directions": "(1,0,0) (0,1,0) (0,0,1)", "endian": "little", "encoding": "raw",
              "space origin": "(0,0,0)"}  # fmt: skip
    for line in lines:
        key, _, value = line.partition(": ")
        fields[key] = value
    fields = {key: value for key, value in fields.items() if value}
    return b"NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in fields.items()).encode() + b"\n" + data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"these are notes", "not an NRRD file"),
        (nrrd("sizes: 2 2 100"), "truncated or its header lies"),
        (nrrd("sizes: 2 2"), "one three-dimensional image"),
        (nrrd("sizes: 2 2 0"), "one three-dimensional image"),
        (nrrd("dimension: 4", "sizes: 2 2 1 1"), "one three-dimensional image"),
        (nrrd("sizes: 20000 20000 20000"), "GiB"),
        (nrrd("type: block"), "voxel type 'block'"),
        (nrrd("type: signed char"), "signed bytes"),
        (nrrd("data file: /etc/passwd"), "another file"),
        (nrrd("encoding: gzip", data=b"\x1f\x8b\x08\0\0\0\0\0\0\3ab"), "damaged or truncated"),
        (nrrd("space directions: (0,0,0) (0,1,0) (0,0,1)"), "damaged|cannot be|mm"),
        (nrrd("space directions: (nan,0,0) (0,1,0) (0,0,1)"), "damaged|cannot be|mm|says"),
        (nrrd("space directions: (1,0,0) (1,0,0) (0,0,1)"), "damaged|cannot be"),
        (nrrd("space directions: (900,0,0) (0,1,0) (0,0,1)"), "believable"),
    ],
)
def test_an_nrrd_that_lies_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "image.nrrd").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_scan(tmp_path / "image.nrrd")


@pytest.mark.parametrize(
    ("space", "codes"),
    [("left-posterior-superior", "LPS"), ("right-anterior-superior", "RAS"), ("left-anterior-superior", "LAS")],
)
def test_an_nrrd_lies_where_its_space_says(tmp_path: Path, space: str, codes: str) -> None:
    (tmp_path / "image.nrrd").write_bytes(nrrd(f"space: {space}", "space origin: (10,20,30)"))
    geometry = read_scan(tmp_path / "image.nrrd").volume.geometry
    assert geometry.axis_codes == codes
    signs = [1 if letter in "RAS" else -1 for letter in codes]
    assert_array_equal(geometry.origin_mm, np.array([10, 20, 30]) * signs)


def test_an_nrrd_without_a_space_is_warned_about(tmp_path: Path) -> None:
    (tmp_path / "image.nrrd").write_bytes(nrrd("space: ", "space directions: ", "space origin: ", "spacings: 1 1 2"))
    assert "does not say how the patient lies" in read_scan(tmp_path / "image.nrrd").warnings[0]


def meta(data_file: str = "LOCAL", sizes: str = "2 2 1", kind: str = "MET_SHORT", more: str = "") -> bytes:
    head = f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n{more}"
    place = "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\nElementSpacing = 1 1 2\n"
    return f"{head}{place}DimSize = {sizes}\nElementType = {kind}\nElementDataFile = {data_file}\n".encode()


def test_a_header_beside_its_voxels_is_read(tmp_path: Path) -> None:
    (tmp_path / "image.mhd").write_bytes(meta("image.raw"))
    (tmp_path / "image.raw").write_bytes(b"\1\0\2\0\3\0\4\0")
    volume = read_scan(tmp_path / "image.mhd").volume
    assert_array_equal(volume.array[:, :, 0], [[1, 3], [2, 4]])
    assert volume.geometry.axis_codes == "LPS"
    assert_array_equal(volume.geometry.origin_mm, [-1, -2, 3])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (meta("/etc/passwd"), "one file beside it"),
        (meta("../image.raw"), "one file beside it"),
        (meta("slice%03d.raw 1 2 1"), "one file beside it"),
        (meta("LIST"), "one file beside it"),
        (meta("gone.raw"), "not beside it"),
        (meta(sizes="2 2 9"), "truncated"),
        (meta(sizes="2 2"), "one three-dimensional image"),
        (meta(kind="MET_STRING"), "one number a voxel"),
        (meta(kind="MET_CHAR"), "signed bytes"),
        (meta(more="ElementNumberOfChannels = 3\n"), "one number a voxel"),
        (b"ObjectType = Image\n", "does not end"),
        (b"hello", "does not end"),
    ],
)
def test_a_metaimage_that_lies_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "image.mha").write_bytes(content + b"\1\0\2\0\3\0\4\0")
    with pytest.raises(InputError, match=reason):
        read_scan(tmp_path / "image.mha")


def test_a_zip_of_nothing_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "study.zip", "w"):
        pass
    with pytest.raises(InputError, match=r"study\.zip is empty: there is no file in it"):
        read_scan(tmp_path / "study.zip")


def test_a_file_that_may_not_be_read_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another user's file is; the tests may run as one who may read all."""
    path = tmp_path / "scan.nii"
    path.write_bytes(b"")

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", forbidden)
    with pytest.raises(InputError, match=r"scan\.nii may not be read \(Permission denied\)\. Check its permissions"):
        read_scan(path)


def test_a_zip_of_one_image_is_read_and_leaves_nothing_behind(tmp_path: Path) -> None:
    volume = Volume(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), random_geometry(3, (2, 2, 2)))
    write_volume(volume, tmp_path / "image.nii.gz")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.write(tmp_path / "image.nii.gz", "deep/image.nii.gz")
    scan = read_scan(tmp_path / "study.zip")
    assert_array_equal(scan.volume.array, volume.array)
    assert scan.series.files == (tmp_path / "study.zip",)


def test_what_no_reader_knows_is_told_reader_by_reader(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError) as caught:
        read_scan(tmp_path / "image.png")
    assert all(f"{reader.name}: " in str(caught.value) for reader in READERS)
