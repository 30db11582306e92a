"""Measurements are kept with the scan and the reader they are of."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from medseg.core.atomic import UNFINISHED_PREFIX
from medseg.core.errors import StoreError
from medseg.core.findings import Mark
from medseg.review.marks import MarkList, MarkStore

SCAN = "a" * 64
LENGTH = Mark(kind="length", plane="axial", points_mm=((0.0, 0.0, 0.0), (3.0, 4.0, 0.0)))


def test_marks_come_back_to_their_reader(tmp_path: Path) -> None:
    store = MarkStore(tmp_path)
    store.keep(MarkList(marks=(LENGTH,)), SCAN, "jane")
    assert store.find(SCAN, "jane") == (LENGTH,)
    assert store.find(SCAN, "john") == ()
    assert store.find("b" * 64, "jane") == ()
    store.keep(MarkList(marks=()), SCAN, "jane")
    assert store.find(SCAN, "jane") == ()


def test_the_marks_of_all_readers_on_a_scan(tmp_path: Path) -> None:
    store = MarkStore(tmp_path)
    assert store.of_scan(SCAN) == ()
    for reader in ("john", "jane"):
        store.keep(MarkList(marks=(LENGTH,)), SCAN, reader)
    store.keep(MarkList(marks=(LENGTH, LENGTH)), "b" * 64, "jane")
    assert store.of_scan(SCAN) == (("jane", LENGTH), ("john", LENGTH))


def test_marks_that_are_being_saved_or_never_were_are_passed_over(tmp_path: Path) -> None:
    store = MarkStore(tmp_path)
    store.keep(MarkList(marks=(LENGTH,)), SCAN, "jane")
    (store.folder / f"{UNFINISHED_PREFIX}1-{'f' * 55}.json").touch()
    assert store.of_scan(SCAN) == (("jane", LENGTH),)


@pytest.mark.parametrize(("kind", "points"), [("length", 3), ("diameters", 2), ("angle", 2), ("roi", 3)])
def test_a_mark_has_the_points_of_its_kind(kind: str, points: int) -> None:
    with pytest.raises(ValidationError, match="points, got"):
        Mark(kind=kind, plane="axial", points_mm=((0.0, 0.0, 0.0),) * points)


def test_a_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    store = MarkStore(tmp_path)
    store.keep(MarkList(marks=(LENGTH,)), SCAN, "jane")
    next(store.folder.iterdir()).write_text("[")
    with pytest.raises(StoreError, match="damaged"):
        store.find(SCAN, "jane")
