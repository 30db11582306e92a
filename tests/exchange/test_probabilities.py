"""The kept probabilities: which file holds which label, and which map is meant where nobody says."""

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.probability import Probabilities, ProbabilityMap
from medseg.core.task import Task, load_task
from medseg.exchange.probabilities import label_for_map, probability_files, read_probability, write_probabilities

GRID = Geometry.from_spacing((2, 3, 4), (1.0, 1.0, 2.0))


def a_map(value: float) -> ProbabilityMap:
    return ProbabilityMap(np.full(GRID.shape, round(255 * value), np.uint8), GRID)


@pytest.fixture
def task() -> Task:
    return load_task("hippocampus_mr")


def test_files_are_named_after_their_labels(task: Task) -> None:
    one, other = task.labels
    renamed = task.model_copy(
        update={"labels": (one.model_copy(update={"name": "left/up"}), other.model_copy(update={"name": "left up"}))}
    )
    assert probability_files(renamed) == {
        "left/up": "probability_left_up.nii.gz",
        "left up": f"probability_left_up_{other.index}.nii.gz",
    }


def test_a_map_comes_back_by_its_label(task: Task, tmp_path: Path) -> None:
    one, other = (label.name for label in task.labels)
    write_probabilities(Probabilities({one: a_map(0.2), other: a_map(0.8)}, a_map(1.0)), task, tmp_path)
    found = read_probability(tmp_path, task, other)
    assert found is not None
    assert found.geometry.difference(GRID) is None
    np.testing.assert_array_equal(found.array, a_map(0.8).array)
    with pytest.raises(InputError, match=f"no probability of a label 'none'; there is that of {one}, {other}"):
        read_probability(tmp_path, task, "none")


def test_the_only_one_kept_is_meant_and_none_where_none_is(task: Task, tmp_path: Path) -> None:
    assert read_probability(tmp_path, task) is None
    with pytest.raises(InputError, match="there is that of none"):
        read_probability(tmp_path, task, task.labels[0].name)
    write_probabilities(Probabilities({task.labels[1].name: a_map(0.4)}, None), task, tmp_path)
    found = read_probability(tmp_path, task)
    assert found is not None
    np.testing.assert_array_equal(found.array, a_map(0.4).array)


def test_of_several_the_only_counted_one_is_meant() -> None:
    labels = load_task("hippocampus_mr").labels
    with pytest.raises(InputError, match="a probability map is of one label, and there are"):
        label_for_map(labels)
    lesion = labels[1].model_copy(update={"kind": "lesion"})
    assert label_for_map([labels[0], lesion]) == lesion
