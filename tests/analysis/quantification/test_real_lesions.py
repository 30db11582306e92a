"""The expert contours of the IBSI sarcoma set, measured and compared with SimpleITK's figures and with each other."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from medseg.analysis.quantification.measure import measure_findings
from medseg.core.task import load_task
from medseg.exchange.read import read_label_map, read_scan

pytestmark = pytest.mark.real_data


@pytest.mark.parametrize("patient", ["STS_003", "STS_005"])
def test_volume_is_the_voxel_count_and_intensity_the_voxels_own(real_data: Path, patient: str) -> None:
    folder = real_data / "ibsi_sts_sarcoma" / "nifti" / patient
    task = load_task("sarcoma_pet").model_copy(update={"min_finding_ml": 0.0})
    label_map = read_label_map(folder / "PET_mask.nii.gz", task.label_schema)
    findings = measure_findings(label_map, task, read_scan(folder / "PET_image.nii.gz").volume)
    mask = nibabel.load(folder / "PET_mask.nii.gz")
    voxels = np.asarray(mask.dataobj) > 0
    image = np.asarray(nibabel.load(folder / "PET_image.nii.gz").dataobj)[voxels]
    total_ml = sum(finding.value("volume") or 0 for finding in findings)
    assert total_ml == pytest.approx(voxels.sum() * np.prod(mask.header.get_zooms()) / 1000, rel=1e-5)
    assert max(f.value("maximum_intensity") or 0 for f in findings) == pytest.approx(image.max())
    mean = sum((f.value("mean_intensity") or 0) * (f.value("volume") or 0) for f in findings) / total_ml
    assert mean == pytest.approx(image.mean(), rel=1e-5)


def test_one_tumour_on_pet_and_on_mr_has_one_size(real_data: Path) -> None:
    # The same contour, drawn into two grids of 4 to 6 mm and of 1 to 2 mm voxels.
    sizes = []
    for name, kind in (("sarcoma_pet", "PET"), ("sarcoma_mr", "MR_T1")):
        task = load_task(name)
        path = real_data / "ibsi_sts_sarcoma" / "nifti" / "STS_003" / f"{kind}_mask.nii.gz"
        (tumour,) = measure_findings(read_label_map(path, task.label_schema), task)
        sizes.append((tumour.value("volume"), tumour.value("longest_axial_diameter")))
    assert sizes[0][0] == pytest.approx(sizes[1][0], rel=0.02)
    assert sizes[0][1] == pytest.approx(sizes[1][1], abs=2.5)
