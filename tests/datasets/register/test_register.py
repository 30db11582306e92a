"""No patient crosses from training to the test, by any name, turned any way, in any generation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import InputError, StoreError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.datasets.register.register import (
    Register,
    begin_register,
    first_sides,
    read_register,
    write_register,
)
from medseg.datasets.register.voxel_print import voxel_print

GRID = Geometry.from_spacing((6, 5, 4), (1.0, 1.0, 2.0))


def scan(seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).integers(0, 900, GRID.shape).astype(np.int16), GRID)


def disguised() -> list[Volume]:
    """The scan of seed 0 in other clothes."""
    array = scan().array
    padded = np.pad(array, 3, constant_values=array.min())
    return [
        scan().reoriented("LPI"),
        scan().reoriented("SAR"),
        Volume(array[::-1].copy(), GRID),
        Volume(array, Geometry.from_spacing(GRID.shape, (3.0, 3.0, 3.0), (7.0, 8.0, 9.0))),
        Volume(array.astype(np.float32), GRID),
        Volume((2.5 * array - 1024).astype(np.float32), GRID),
        Volume(padded, Geometry.from_spacing((12, 11, 10), (1.0, 1.0, 2.0))),
    ]


@pytest.mark.parametrize("number", range(7))
def test_the_same_voxels_have_the_same_print(number: int) -> None:
    assert voxel_print(disguised()[number]) == voxel_print(scan())


def test_other_voxels_have_another_print() -> None:
    changed = scan().array.copy()
    changed[3, 2, 1] += 1
    prints = {voxel_print(scan(seed)) for seed in range(20)} | {voxel_print(Volume(changed, GRID))}
    assert len(prints) == 21


def register() -> Register:
    begun = begin_register({"anna": "training", "bert": "validation", "cleo": "test"}, salt="s")
    for number, subject in enumerate(("anna", "bert", "cleo")):
        begun = begun.entered(subject, subject, [voxel_print(scan(number))])
    return begun


def test_a_patient_under_another_name_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"case planted holds the very voxels .* registered for training under another"
    ):
        register().entered("planted", "dora", [voxel_print(disguised()[0])])
    assert register().entered("again", "anna", [voxel_print(disguised()[0])]).side("anna") == "training"


def test_no_training_reads_a_test_case() -> None:
    register().require_no_test({"anna": [voxel_print(scan(0))], "new": [voxel_print(scan(9))]})
    with pytest.raises(InputError, match="case x is kept for the test"):
        register().require_no_test({"x": [voxel_print(scan(2).reoriented("LPI"))]})


def test_who_comes_later_stays_on_one_side_and_never_joins_the_test() -> None:
    now = register()
    sides = {}
    for number in range(400):
        subject = f"patient {number}"
        sides[subject] = now.side(subject)
        now = now.entered(subject, subject, [f"{number:064x}"])
    assert {subject: now.side(subject) for subject in sides} == sides
    count = list(sides.values()).count("validation")
    assert list(sides.values()).count("test") == 0
    assert 35 < count < 90  # 60 expected, standard deviation 7
    assert now.side("cleo") == "test"


def test_first_sides_never_test_on_what_was_learned() -> None:
    subjects = [f"s{n}" for n in range(10)]
    sides = first_sides(subjects, learned=subjects[:6], for_test=())
    assert {side: list(sides.values()).count(side) for side in ("training", "validation", "test")} == {
        "training": 6,
        "validation": 2,
        "test": 2,
    }
    assert all(sides[subject] == "training" for subject in subjects[:6])
    assert first_sides(subjects, subjects[:6], for_test=["s5", "s7"])["s7"] == "test"
    assert first_sides(subjects, subjects[:6], for_test=["s5", "s7"])["s5"] == "training"
    with pytest.raises(InputError, match="learned from 9 of 10"):
        first_sides(subjects, subjects[:9], ())


def test_it_comes_back_from_the_disk_and_names_no_patient(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    write_register(register(), path)
    assert read_register(path) == register()
    assert "bert" not in path.read_text()


def test_a_register_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    with pytest.raises(StoreError, match="there is no register"):
        read_register(path)
    path.write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        read_register(path)
    path.write_text(register().model_dump_json().replace('"format":1', '"format":2'))
    with pytest.raises(StoreError, match="newer medseg"):
        read_register(path)
