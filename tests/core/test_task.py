from pathlib import Path

import pytest
from pydantic import ValidationError
from pydicom.sr._concepts_dict import concepts

from medseg.core.errors import InputError
from medseg.core.labels import Code
from medseg.core.task import Task, load_task, parse_task, shipped_tasks

MINIMAL = """
name = "t"
title = "T"
[[channels]]
name = "CT"
modality = "CT"
[[labels]]
index = 1
name = "liver"
colour = [1, 2, 3]
code = { value = "10200004", scheme = "SCT", meaning = "Liver" }
category = { value = "91723000", scheme = "SCT", meaning = "Anatomical Structure" }
"""


def known(code: Code) -> bool:
    """Whether pydicom's dictionary of standard concepts has the code under this meaning, letter case aside."""
    meanings = {
        meaning.lower()
        for entries in concepts[code.scheme].values()
        for value, (meaning, _) in entries.items()
        if value == code.value
    }
    return code.meaning.lower() in meanings


@pytest.mark.parametrize("name", shipped_tasks())
def test_every_shipped_task_is_valid_and_its_codes_are_standard_ones(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    for label in task.labels:
        codes = [label.code, label.category, *([label.modifier] if label.modifier else [])]
        assert [code for code in codes if not known(code)] == []


@pytest.mark.parametrize("name", shipped_tasks())
def test_labels_of_a_task_can_be_told_apart(name: str) -> None:
    labels = load_task(name).labels
    assert len({label.colour for label in labels}) == len(labels)
    assert len({(label.code, label.modifier, label.name) for label in labels}) == len(labels)


def test_a_task_file_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL, encoding="utf-8")
    assert load_task(path).title == "T"
    assert load_task(str(path)).label_schema.indices == (0, 1)


def test_a_missing_file_and_an_unknown_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_task(tmp_path / "none.toml")
    with pytest.raises(InputError, match=r"no task 'none'; medseg ships .*hippocampus_mr"):
        load_task("none")


def test_text_that_is_no_toml_is_refused_with_its_source() -> None:
    with pytest.raises(InputError, match=r"my\.toml is not TOML"):
        parse_task("name = ", "my.toml")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "t"', 'name = "T one"', "name"),
        ('modality = "CT"', 'modality = "XRAY"', "channels.0.modality"),
        ("colour = [1, 2, 3]", "colour = [1, 2, 300]", "labels.0.colour"),
        ('title = "T"', 'title = "T"\ntypo = 1', "typo"),
        ('title = "T"', 'title = "T"\nmin_finding_ml = -1.0', "min_finding_ml"),
        ('title = "T"', 'title = "T"\nwindow = { centre = 0.0, width = 0.0 }', "window.width"),
        ("index = 1", "index = 0", "labels.0.index"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(old: str, new: str, says: str) -> None:
    with pytest.raises(InputError, match=f"my.toml is not a valid task: {says}"):
        parse_task(MINIMAL.replace(old, new), "my.toml")


def test_two_channels_or_labels_of_one_name_are_refused() -> None:
    channel, label = (
        MINIMAL[MINIMAL.index("[[channels]]") : MINIMAL.index("[[labels]]")],
        MINIMAL[MINIMAL.index("[[labels]]") :],
    )
    with pytest.raises(InputError, match="channel name used more than once"):
        parse_task(MINIMAL.replace(channel, channel * 2), "my.toml")
    with pytest.raises(InputError, match="label index used more than once: 1"):
        parse_task(MINIMAL + label, "my.toml")


def test_it_is_told_how_many_more_problems_there_are() -> None:
    with pytest.raises(InputError, match=r"\(and 1 more\)"):
        parse_task(MINIMAL.replace('title = "T"', "typo = 1"), "my.toml")


def test_regions_are_of_labels_that_there_are() -> None:
    region = '[[regions]]\nname = "{name}"\nlabels = [{labels}]\n'
    for name, labels, says in (
        ("all", '"liver", "spleen"', "region 'all' names 'spleen'; the labels are liver"),
        ("all", '"liver", "liver"', "region 'all' names the label 'liver' more than once"),
        ("liver", '"liver"', "'liver' names more than one label or region"),
        ("all", "", "regions.0.labels"),
    ):
        with pytest.raises(InputError, match=says):
            parse_task(MINIMAL + region.format(name=name, labels=labels), "my.toml")


def test_overlap_counts_for_regions_and_for_labels_outside_them() -> None:
    task = load_task("brain_tumour_mr")
    assert [region.name for region in task.regions] == ["enhancing", "tumour_core", "whole_tumour"]
    assert task.overlap_classes == ((3,), (1, 3), (1, 2, 3))  # the third label, whose index in BraTS is 4
    fewer = task.model_copy(update={"regions": task.regions[1:2]})
    assert fewer.overlap_classes == ((1, 3), (2,))
    assert parse_task(MINIMAL, "my.toml").overlap_classes is None


def test_the_ignored_value_is_no_label_and_left_out_of_the_file_where_there_is_none() -> None:
    task = load_task("hippocampus_mr")
    assert "ignored_index" not in task.model_dump(exclude_none=True)
    assert Task.model_validate({**task.model_dump(), "ignored_index": 3}).label_schema.ignored == 3
    with pytest.raises(ValidationError, match="2 cannot be both a label and the value of voxels that nobody judged"):
        Task.model_validate({**task.model_dump(), "ignored_index": 2})
