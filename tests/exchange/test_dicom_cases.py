"""Every made case is read right, voxel for voxel, or refused with its reason; nothing is wrong in silence."""

import re
from pathlib import Path

import numpy as np
import pytest
from dicom_case_table import DOCUMENT
from dicom_cases import REFUSED, RIGHT, Case
from dicom_oracle import Grid, error_of, made_series, save_all

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_is_read_right(case: Case, tmp_path: Path) -> None:
    scan = read_scan(case.make(tmp_path / "in"), **case.mends)
    assert scan.volume.unit == "HU"
    assert scan.volume.array.shape[2] == case.slices
    assert error_of(scan.volume, case.offset) <= case.error
    if case.warns:
        assert any(case.warns in warning for warning in scan.warnings), scan.warnings
    else:
        assert scan.warnings == ()


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_is_refused_with_its_reason(case: Case, tmp_path: Path) -> None:
    path = case.make(tmp_path / "in")
    with pytest.raises(InputError) as caught:
        read_scan(path, **case.mends)
    assert re.search(case.refused, str(caught.value), re.DOTALL), str(caught.value)


def test_there_are_enough_cases_and_each_has_its_own_name() -> None:
    names = [case.name for case in (*RIGHT, *REFUSED)]
    assert len(names) == len(set(names))
    assert len(names) >= 180


def test_the_table_in_the_docs_lists_every_case_with_its_result() -> None:
    said = [
        line.split(" | ")[:2] for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| ")
    ]
    in_table = {name.removeprefix("| ").partition(" (`")[0]: result for name, result in said[2:]}
    expected = {case.name: "read right" for case in RIGHT} | {case.name: "refused" for case in REFUSED}
    assert in_table == expected, "run: python tests/exchange/dicom_case_table.py"


def test_the_oracle_sees_a_flip_a_shift_and_a_wrong_spacing(tmp_path: Path) -> None:
    volume = read_scan(save_all(made_series(Grid()), tmp_path)).volume
    affine = volume.geometry.affine
    shifted, stretched = affine.copy(), affine.copy()
    shifted[2, 3] += 0.5
    stretched[:3, 0] *= 1.02
    for wrong in (
        Volume(volume.array[::-1], volume.geometry),
        Volume(np.roll(volume.array, 1, axis=2), volume.geometry),
        Volume(volume.array, Geometry(volume.geometry.shape, shifted)),
        Volume(volume.array, Geometry(volume.geometry.shape, stretched)),
    ):
        assert error_of(wrong) > 0.51
