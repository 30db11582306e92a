"""What a data set on disk is said to be like, against how it was made."""

from pathlib import Path

import numpy as np
import pytest
from made_facts import case_facts, fingerprint_of

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry, Spacing
from medseg.core.study import Case
from medseg.core.task import load_task
from medseg.exchange.nifti import write_nifti
from medseg.training.planning.fingerprint import Fingerprint, take_fingerprint
from medseg.training.planning.label_facts import NOTHING, label_facts

SPACING: Spacing = (1.0, 2.0, 2.5)


def made_case(folder: Path, mask: np.ndarray, name: str = "a") -> Case:
    grid = Geometry.from_spacing((mask.shape[0], mask.shape[1], mask.shape[2]), SPACING)
    write_nifti(np.asarray(100 + 50 * (mask > 0), np.float32), grid, folder / f"{name}_image.nii.gz")
    write_nifti(mask.astype(np.uint8), grid, folder / f"{name}_mask.nii.gz")
    return Case(
        name=name, subject=name, channels={"MR": folder / f"{name}_image.nii.gz"}, label=folder / f"{name}_mask.nii.gz"
    )


def test_pieces_are_counted_and_sized() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[0:4, 0:5, 0:5] = True  # 100 voxels of 5 mm3
    mask[10:12, 10:12, 10:15] = True  # 20
    mask[12, 12, 15] = True  # touches the second by a corner only: one piece of 21
    mask[19, 19, 19] = mask[17, 17, 17] = True
    facts = label_facts(mask, SPACING)
    assert facts.component_count == 4
    assert facts.volume_ml == pytest.approx(123 * 0.005)
    # Sizes 1, 1, 21, 100 voxels: percentiles by straight lines between them.
    assert facts.component_ml == pytest.approx((1 * 0.005, 11 * 0.005, (21 + 0.7 * 79) * 0.005))
    assert facts.typical_component_ml == pytest.approx(100 * 0.005)  # where the median voxel lies
    assert facts.tubularity == pytest.approx(0, abs=0.1)  # of the large one alone: a box is nearly a ball
    assert label_facts(np.zeros((3, 3, 3), bool), SPACING) == NOTHING


def test_specks_have_no_shape_and_a_tube_is_told() -> None:
    speck = np.zeros((9, 9, 9), bool)
    speck[2:5, 2:5, 2:5] = True  # 27 voxels
    assert label_facts(speck, SPACING).tubularity is None
    tube = np.zeros((60, 9, 9), bool)
    tube[2:58, 3:6, 3:6] = True
    assert (label_facts(tube, (1.0, 1.0, 1.0)).tubularity or 0) > 0.5


def test_a_case_on_disk(tmp_path: Path) -> None:
    mask = np.zeros((20, 16, 12), np.uint8)
    mask[3:9, 4:8, 5:11] = 1
    fingerprint = take_fingerprint([made_case(tmp_path, mask)], load_task("hippocampus_mr"))
    (case,) = fingerprint.cases
    assert (case.shape, case.spacing_mm, case.subject) == ((20, 16, 12), SPACING, "a")
    assert case.foreground_box == ((3, 4, 5), (9, 8, 11))
    assert case.label_volume_ml == pytest.approx((6 * 4 * 6 * 0.005, 0))
    assert case.labels[1] == NOTHING
    assert case.anisotropy == fingerprint.median_anisotropy == 2.5
    assert fingerprint.prepared_bytes(SPACING) == 20 * 16 * 12 * 5  # float32 and uint8
    assert fingerprint.prepared_bytes((2.0, 2.0, 2.5)) == 10 * 16 * 12 * 5
    written = fingerprint.model_dump_json()
    assert '"anisotropy":2.5' in written
    assert Fingerprint.model_validate_json(written) == fingerprint


def test_a_data_set_without_foreground_or_cases_says_so(tmp_path: Path) -> None:
    task = load_task("hippocampus_mr")
    with pytest.raises(InputError, match=r"no case has a single labelled voxel.*this task's labels\?"):
        take_fingerprint([made_case(tmp_path, np.zeros((8, 8, 8)))], task)
    with pytest.raises(InputError, match="two subjects at least"):
        take_fingerprint([], task)


def test_subjects_are_counted_once() -> None:
    cases = [case_facts(name=name) for name in "abc"]
    cases[1] = cases[1].model_copy(update={"subject": "a"})
    assert fingerprint_of(*cases).subject_count == 2
