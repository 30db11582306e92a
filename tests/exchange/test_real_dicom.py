"""Real files: hospital series against the NIfTI images made of them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from medseg.core.errors import InputError
from medseg.exchange.read import Scan, read_scan

pytestmark = pytest.mark.real_data

pytestmark = pytest.mark.real_data

SAMPLES = Path("dicom_samples")
GENERIC = SAMPLES / "dicom2nifti" / "generic"


def both_ways_round(scan: Scan, truth: Scan) -> tuple[np.ndarray, np.ndarray]:
    """The two images' voxels in RAS order, after the check that they lie on one grid."""
    mine, theirs = scan.volume.reoriented("RAS"), truth.volume.reoriented("RAS")
    assert mine.geometry.difference(theirs.geometry) is None
    return mine.array, theirs.array


@pytest.mark.parametrize("subject", ["STS_002", "STS_008"])
@pytest.mark.parametrize(("kind", "unit"), [("MR_T1", "arbitrary"), ("PET", "SUVbw")])
def test_the_sarcoma_dicom_is_the_sarcoma_nifti(real_data: Path, subject: str, kind: str, unit: str) -> None:
    folder = real_data / "ibsi_sts_sarcoma"
    scan = read_scan(folder / "dicom" / subject / kind)
    truth = read_scan(folder / "nifti" / subject / f"{kind}_image.nii.gz")
    mine, theirs = both_ways_round(scan, truth)
    assert scan.volume.unit == unit
    # the NIfTI holds float32 products: equal to the last bit of float32
    np.testing.assert_allclose(mine, theirs, rtol=1.2e-7 * 2, atol=0)


@pytest.mark.parametrize("subject", ["STS_002", "STS_008"])
def test_the_sarcoma_ct_is_in_hounsfield_units(real_data: Path, subject: str) -> None:
    scan = read_scan(real_data / "ibsi_sts_sarcoma" / "dicom" / subject / "CT")
    assert scan.volume.unit == "HU"
    assert -1100 < scan.volume.array.min() < -900
    assert scan.warnings == ()


@pytest.mark.parametrize(
    "kind", ["compressed", "compressed_rle", "compressed_jpeg", "compressed_jpegls", "compressed_j2k"]
)
def test_one_series_in_five_compressions_is_its_nifti(real_data: Path, kind: str) -> None:
    scan = read_scan(real_data / GENERIC / kind / "001")
    truth = read_scan(real_data / GENERIC / kind / "001_ground_truth.nii.gz")
    assert_array_equal(*both_ways_round(scan, truth))
    assert scan.sha256 == read_scan(real_data / GENERIC / "compressed_rle" / "001").sha256


@pytest.mark.parametrize(
    ("folder", "truth"),
    [
        ("generic/anatomical/001", "generic/anatomical/001_ground_truth.nii.gz"),
        ("generic/anatomical/001_implicit", "generic/anatomical/001_implicit_ground_truth.nii.gz"),
        ("generic/anatomical/002_non_isotropic", "generic/anatomical/002_non_isotropic_ground_truth.nii.gz"),
        ("philips_enhanced/anatomical/001", "philips_enhanced/anatomical/001_ground_truth.nii.gz"),
        ("philips_enhanced/anatomical/001_implicit", "philips_enhanced/anatomical/001_implicit_ground_truth.nii.gz"),
    ],
)
def test_a_sample_series_is_its_nifti(real_data: Path, folder: str, truth: str) -> None:
    scan = read_scan(real_data / SAMPLES / "dicom2nifti" / folder)
    mine, theirs = both_ways_round(scan, read_scan(real_data / SAMPLES / "dicom2nifti" / truth))
    np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_a_colour_series_is_refused(real_data: Path) -> None:
    with pytest.raises(InputError, match="colour image"):
        read_scan(real_data / GENERIC / "rgb" / "001")


def test_a_head_of_93_slices_is_read(real_data: Path) -> None:
    scan = read_scan(real_data / SAMPLES / "slicer_CTHeadAxialDicom")
    assert scan.volume.array.shape == (64, 64, 93)
    assert scan.volume.geometry.axis_codes == "LPS"
