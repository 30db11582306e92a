import json
from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import InputError
from medseg.core.task import load_task
from medseg.datasets.dataset_json import read_dataset_json

DECATHLON: dict[str, Any] = {
    "name": "Liver",
    "modality": {"0": "CT"},
    "labels": {"0": "background", "1": "liver", "2": "cancer"},
    "training": [
        {"image": "./imagesTr/liver_1.nii.gz", "label": "./labelsTr/liver_1.nii.gz"},
        {"image": "./imagesTr/liver_0.nii.gz", "label": "./labelsTr/liver_0.nii.gz"},
    ],
    "test": ["./imagesTs/liver_9.nii.gz"],
}
NNUNET: dict[str, Any] = {
    "channel_names": {"0": "FLAIR", "1": "T1w"},
    "labels": {"background": 0, "necrosis": 1, "oedema": 2},
    "numTraining": 2,
    "file_ending": ".nrrd",
}


def write(folder: Path, content: dict[str, Any], *files: str) -> Path:
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def names(labels: dict[str, Any], folder: Path) -> dict[int, str]:
    task, _, _ = read_dataset_json(write(folder, DECATHLON | {"labels": labels}))
    return {label.index: label.name for label in task.labels}


class TestDecathlon:
    def test_lists_its_cases(self, tmp_path: Path) -> None:
        task, rows, notes = read_dataset_json(write(tmp_path, DECATHLON))
        assert [(c.name, c.modality) for c in task.channels] == [("CT", "CT")]
        assert {label.index: (label.name, label.kind) for label in task.labels} == {
            1: ("liver", "organ"),
            2: ("cancer", "lesion"),
        }
        assert [row.case for row in rows] == ["liver_1", "liver_0", "liver_9"]
        assert rows[0].channels["CT"].path == "imagesTr/liver_1.nii.gz"
        assert rows[0].label is not None
        assert rows[0].label.path == "labelsTr/liver_1.nii.gz"
        assert rows[2].label is None
        assert notes == ()

    def test_of_four_sequences_has_one_file_a_case_which_the_checks_will_tell(self, tmp_path: Path) -> None:
        modality = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
        task, rows, _ = read_dataset_json(write(tmp_path, DECATHLON | {"modality": modality}))
        assert [channel.modality for channel in task.channels] == ["MR"] * 4
        assert list(rows[0].channels) == ["FLAIR"]

    def test_may_not_list_files_outside_its_folder(self, tmp_path: Path) -> None:
        training = [{"image": "../../secret.nii.gz", "label": "./labelsTr/a.nii.gz"}]
        with pytest.raises(InputError, match="not inside the data folder"):
            read_dataset_json(write(tmp_path, DECATHLON | {"training": training}))


