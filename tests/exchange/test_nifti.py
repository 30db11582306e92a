"""NIfTI files: round trips, and header lies and damages that must be refused with their reason or read right."""

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.exchange import nifti_header
from medseg.exchange.read import read_scan
from medseg.exchange.write import write_volume

AFFINE = np.array([[-0.8, 0, 0, 40], [0, 1.1, 0, -20], [0, 0, 2.5, 7], [0, 0, 0, 1]])
SHAPE = (4, 5, 6)
VOXELS = np.arange(120, dtype=np.int16).reshape(SHAPE) - 40

Edit = Callable[[bytearray], object]


def plain_bytes() -> bytearray:
    image = nibabel.Nifti1Image(VOXELS, AFFINE)
    image.header.set_xyzt_units("mm")
    image.set_qform(AFFINE, code=1)
    image.set_sform(AFFINE, code=1)
    return bytearray(image.to_bytes())


def put(offset: int, code: str, *values: float) -> Edit:
    """Overwrite header fields: offsets are those of nifti1.h."""
    return lambda data: struct.pack_into(f"<{len(values)}{code}", data, offset, *values)


def several(*edits: Edit) -> Edit:
    return lambda data: [edit(data) for edit in edits]


def made(tmp_path: Path, edit: Edit, name: str = "image.nii") -> Path:
    data = plain_bytes()
    edit(data)
    path = tmp_path / name
    path.write_bytes(gzip.compress(bytes(data)) if name.endswith(".gz") else bytes(data))
    return path


NAN, INF = float("nan"), float("inf")
DIM, DATATYPE, BITPIX, PIXDIM, VOX_OFFSET, SLOPE, INTERCEPT, UNITS = 40, 70, 72, 76, 108, 112, 116, 123
QFORM_CODE, SFORM_CODE, QUATERN, QOFFSET, SROW, MAGIC = 252, 254, 256, 268, 280, 344

