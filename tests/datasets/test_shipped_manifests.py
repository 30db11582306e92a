"""The manifests in data_manifests: each valid, honest about what is unknown, and true to the real files."""

from pathlib import Path

import pytest

from medseg.datasets.checks import check_manifest
from medseg.datasets.manifest import read_manifest
from medseg.datasets.splits import assign_folds, require_apart

FOLDER = Path(__file__).resolve().parents[2] / "data_manifests"
NAMES = sorted(path.name for path in FOLDER.iterdir())
LISTED = {"msd_task04_hippocampus": 200, "ibsi_sts_sarcoma_pet": 34, "ibsi_sts_sarcoma_mr": 20}


def test_the_sets_that_users_bring_are_there() -> None:
    assert NAMES == [
        "asoca", "brats_2021", "ibsi_sts_sarcoma_mr", "ibsi_sts_sarcoma_pet", "imagecas", "msd_task03_liver",
        "msd_task04_hippocampus", "msd_task06_lung", "msd_task07_pancreas", "msd_task08_hepatic_vessel",
        "topcow_2024_ct",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_each_is_valid_and_says_whose_it_is_and_how_to_get_it(name: str) -> None:
    manifest = read_manifest(FOLDER / name, Path("/data"))
    facts = manifest.facts
    assert facts.name == name
    assert facts.attribution
    assert facts.citation
    assert facts.source.address
    assert facts.source.archives or facts.source.files_url or facts.source.how_to_obtain
    assert len(manifest.rows) == LISTED.get(name, 0)
    assert manifest.rows or facts.files, "a set without rows says how its files are named"


@pytest.mark.parametrize("name", NAMES)
def test_patterns_name_the_channels_of_the_task(name: str) -> None:
    manifest = read_manifest(FOLDER / name, Path("/data"))
    if manifest.facts.files:
        assert list(manifest.facts.files.channels) == [channel.name for channel in manifest.task.channels]


@pytest.mark.parametrize("name", LISTED)
def test_folds_are_those_that_the_notes_promise_and_divide_no_subject(name: str) -> None:
    manifest = read_manifest(FOLDER / name, Path("/data"))
    assert manifest.folds == (0, 1, 2, 3, 4)
    again = assign_folds({row.case: row.subject for row in manifest.rows}, 5, seed=2026)
    assert {row.case: row.fold for row in manifest.rows} == again
    for fold in manifest.folds:
        require_apart(manifest.training(fold), manifest.validation(fold))
    assert all(file.sha256 != "unknown" for row in manifest.rows for file in row.files)


def test_the_two_hippocampi_of_a_scan_are_one_subject() -> None:
    manifest = read_manifest(FOLDER / "msd_task04_hippocampus", Path("/data"))
    subject_of = {case.name: case.subject for case in manifest.cases}
    assert subject_of["hippocampus_003"] == subject_of["hippocampus_004"]
    assert subject_of["hippocampus_001"] != subject_of["hippocampus_003"]
    assert len(set(subject_of.values())) == 148
    assert (len(manifest.training(0)), len(manifest.validation(0))) == (160, 40)


@pytest.mark.real_data
@pytest.mark.parametrize("name", LISTED)
def test_the_real_files_are_those_of_the_manifest_and_sound(name: str, real_data: Path) -> None:
    manifest = read_manifest(FOLDER / name, real_data)
    result = check_manifest(manifest)
    assert result.problems == ()
    assert len(result.cases) == LISTED[name]
    for case in result.cases:
        assert all(volume_ml > 0 for volume_ml in case.label_volumes_ml.values())
