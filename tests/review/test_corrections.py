"""Corrections are kept for good, chained, and never overwrite one another."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from medseg.core.database import make_tables
from medseg.core.errors import InputError, StoreError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import load_task
from medseg.review.corrections import ConflictError, CorrectionStore, Signature
from medseg.review.head import HEAD_FILE, read_head
from medseg.review.records import Correction, Verdict, mask_sha256

TASK = load_task("phantom_ct")
SCAN = "a" * 64
GRID = Geometry.from_spacing((5, 4, 3), (1.0, 1.0, 2.0))
JANE = Signature("jane", reason="missed rim", duration_s=12.5, model_sha256="c" * 64)


def mask(*voxels: tuple[int, int, int]) -> LabelMap:
    labels = np.zeros(GRID.shape, np.uint8)
    for voxel in voxels:
        labels[voxel] = 2
    return LabelMap(labels, GRID, TASK.label_schema)


@pytest.fixture
def store(tmp_path: Path) -> CorrectionStore:
    return CorrectionStore(tmp_path / "review")


def test_a_correction_comes_back_voxel_for_voxel(store: CorrectionStore) -> None:
    saved = store.correct(mask((1, 1, 1), (2, 1, 1)), mask((1, 1, 1)), SCAN, TASK.name, by=JANE)
    assert (saved.changed_voxels, saved.reader, saved.reason, saved.duration_s) == (1, "jane", "missed rim", 12.5)
    assert store.history(SCAN, TASK.name) == (saved,)
    again = store.mask(saved, TASK.label_schema)
    assert np.argwhere(again.array).tolist() == [[1, 1, 1], [2, 1, 1]]
    assert again.geometry.difference(GRID) is None
    head = store.verify()
    assert head is not None
    assert head.count == 1


def test_the_second_of_two_who_started_from_the_same_mask_is_told(store: CorrectionStore) -> None:
    base = mask((1, 1, 1))
    store.correct(mask((1, 1, 2)), base, SCAN, TASK.name, by=JANE)
    with pytest.raises(ConflictError, match="jane saved another correction"):
        store.correct(mask((0, 0, 0)), base, SCAN, TASK.name, by=Signature("john"))
    assert len(store.history(SCAN, TASK.name)) == 1


def test_corrections_follow_one_another(store: CorrectionStore) -> None:
    first, second = mask((1, 1, 1)), mask((1, 1, 2))
    store.correct(second, first, SCAN, TASK.name, by=JANE)
    store.correct(first, second, SCAN, TASK.name, by=JANE)
    records = store.history(SCAN, TASK.name)
    assert [type(record) for record in records] == [Correction, Correction]
    assert store.history("b" * 64, TASK.name) == ()


def test_results_of_two_models_on_one_scan_have_corrections_of_their_own(store: CorrectionStore) -> None:
    ours, theirs = mask((1, 1, 1)), mask((3, 3, 2))
    other = Signature("john", model_sha256="d" * 64)
    mine = store.correct(mask((1, 1, 2)), ours, SCAN, TASK.name, by=JANE)
    store.decide(mine.mask_sha256, "accepted", None, SCAN, TASK.name, by=JANE)
    his = store.correct(mask((0, 0, 0)), theirs, SCAN, TASK.name, by=other)
    assert [record.reader for record in store.history(SCAN, TASK.name, "c" * 64)] == ["jane", "jane"]
    assert store.history(SCAN, TASK.name, "d" * 64) == (his,)
    assert store.history(SCAN, TASK.name, "e" * 64) == ()
    with pytest.raises(ConflictError, match="john saved another correction"):
        store.correct(mask((2, 2, 2)), theirs, SCAN, TASK.name, by=other)
    # A verdict of before models were named is about the result whose mask it is on; where none is known, about all.
    store.add(rejection(his.mask_sha256), rejection("f" * 64))
    assert [len(store.history(SCAN, TASK.name, model * 64)) for model in "cde"] == [3, 3, 1]


def rejection(on: str) -> Verdict:
    made = datetime(2026, 3, 1, tzinfo=UTC)
    return Verdict(scan_sha256=SCAN, task=TASK.name, reader="jane", made=made, mask_sha256=on, decision="rejected")


def test_a_verdict_on_a_mask_that_is_no_longer_shown_is_refused(store: CorrectionStore) -> None:
    model_mask = mask((1, 1, 1))
    corrected = store.correct(mask((1, 1, 2)), model_mask, SCAN, TASK.name, by=replace(JANE, reader="john"))
    for finding in (None, ("lesion", 1)):
        with pytest.raises(ConflictError, match=r"john saved another correction .* Look at the newest mask"):
            store.decide(mask_sha256(model_mask), "accepted", finding, SCAN, TASK.name, by=JANE)
    assert store.history(SCAN, TASK.name) == (corrected,)
    store.decide(corrected.mask_sha256, "accepted", None, SCAN, TASK.name, by=JANE)
    # The result of another model has a mask of its own.
    store.decide(mask_sha256(model_mask), "accepted", None, SCAN, TASK.name, by=replace(JANE, model_sha256="d" * 64))


def test_what_is_committed_is_saved_where_its_head_cannot_be_written(
    store: CorrectionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = mask((1, 1, 1)), mask((1, 1, 2))
    store.correct(first, mask(), SCAN, TASK.name, by=JANE)
    with monkeypatch.context() as full:
        full.setattr("medseg.review.corrections.write_head", refused)
        saved = store.correct(second, first, SCAN, TASK.name, by=JANE)
    assert store.history(SCAN, TASK.name)[-1] == saved
    assert store.verify() is not None
    store.correct(first, second, SCAN, TASK.name, by=JANE)
    head = read_head(store.folder)
    assert head is not None
    assert head.count == 3


def refused(*_: object) -> None:
    raise InputError("the disk is full: head.json was not written. Free some space and try again.")


def test_a_disk_that_is_full_is_told_as_it_is(store: CorrectionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_tables_on_a_full_disk(connection: sqlite3.Connection, tables: str, version: int) -> None:
        make_tables(connection, tables, version)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    monkeypatch.setattr("medseg.review.corrections.make_tables", make_tables_on_a_full_disk)
    long = rejection("f" * 64).model_copy(update={"reason": "x" * 2000})
    with pytest.raises(InputError, match="database or disk is full"):
        store.add(*[long] * 10)
    assert store.history(SCAN, TASK.name) == ()


def test_no_change_is_no_correction(store: CorrectionStore) -> None:
    with pytest.raises(InputError, match="nothing was changed"):
        store.correct(mask((1, 1, 1)), mask((1, 1, 1)), SCAN, TASK.name, by=JANE)
    assert store.verify() is None


def test_a_correction_on_another_grid_is_none(store: CorrectionStore) -> None:
    moved = mask((1, 1, 1))
    moved = LabelMap(moved.array, moved.geometry.cropped((1, 0, 0), moved.geometry.shape), moved.schema)
    with pytest.raises(InputError, match="lies on the grid of the mask it corrects: the grids lie up to"):
        store.correct(moved, mask(), SCAN, TASK.name, by=JANE)
    assert store.scans() == ()


def test_a_store_where_a_file_stands_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear colleague")
    store = CorrectionStore(tmp_path / "letter.txt" / "review")
    with pytest.raises(InputError, match=r"the review store .* cannot be written: Not a directory"):
        store.decide(mask_sha256(mask()), "accepted", None, SCAN, TASK.name, by=JANE)


def test_a_store_that_is_being_made_holds_nothing_yet(store: CorrectionStore) -> None:
    store.folder.mkdir()
    (store.folder / "reviews.sqlite").touch()
    assert store.scans() == ()
    assert store.history("0" * 64, TASK.name) == ()
    assert store.verify() is None


def test_what_is_recorded_is_listed_once(store: CorrectionStore) -> None:
    assert store.scans() == ()
    first, second = mask((1, 1, 1)), mask((1, 1, 2))
    store.correct(second, first, SCAN, TASK.name, by=JANE)
    store.correct(first, second, SCAN, TASK.name, by=JANE)
    store.correct(second, first, "b" * 64, TASK.name, by=JANE)
    assert store.scans() == ((SCAN, TASK.name), ("b" * 64, TASK.name))


def test_a_damaged_head_is_a_sentence(store: CorrectionStore) -> None:
    store.correct(mask((1, 1, 1)), mask(), SCAN, TASK.name, by=JANE)
    (store.folder / HEAD_FILE).write_text("[")
    with pytest.raises(StoreError, match="is damaged: it should name the last record"):
        store.verify()


def test_a_verdict_is_kept_with_the_mask_it_is_on(store: CorrectionStore) -> None:
    on = mask_sha256(mask((1, 1, 1)))
    store.decide(on, "rejected", ("lesion", 2), SCAN, TASK.name, by=Signature("jane", reason="a vessel"))
    (record,) = store.history(SCAN, TASK.name)
    assert isinstance(record, Verdict)
    assert (record.decision, record.finding, record.mask_sha256) == ("rejected", ("lesion", 2), on)


def test_records_cannot_be_changed_or_removed(store: CorrectionStore) -> None:
    store.decide("a" * 64, "accepted", None, SCAN, TASK.name, by=JANE)
    with sqlite3.connect(store.folder / "reviews.sqlite") as connection:
        for statement in ("UPDATE records SET text = ''", "DELETE FROM records"):
            with pytest.raises(sqlite3.IntegrityError, match="immutable"):
                connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET text = replace(text, 'jane', 'john') WHERE number = 1",
        "DELETE FROM records WHERE number = 1",
    ],
)
def test_tampering_past_the_triggers_is_found(store: CorrectionStore, statement: str) -> None:
    for _ in range(2):
        store.decide("a" * 64, "accepted", None, SCAN, TASK.name, by=JANE)
    tamper(store, statement)
    with pytest.raises(StoreError, match="does not continue the chain"):
        store.verify()


def tamper(store: CorrectionStore, statement: str) -> None:
    connection = sqlite3.connect(store.folder / "reviews.sqlite")
    connection.executescript(f"DROP TRIGGER no_change_of_records; DROP TRIGGER no_removal_of_records; {statement};")
    connection.close()


def test_a_removed_last_record_is_found(store: CorrectionStore) -> None:
    for _ in range(3):
        store.decide("a" * 64, "accepted", None, SCAN, TASK.name, by=JANE)
    tamper(store, "DELETE FROM records WHERE number = 3")
    with pytest.raises(StoreError, match="removed from the end"):
        store.verify()
    (store.folder / HEAD_FILE).unlink()
    with pytest.raises(StoreError, match="has lost the file"):
        store.verify()


def test_a_kill_between_record_and_head_is_no_tampering(store: CorrectionStore) -> None:
    store.decide("a" * 64, "accepted", None, SCAN, TASK.name, by=JANE)
    before = (store.folder / HEAD_FILE).read_bytes()
    store.decide("a" * 64, "rejected", None, SCAN, TASK.name, by=JANE)
    (store.folder / HEAD_FILE).write_bytes(before)
    head = store.verify()
    assert head is not None
    assert head.count == 2


def test_a_chain_written_anew_does_not_hold_a_link_that_was_noted(store: CorrectionStore, tmp_path: Path) -> None:
    store.decide("a" * 64, "accepted", None, SCAN, TASK.name, by=JANE)
    head = store.verify()
    assert head is not None
    store.decide("b" * 64, "accepted", None, SCAN, TASK.name, by=JANE)
    assert store.verify(head.link) is not None
    forged = CorrectionStore(tmp_path / "forged")
    forged.decide("a" * 64, "rejected", None, SCAN, TASK.name, by=JANE)
    with pytest.raises(StoreError, match="that was noted"):
        forged.verify(head.link)


def test_a_store_of_before_there_were_heads_is_whole(store: CorrectionStore) -> None:
    for _ in range(2):
        store.decide("a" * 64, "accepted", None, SCAN, TASK.name, by=JANE)
    (store.folder / HEAD_FILE).unlink()
    connection = sqlite3.connect(store.folder / "reviews.sqlite")
    connection.execute("PRAGMA user_version=1")
    connection.close()
    head = store.verify()
    assert head is not None
    assert head.count == 2


def test_an_altered_mask_is_found(store: CorrectionStore) -> None:
    saved = store.correct(mask((1, 1, 1)), mask(), SCAN, TASK.name, by=JANE)
    path = store.folder / "masks" / f"{saved.file_sha256}.nii.gz"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(StoreError, match="altered"):
        store.mask(saved, TASK.label_schema)
    with pytest.raises(StoreError, match="missing or altered"):
        store.verify()
    path.unlink()
    with pytest.raises(StoreError, match="missing"):
        store.mask(saved, TASK.label_schema)


def test_a_store_of_a_newer_version_is_left_alone(store: CorrectionStore) -> None:
    store.decide("a" * 64, "accepted", None, SCAN, TASK.name, by=JANE)
    connection = sqlite3.connect(store.folder / "reviews.sqlite")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="newer medseg"):
        store.history(SCAN, TASK.name)
    with pytest.raises(StoreError, match="newer medseg"):
        store.decide("a" * 64, "accepted", None, SCAN, TASK.name, by=JANE)


def test_a_damaged_store_is_a_sentence(store: CorrectionStore) -> None:
    store.folder.mkdir()
    (store.folder / "reviews.sqlite").write_bytes(b"not a database, not at all" * 100)
    with pytest.raises(StoreError, match="is damaged"):
        store.history(SCAN, TASK.name)


def test_the_hash_of_a_mask_does_not_depend_on_how_it_is_stored() -> None:
    one = mask((1, 2, 0))
    wide = LabelMap(one.array.astype(np.uint16), GRID, TASK.label_schema)
    assert mask_sha256(one) == mask_sha256(wide) == mask_sha256(one.reoriented("PIR"))
    assert mask_sha256(one) != mask_sha256(mask((1, 2, 1)))