LIES: dict[str, tuple[Edit, str]] = {
    "header size 0": (put(0, "i", 0), "not a NIfTI file"),
    "header size 999": (put(0, "i", 999), "not a NIfTI file"),
    "magic of a pair": (put(MAGIC, "4s", b"ni1\0"), "hdr/.img pair"),  # type: ignore[arg-type]
    "magic of ANALYZE": (put(MAGIC, "4s", b"\0\0\0\0"), "magic"),  # type: ignore[arg-type]
    "magic of noise": (put(MAGIC, "4s", b"n+9\0"), "magic"),  # type: ignore[arg-type]
    "no dimensions": (put(DIM, "h", 0), "0 dimensions"),
    "nine dimensions": (put(DIM, "h", 9), "9 dimensions"),
    "minus one dimensions": (put(DIM, "h", -1), "-1 dimensions"),
    "four dimensions": (put(DIM, "h", 4, 4, 5, 3, 2), "4-D image of 4 x 5 x 3 x 2"),
    "five dimensions, a vector": (put(DIM, "h", 5, 4, 5, 2, 1, 3), "5-D image"),
    "a size of zero": (put(DIM + 2, "h", 0), "size 0"),
    "a negative size": (put(DIM + 4, "h", -5), "size -5"),
    "twice the slices": (put(DIM + 6, "h", 12), "truncated or its header lies"),
    "half the slices": (put(DIM + 6, "h", 3), "more than its header promises"),
    "one slice less": (put(DIM + 6, "h", 5), "more than its header promises"),
    "the largest sizes": (put(DIM + 2, "h", 32767, 32767, 32767), "GiB"),
    "large sizes": (put(DIM + 2, "h", 1000, 1000, 100), "truncated or its header lies"),
    "datatype 0": (put(DATATYPE, "h", 0), "unknown NIfTI datatype 0"),
    "datatype 3": (put(DATATYPE, "h", 3), "unknown NIfTI datatype 3"),
    "datatype single bits": (several(put(DATATYPE, "h", 1), put(BITPIX, "h", 1)), "single bits"),
    "datatype complex": (several(put(DATATYPE, "h", 32), put(BITPIX, "h", 64)), "complex"),
    "datatype RGB": (several(put(DATATYPE, "h", 128), put(BITPIX, "h", 24)), "RGB"),
    "datatype RGBA": (several(put(DATATYPE, "h", 2304), put(BITPIX, "h", 32)), "RGBA"),
    "datatype 128-bit float": (several(put(DATATYPE, "h", 1536), put(BITPIX, "h", 128)), "128-bit"),
    "datatype float of 16 bits": (put(DATATYPE, "h", 16), "contradicts itself"),
    "bitpix 8": (put(BITPIX, "h", 8), "contradicts itself"),
    "bitpix 0": (put(BITPIX, "h", 0), "contradicts itself"),
    "float instead of int16": (several(put(DATATYPE, "h", 16), put(BITPIX, "h", 32)), "truncated or its header lies"),
    "bytes instead of int16": (several(put(DATATYPE, "h", 2), put(BITPIX, "h", 8)), "more than its header promises"),
    "voxels begin at 0": (put(VOX_OFFSET, "f", 0), "begin at byte 0"),
    "voxels begin at 100": (put(VOX_OFFSET, "f", 100), "begin at byte 100"),
    "voxels begin at -352": (put(VOX_OFFSET, "f", -352), "begin at byte -352"),
    "voxels begin at nan": (put(VOX_OFFSET, "f", NAN), "begin at byte nan"),
    "voxels begin at 352.5": (put(VOX_OFFSET, "f", 352.5), "begin at byte 352.5"),
    "voxels begin past the end": (put(VOX_OFFSET, "f", 1e9), "truncated or its header lies"),
    "voxels begin 16 bytes late": (put(VOX_OFFSET, "f", 368), "truncated or its header lies"),
    "spacing zero": (put(PIXDIM + 4, "f", 0), "must be positive"),
    "spacing negative": (put(PIXDIM + 8, "f", -1), "must be positive"),
    "spacing nan": (put(PIXDIM + 12, "f", NAN), "must be positive"),
    "spacing infinite": (put(PIXDIM + 4, "f", INF), "must be positive"),
    "handedness 5": (put(PIXDIM, "f", 5), "handedness"),
    "handedness nan": (put(PIXDIM, "f", NAN), "handedness"),
    "slope infinite": (put(SLOPE, "f", INF), "slope inf"),
    "slope without intercept": (put(SLOPE, "f", 2, NAN), "intercept nan"),
    "intercept infinite": (put(SLOPE, "f", 1, INF), "intercept inf"),
    "unit 5": (put(UNITS, "B", 5), "unknown unit"),
    "unit metres, spacing in mm": (put(UNITS, "B", 1), "believable"),
    "unit micrometres, spacing in mm": (put(UNITS, "B", 3), "believable"),
    "sform code 77": (put(SFORM_CODE, "h", 77), "sform code 77"),
    "qform code -3": (put(QFORM_CODE, "h", -3), "qform code -3"),
    "sform nan": (put(SROW, "f", NAN), "cannot be a grid"),
    "sform infinite": (put(SROW + 12, "f", INF), "cannot be a grid"),
    "sform zero": (put(SROW, "f", *([0.0] * 12)), "cannot be a grid"),
    "sform flat": (put(SROW + 32, "f", 0, 0, 0), "cannot be a grid"),
    "sform of voxels of 900 mm": (put(SROW, "f", -900), "believable"),
    "sform of voxels of a nanometre": (put(SROW, "f", -1e-6), "believable|cannot be a grid"),
    "sform sheared by 60 degrees": (put(SROW + 8, "f", 4.4), "degrees apart"),
    "sform mirrored against the qform": (put(SROW, "f", 0.8), "contradicts itself.*mm apart"),
    "sform shifted by 0.2 mm": (put(SROW + 12, "f", 40.2), "contradicts itself"),
    "qform shifted by 5 mm": (put(QOFFSET, "f", 45), "contradicts itself"),
    "qform turned": (put(QUATERN, "f", 0.5, 0.5, 0.5), "contradicts itself"),
    "quaternion too long": (put(QUATERN, "f", 0.9, 0.9, 0.9), "cannot exist"),
    "quaternion nan": (put(QUATERN, "f", NAN), "cannot"),
    "extension flag without extension": (put(VOX_OFFSET, "f", 1000), "truncated or its header lies"),
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("suffix", ["image.nii", "image.nii.gz"])
def test_a_header_lie_is_refused_with_its_reason(tmp_path: Path, name: str, suffix: str) -> None:
    edit, reason = LIES[name]
    path = made(tmp_path, edit, suffix)
    if suffix.endswith(".gz"):
        reason = reason.replace("truncated or its header lies", "truncated")
    with pytest.raises(InputError, match=reason) as caught:
        read_scan(path)
    assert path.name in str(caught.value)


def test_there_are_more_than_fifty_lies() -> None:
    assert len(LIES) > 50


def test_a_plain_file_is_read_with_its_voxels_and_grid(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii.gz"):
        scan = read_scan(made(tmp_path, lambda data: None, name))
        assert_array_equal(scan.volume.array, VOXELS)
        assert scan.volume.array.dtype == np.int16
        assert_allclose(scan.volume.geometry.affine, AFFINE, atol=1e-6)
        assert scan.warnings == ()
        assert (scan.volume.unit, scan.series.modality) == ("arbitrary", "OT")


def test_big_endian_and_nifti_2_are_read(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS.astype(">i2"), AFFINE, nibabel.Nifti1Header(endianness=">"))
    image.header.set_xyzt_units("mm")
    image.set_sform(AFFINE, code=1)
    nibabel.save(image, tmp_path / "big.nii")
    second = nibabel.Nifti2Image(VOXELS, AFFINE)
    second.header.set_xyzt_units("mm")
    nibabel.save(second, tmp_path / "two.nii.gz")
    for name in ("big.nii", "two.nii.gz"):
        volume = read_scan(tmp_path / name).volume
        assert_array_equal(volume.array, VOXELS)
        assert_allclose(volume.geometry.affine, AFFINE, atol=1e-6)


def test_slope_and_intercept_are_applied_in_float32(tmp_path: Path) -> None:
    volume = read_scan(made(tmp_path, put(SLOPE, "f", 0.5, -3))).volume
    assert volume.array.dtype == np.float32
    assert_array_equal(volume.array, VOXELS * 0.5 - 3)
    assert_array_equal(read_scan(made(tmp_path, put(SLOPE, "f", 0, 7))).volume.array, VOXELS)


def test_the_user_may_choose_between_sform_and_qform(tmp_path: Path) -> None:
    path = made(tmp_path, put(SROW, "f", 0.8))
    assert read_scan(path, affine="qform").volume.geometry.axis_codes == "LAS"
    assert read_scan(path, affine="sform").volume.geometry.axis_codes == "RAS"
    with pytest.raises(InputError, match="has no qform"):
        read_scan(made(tmp_path, put(QFORM_CODE, "h", 0)), affine="qform")


def test_a_qform_alone_is_enough(tmp_path: Path) -> None:
    scan = read_scan(made(tmp_path, put(SFORM_CODE, "h", 0)))
    assert_allclose(scan.volume.geometry.affine, AFFINE, atol=1e-5)


def test_no_codes_are_warned_about_loudly(tmp_path: Path) -> None:
    scan = read_scan(made(tmp_path, put(QFORM_CODE, "h", 0, 0)))
    assert "does not say where its voxels lie" in scan.warnings[0]
    assert_allclose(scan.volume.geometry.spacing_mm, (0.8, 1.1, 2.5), rtol=1e-6)


def test_units_are_converted_or_assumed_with_a_warning(tmp_path: Path) -> None:
    in_metres = several(put(UNITS, "B", 1), put(PIXDIM + 4, "f", 8e-4, 1.1e-3, 2.5e-3), put(QFORM_CODE, "h", 0))
    rows = (AFFINE[:3] / 1000).ravel()
    scan = read_scan(made(tmp_path, several(in_metres, put(SROW, "f", *rows))))
    assert_allclose(scan.volume.geometry.affine, AFFINE, rtol=1e-6)
    assert "metres" in scan.warnings[0]
    assert "millimetres are assumed" in read_scan(made(tmp_path, put(UNITS, "B", 0))).warnings[0]


def test_pixdim_that_differs_from_the_sform_is_warned_about(tmp_path: Path) -> None:
    scan = read_scan(made(tmp_path, several(put(QFORM_CODE, "h", 0), put(PIXDIM + 4, "f", 3))))
    assert "the sform is used" in scan.warnings[0]


def test_a_flat_image_is_one_slice(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS[:, :, 0], AFFINE)
    nibabel.save(image, tmp_path / "flat.nii")
    assert read_scan(tmp_path / "flat.nii").volume.array.shape == (4, 5, 1)


@pytest.mark.parametrize("lost", [1, 8, 9, 60, 200, 400])
def test_truncated_gzip_is_refused(tmp_path: Path, lost: int) -> None:
    path = made(tmp_path, lambda data: None, "image.nii.gz")
    path.write_bytes(path.read_bytes()[: -min(lost, path.stat().st_size - 1)])
    with pytest.raises(InputError, match=r"damaged|truncated|not a NIfTI"):
        read_scan(path)


def test_a_flipped_bit_fails_the_checksum(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(bytes(plain_bytes()), 0))  # stored: the bit reaches the voxels
    data[-60] ^= 1
    (tmp_path / "image.nii.gz").write_bytes(bytes(data))
    with pytest.raises(InputError, match="CRC"):
        read_scan(tmp_path / "image.nii.gz")


def test_a_truncated_plain_file_is_refused(tmp_path: Path) -> None:
    for size in (0, 3, 200, 347, 352, 500):
        path = tmp_path / f"{size}.nii"
        path.write_bytes(bytes(plain_bytes()[:size]))
        with pytest.raises(InputError, match=r"truncated|is empty|not a NIfTI"):
            read_scan(path)


def test_text_under_the_name_of_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.nii.gz").write_text("these are my notes, not an image")
    with pytest.raises(InputError, match="not a NIfTI file: it begins with b'these are my'"):
        read_scan(tmp_path / "notes.nii.gz")


def test_a_gzip_bomb_stops_at_what_the_header_promises(tmp_path: Path) -> None:
    data = plain_bytes() + b"\0" * (64 << 20)
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(InputError, match="more than its header promises"):
        read_scan(tmp_path / "bomb.nii.gz")


def test_a_promise_above_the_cap_is_refused_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nifti_header, "MOST_VOXEL_BYTES", 100)
    with pytest.raises(InputError, match="4 x 5 x 6 voxels"):
        read_scan(made(tmp_path, lambda data: None))


def test_voxels_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    voxels = np.zeros(SHAPE, dtype=np.float32)
    voxels[1, 2, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), tmp_path / "nan.nii.gz")
    with pytest.raises(InputError, match=r"index \(1, 2, 3\)"):
        read_scan(tmp_path / "nan.nii.gz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_scan(tmp_path / "none.nii.gz")


def test_what_is_written_says_its_grid_twice_in_millimetres(tmp_path: Path) -> None:
    write_volume(Volume(VOXELS, Geometry(SHAPE, AFFINE)), tmp_path / "out.nii.gz")
    header = nibabel.load(tmp_path / "out.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    assert header.get_xyzt_units()[0] == "mm"
    assert_allclose(header.get_qform(), AFFINE, atol=1e-5)
    assert header.get_data_dtype() == np.int16


def test_the_same_image_gives_the_same_bytes_and_hash(tmp_path: Path) -> None:
    volume = Volume(VOXELS, Geometry(SHAPE, AFFINE))
    for name in ("a.nii.gz", "b.nii.gz", "c.nii"):
        write_volume(volume, tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    hashes = {read_scan(tmp_path / name).sha256 for name in ("a.nii.gz", "b.nii.gz", "c.nii")}
    assert len(hashes) == 1


def test_scaling_holds_no_second_copy_of_the_image(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((64, 64, 64), np.int16), np.eye(4))
    content = bytearray(image.to_bytes())
    put(SLOPE, "f", 2, 1)(content)
    (tmp_path / "scaled.nii").write_bytes(content)
    tracemalloc.start()
    try:
        array = read_scan(tmp_path / "scaled.nii").volume.array
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert array.dtype == np.float32
    stored = array.nbytes // 2
    assert peak < 1.25 * (array.nbytes + stored)
