"""Second readings: kept beside the first, shown to nobody until somebody else has said which of the two stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import load_task
from medseg.review.agreement import (
    Agreement,
    adjudicate,
    agreement,
    awaits_adjudication,
    readings,
    second_reading_problem,
)
from medseg.review.corrections import ConflictError, CorrectionStore, Signature
from medseg.review.records import Record, mask_sha256, review_status, shown_correction
from medseg.review.standing import standing

TASK = load_task("hippocampus_mr")
SCAN = "a" * 64
GRID = Geometry.from_spacing((10, 1, 1), (1.0, 1.0, 1.0))


def mask(text: str) -> LabelMap:
    return LabelMap(np.array([int(digit) for digit in text], np.uint8).reshape(GRID.shape), GRID, TASK.label_schema)


MODEL, JANE, JOHN, LATER = mask("0110000000"), mask("0111000000"), mask("0011110000"), mask("0111100000")


def save(store: CorrectionStore, drawn: LabelMap, base: LabelMap, reader: str, *, is_second: bool = False) -> None:
    store.correct(drawn, base, SCAN, TASK.name, by=Signature(reader), is_second_reading=is_second)


@pytest.fixture
def store(tmp_path: Path) -> CorrectionStore:
    """Jane has read a case, and john has read it after her without a look at what she drew."""
    store = CorrectionStore(tmp_path)
    save(store, JANE, MODEL, "jane")
    save(store, JOHN, MODEL, "john", is_second=True)
    return store


def records(store: CorrectionStore) -> tuple[Record, ...]:
    return store.history(SCAN, TASK.name)


def shown_by(store: CorrectionStore) -> str | None:
    shown = shown_correction(records(store))
    return None if shown is None else shown.reader


def test_the_first_reader_goes_on_as_if_nobody_had_read_after_her(store: CorrectionStore) -> None:
    assert shown_by(store) == "jane"
    save(store, LATER, JANE, "jane")
    with pytest.raises(ConflictError, match="jane saved another correction"):
        save(store, MODEL, JOHN, "john")


def test_what_stands_is_shown_and_may_be_corrected_further(store: CorrectionStore) -> None:
    assert awaits_adjudication(records(store))
    adjudicate(store, SCAN, TASK.name, TASK.label_schema, "john", by=Signature("ann"))
    assert shown_by(store) == "john"
    assert not awaits_adjudication(records(store))
    save(store, LATER, JOHN, "ann")
    assert shown_by(store) == "ann"


def test_what_was_accepted_stands_until_a_third_person_has_spoken(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path)
    save(store, JANE, MODEL, "jane")
    store.decide(mask_sha256(JANE), "accepted", None, SCAN, TASK.name, by=Signature("jane"))
    save(store, MODEL, MODEL, "john", is_second=True)
    assert review_status(records(store)) == "accepted"
    found = standing(records(store), mask_sha256(MODEL))
    assert found.correction is not None
    assert found.review is not None
    assert (found.correction.reader, found.review.decision, found.review.corrected_by) == ("jane", "accepted", "jane")
    assert found.notes == ("a second reading by john waits for a third person to say which of the two stands",)


def test_of_equal_masks_the_winners_is_reported(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path)
    save(store, JANE, MODEL, "jane")
    save(store, JANE, MODEL, "john", is_second=True)
    adjudicate(store, SCAN, TASK.name, TASK.label_schema, "john", by=Signature("ann"))
    found = standing(records(store), mask_sha256(MODEL))
    assert found.correction is not None
    assert (found.correction.reader, found.notes) == ("john", ())


def test_a_mask_that_the_judge_has_not_seen_is_not_accepted(store: CorrectionStore) -> None:
    save(store, LATER, JANE, "jane")
    with pytest.raises(ConflictError, match="jane saved another mask"):
        adjudicate(store, SCAN, TASK.name, TASK.label_schema, "jane", by=Signature("ann"), seen=mask_sha256(JANE))
    assert awaits_adjudication(records(store))


@pytest.mark.parametrize("what", ["correction", "adjudication"])
def test_what_was_saved_while_the_judge_compared_is_not_passed_over(
    store: CorrectionStore, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    judged: list[str] = []

    def meanwhile(one: LabelMap, other: LabelMap) -> Agreement:
        if not judged:
            judged.append(what)
            if what == "correction":
                save(store, LATER, JANE, "jane")
            else:
                adjudicate(store, SCAN, TASK.name, TASK.label_schema, "john", by=Signature("mary"))
        return agreement(one, other)

    monkeypatch.setattr("medseg.review.agreement.agreement", meanwhile)
    with pytest.raises(ConflictError, match="meanwhile; compare the readings again"):
        adjudicate(store, SCAN, TASK.name, TASK.label_schema, "jane", by=Signature("ann"))
    assert "ann" not in [one.reader for one in records(store)]


def test_only_what_was_drawn_blind_is_compared(store: CorrectionStore) -> None:
    save(store, LATER, JANE, "john")
    assert [(one.reader, one.is_second_reading) for one in readings(records(store))] == [
        ("jane", False),
        ("john", True),
    ]


def test_who_may_read_a_second_time(store: CorrectionStore, tmp_path: Path) -> None:
    assert "jane corrected this study" in (second_reading_problem(records(store), "jane") or "")
    assert second_reading_problem(records(store), "john") is None
    assert second_reading_problem(records(store), "ann") is None
    assert "no first reading" in (second_reading_problem((), "john") or "")
    adjudicate(store, SCAN, TASK.name, TASK.label_schema, "jane", by=Signature("ann"))
    assert "adjudicated already" in (second_reading_problem(records(store), "mary") or "")


def test_a_second_reading_may_agree_with_the_model(store: CorrectionStore) -> None:
    save(store, MODEL, MODEL, "mary", is_second=True)
    last = readings(records(store))[-1]
    assert (last.reader, last.changed_voxels, last.dice) == ("mary", 0, 1.0)
    with pytest.raises(InputError, match="saved already"):
        save(store, MODEL, MODEL, "mary", is_second=True)
    with pytest.raises(InputError, match="nothing was changed"):
        save(store, JANE, JANE, "jane")
