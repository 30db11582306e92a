"""The embedded data set: every file in its place, readable, and the truth beside it."""

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.datasets.manifest import Manifest, read_manifest
from medseg.datasets.phantoms.dataset import held_out_studies, write_dataset
from medseg.datasets.phantoms.truth import PhantomTruth
from medseg.exchange.read import read_label_map, read_scan


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_dataset(tmp_path_factory.mktemp("made") / "phantoms", cases=5, held_out=2)


def test_the_manifest_lists_what_is_there(made: Manifest) -> None:
    assert read_manifest(made.data_folder, made.data_folder).rows == made.rows
    assert made.missing_files() == ()
    assert len(made.training(0)) == 4
    assert len(made.validation(0)) == 1
    assert [case.name for case in made.test] == ["phantom_005", "phantom_006"]


def test_images_and_masks_are_on_one_grid_and_the_mask_follows_the_truth(made: Manifest) -> None:
    case = made.training(0)[0]
    assert case.label is not None
    image = read_scan(case.channels["CT"]).volume
    mask = read_label_map(case.label, made.task.label_schema)
    image.geometry.require_same(mask.geometry, "image and mask")
    text = (made.data_folder / "truth" / f"{case.name}.json").read_text(encoding="utf-8")
    truth = PhantomTruth.model_validate_json(text)
    lesions_ml = sum(lesion.volume_ml for lesion in truth.lesions)
    assert mask.mask(2).sum() * mask.geometry.voxel_volume_ml == pytest.approx(lesions_ml, rel=0.05)


def test_the_dicom_series_of_a_held_out_study_is_its_nifti_image(made: Manifest) -> None:
    for study, case in zip(held_out_studies(made), made.test, strict=True):
        assert study.truth.is_file()
        from_dicom = read_scan(study.dicom).volume.reoriented("RAS")
        from_nifti = read_scan(case.channels["CT"]).volume.reoriented("RAS")
        assert from_dicom.unit == "HU"
        from_dicom.geometry.require_same(from_nifti.geometry, "DICOM and NIfTI")
        assert np.array_equal(from_dicom.array, from_nifti.array)


def test_progress_is_told_and_another_seed_makes_patients_of_other_names(made: Manifest, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    others = write_dataset(
        tmp_path / "made", cases=5, held_out=0, seed=1, on_study=lambda done, total: heard.append((done, total))
    )
    assert heard == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert not {case.subject for case in others.cases} & {case.subject for case in made.cases}


def test_too_few_cases_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 5 cases"):
        write_dataset(tmp_path / "made", cases=2)
    assert list(tmp_path.iterdir()) == []