class TestNnunet:
    FILES = (
        "imagesTr/b_0000.nrrd", "imagesTr/b_0001.nrrd", "labelsTr/b.nrrd",
        "imagesTr/a_1_0000.nrrd", "imagesTr/a_1_0001.nrrd", "labelsTr/a_1.nrrd",
        "imagesTs/t_0000.nrrd", "imagesTs/t_0001.nrrd",
        "imagesTr/._b_0000.nrrd", "imagesTr/notes.txt",
    )  # fmt: skip

    def test_matches_channels_by_their_numbers(self, tmp_path: Path) -> None:
        task, rows, _ = read_dataset_json(write(tmp_path, NNUNET, *self.FILES))
        assert [channel.name for channel in task.channels] == ["FLAIR", "T1w"]
        assert [row.case for row in rows] == ["a_1", "b", "t"]
        assert {name: file.path for name, file in rows[0].channels.items()} == {
            "FLAIR": "imagesTr/a_1_0000.nrrd",
            "T1w": "imagesTr/a_1_0001.nrrd",
        }
        assert rows[0].label is not None
        assert rows[0].label.path == "labelsTr/a_1.nrrd"
        assert rows[2].label is None

    def test_takes_the_name_of_its_folder_for_the_task(self, tmp_path: Path) -> None:
        folder = tmp_path / "Dataset027_ACDC"
        folder.mkdir()
        task, _, _ = read_dataset_json(write(folder, NNUNET, *self.FILES))
        assert task.name == "dataset027_acdc"

    @pytest.mark.parametrize("name", ["b.nrrd", "b_0002.nrrd", "b_00.nrrd"])
    def test_refuses_an_image_without_a_channel_number(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=rf"{name} is not named like an nnU-Net image: .*_0001\.nrrd"):
            read_dataset_json(write(tmp_path, NNUNET, f"imagesTr/{name}"))

    def test_without_any_case_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="lists no cases"):
            read_dataset_json(write(tmp_path, NNUNET))

    @pytest.mark.parametrize("last", [3, [3]])
    def test_regions_become_regions_over_the_labels_they_are_made_of(self, last: object, tmp_path: Path) -> None:
        labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": last}
        task, _, notes = read_dataset_json(write(tmp_path, NNUNET | {"labels": labels}, *self.FILES))
        assert {label.index: label.name for label in task.labels} == {1: "label_1", 2: "label_2", 3: "label_3"}
        assert {region.name: region.labels for region in task.regions} == {
            "whole": ("label_1", "label_2", "label_3"),
            "core": ("label_2", "label_3"),
            "enhancing": ("label_3",),
        }
        assert set(task.overlap_classes or ()) == {(1, 2, 3), (2, 3), (3,)}
        assert notes[0] == "whole is a region of dataset.json: the labels 1, 2, 3 together."
        assert len(notes) == 3

    def test_a_list_of_one_index_that_stands_alone_is_a_label(self, tmp_path: Path) -> None:
        labels = {"background": 0, "liver": [1], "both": [2, 3]}
        task, _, _ = read_dataset_json(write(tmp_path, NNUNET | {"labels": labels}, *self.FILES))
        assert {label.index: label.name for label in task.labels} == {1: "liver", 2: "label_2", 3: "label_3"}
        assert [region.name for region in task.regions] == ["both"]

    @pytest.mark.parametrize("index", [0, 4])
    def test_a_region_of_background_or_ignored_voxels_is_refused(self, index: int, tmp_path: Path) -> None:
        labels = {"background": 0, "liver": 1, "all": [1, index], "ignore": 4}
        with pytest.raises(InputError, match="a region names the background or the ignored voxels"):
            read_dataset_json(write(tmp_path, NNUNET | {"labels": labels}, *self.FILES))

    def test_ignore_is_no_label_but_the_value_of_voxels_nobody_judged(self, tmp_path: Path) -> None:
        labels = {"background": 0, "liver": 1, "ignore": 2}
        task, _, notes = read_dataset_json(write(tmp_path, NNUNET | {"labels": labels}, *self.FILES))
        assert task.label_schema.indices == (0, 1)
        assert task.label_schema.ignored == 2
        assert notes == ("Voxels of 2 in the masks were judged by nobody: they are left out of losses and scores.",)

    def test_a_given_task_learns_of_the_ignored_value(self, tmp_path: Path) -> None:
        content = NNUNET | {"channel_names": {"0": "MR"}, "labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}
        folder = write(tmp_path, content, "imagesTr/c_0000.nrrd", "labelsTr/c.nrrd")
        task, _, _ = read_dataset_json(folder, load_task("hippocampus_mr"))
        assert task.ignored_index == 3

    @pytest.mark.parametrize("ending", [".png", ".tif", ".npy"])
    def test_pictures_without_a_grid_are_refused(self, ending: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=rf"file_ending '{ending}'; medseg reads \.nii\.gz, .* spacing and orient"):
            read_dataset_json(write(tmp_path, NNUNET | {"file_ending": ending}, f"imagesTr/a_0000{ending}"))

    def test_cases_may_be_listed_one_by_one(self, tmp_path: Path) -> None:
        listed = {"x": {"images": ["a/x1.nrrd", "b/x2.nrrd"], "label": "c/x.nrrd"}}
        _, (row,), _ = read_dataset_json(write(tmp_path, NNUNET | {"dataset": listed}))
        assert {name: file.path for name, file in row.channels.items()} == {"FLAIR": "a/x1.nrrd", "T1w": "b/x2.nrrd"}
        assert row.label is not None
        assert row.label.path == "c/x.nrrd"

    @pytest.mark.parametrize(
        ("images", "message"), [(["a.nrrd"], "lists 1 images of case x"), (["/etc/a", "b"], "not inside the data")]
    )
    def test_listed_cases_that_cannot_be_used_are_refused(
        self, images: list[str], message: str, tmp_path: Path
    ) -> None:
        listed = {"x": {"images": images, "label": "c/x.nrrd"}}
        with pytest.raises(InputError, match=message):
            read_dataset_json(write(tmp_path, NNUNET | {"dataset": listed}))


class TestLabels:
    def test_of_both_kinds_are_read(self, tmp_path: Path) -> None:
        assert names({"0": "background", "1": "liver"}, tmp_path) == {1: "liver"}
        assert names({"background": 0, "liver": 1}, tmp_path) == {1: "liver"}

    @pytest.mark.parametrize("value", [1.5, True, [], ["1"], {"a": 1}, None])
    def test_of_another_kind_are_refused(self, value: object, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"label 'liver' has the value .*an index, or a list of them"):
            names({"background": 0, "liver": value}, tmp_path)

    def test_of_nothing_but_background_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nothing but background"):
            names({"0": "background"}, tmp_path)

    def test_get_a_code_that_depends_on_the_name_alone(self, tmp_path: Path) -> None:
        first, _, _ = read_dataset_json(write(tmp_path, DECATHLON))
        second, _, _ = read_dataset_json(write(tmp_path, DECATHLON | {"labels": {"0": "b", "5": "Liver"}}))
        assert first.labels[0].code.value == second.labels[0].code.value
        assert first.labels[0].code.scheme == "99MEDSEG"
        assert first.labels[0].code.value != first.labels[1].code.value


class TestChannels:
    @pytest.mark.parametrize(
        ("name", "modality"),
        [("CT", "CT"), ("CTA", "CT"), ("PET", "PT"), ("MRI", "MR"), ("T2w", "MR"), ("FLAIR", "MR"), ("noNorm", "OT")],
    )
    def test_tell_their_modality(self, name: str, modality: str, tmp_path: Path) -> None:
        task, _, _ = read_dataset_json(write(tmp_path, DECATHLON | {"modality": {"0": name}}))
        assert task.channels[0].modality == modality

    def test_of_one_name_or_of_a_column_s_name_are_told_apart(self, tmp_path: Path) -> None:
        modality = {"0": "label", "1": "T1 post contrast"}
        task, _, _ = read_dataset_json(write(tmp_path, DECATHLON | {"modality": modality}))
        assert [channel.name for channel in task.channels] == ["channel_0_label", "T1_post_contrast"]

    def test_stand_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        modality = {str(n): f"c{n}" for n in (10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9)}
        task, _, _ = read_dataset_json(write(tmp_path, DECATHLON | {"modality": modality}))
        assert [channel.name for channel in task.channels] == [f"c{n}" for n in range(11)]

    @pytest.mark.parametrize("modality", [{}, {"first": "CT"}])
    def test_without_numbers_are_refused(self, modality: dict[str, str], tmp_path: Path) -> None:
        with pytest.raises(InputError, match="channels"):
            read_dataset_json(write(tmp_path, DECATHLON | {"modality": modality}))

    def test_must_be_as_many_as_the_given_task_has(self, tmp_path: Path) -> None:
        task = load_task("brain_tumour_mr")
        with pytest.raises(InputError, match="has 1 channels and the task brain_tumour_mr has 4"):
            read_dataset_json(write(tmp_path, DECATHLON), task)


def test_a_given_task_names_the_columns(tmp_path: Path) -> None:
    task, rows, _ = read_dataset_json(
        write(tmp_path, DECATHLON | {"modality": {"0": "MRI"}}), load_task("hippocampus_mr")
    )
    assert task.name == "hippocampus_mr"
    assert list(rows[0].channels) == ["MR"]


@pytest.mark.parametrize("text", ["{", "[]", '"text"', "{}", '{"labels": {}}', '{"labels": {"a": 1}, "training": [1]}'])
def test_what_is_no_dataset_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"dataset\.json (is not|names no channels)"):
        read_dataset_json(tmp_path)
