"""Two readers of one case: both kept, compared, and settled by a third."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import load_task
from medseg.review.agreement import adjudicate, agreement, contradiction, readings
from medseg.review.corrections import CorrectionStore, Signature
from medseg.review.records import Correction, Verdict, review_status
from medseg.review.standing import standing

TASK = load_task("hippocampus_mr")
SCAN = "a" * 64
GRID = Geometry.from_spacing((10, 1, 1), (1.0, 1.0, 1.0))


def mask(text: str) -> LabelMap:
    return LabelMap(np.array([int(digit) for digit in text], np.uint8).reshape(GRID.shape), GRID, TASK.label_schema)


MODEL, JANE, JOHN = mask("0110000000"), mask("0111000000"), mask("0011110000")


@pytest.fixture
def store(tmp_path: Path) -> CorrectionStore:
    """Jane and John have read the same case, each over the model's mask."""
    store = CorrectionStore(tmp_path)
    store.correct(JANE, MODEL, SCAN, TASK.name, by=Signature("jane", duration_s=30))
    store.correct(JOHN, MODEL, SCAN, TASK.name, by=Signature("john", duration_s=50), is_second_reading=True)
    return store


def test_agreement_by_hand() -> None:
    found = agreement(JANE, JOHN)
    assert found.dice == {"anterior_hippocampus": pytest.approx(2 * 2 / (3 + 4))}
    # Alike in 7 of 10 voxels; by chance 0.3 * 0.4 + 0.7 * 0.6 = 0.54.
    assert found.kappa == pytest.approx((0.7 - 0.54) / (1 - 0.54))
    assert agreement(JANE, JANE).kappa == pytest.approx(1)
    empty = mask("0" * 10)
    assert agreement(empty, empty).kappa is None
    assert agreement(empty, empty).mean_dice is None


def test_a_label_that_only_one_reader_drew_counts_as_nothing() -> None:
    assert agreement(mask("0110000000"), mask("0110000022")).dice == {
        "anterior_hippocampus": 1.0,
        "posterior_hippocampus": 0.0,
    }


def test_both_readings_are_kept(store: CorrectionStore) -> None:
    found = readings(store.history(SCAN, TASK.name))
    assert [(one.reader, one.duration_s) for one in found] == [("jane", 30), ("john", 50)]
    assert [store.mask(one, TASK.label_schema).array.sum() for one in found] == [3, 4]


def acceptance(reading: Correction) -> Verdict:
    about = reading.model_dump(include={"scan_sha256", "task", "reader", "made", "mask_sha256"})
    return Verdict(**about, decision="accepted")


def test_two_accepted_masks_contradict_each_other_until_a_third_decides(store: CorrectionStore) -> None:
    store.add(*(acceptance(one) for one in readings(store.history(SCAN, TASK.name))))
    assert contradiction(store.history(SCAN, TASK.name)) == "jane and john accepted different masks"
    record = adjudicate(store, SCAN, TASK.name, TASK.label_schema, "jane", by=Signature("ann"))
    assert record.dice == pytest.approx(4 / 7)
    records = store.history(SCAN, TASK.name)
    assert contradiction(records) is None
    assert review_status(records) == "accepted"
    stands = standing(records, "f" * 64)
    assert stands.correction is not None
    assert stands.correction.reader == "jane"
    assert store.verify() is not None


def test_a_mask_drawn_over_an_accepted_one_does_not_contradict_it(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path)
    first = store.correct(JANE, MODEL, SCAN, TASK.name, by=Signature("jane"))
    store.decide(first.mask_sha256, "accepted", None, SCAN, TASK.name, by=Signature("jane"))
    second = store.correct(JOHN, JANE, SCAN, TASK.name, by=Signature("john"))
    store.decide(second.mask_sha256, "accepted", None, SCAN, TASK.name, by=Signature("john"))
    assert contradiction(store.history(SCAN, TASK.name)) is None


def test_accepted_and_rejected_contradict_each_other(store: CorrectionStore) -> None:
    (one, _) = readings(store.history(SCAN, TASK.name))
    store.decide(one.mask_sha256, "accepted", None, SCAN, TASK.name, by=Signature("jane"))
    store.decide(one.mask_sha256, "rejected", None, SCAN, TASK.name, by=Signature("john"))
    assert contradiction(store.history(SCAN, TASK.name)) == "jane accepted the mask that john rejected"


def test_who_may_not_adjudicate(store: CorrectionStore) -> None:
    with pytest.raises(InputError, match="third person"):
        adjudicate(store, SCAN, TASK.name, TASK.label_schema, "jane", by=Signature("john"))
    with pytest.raises(InputError, match="jim did not correct"):
        adjudicate(store, SCAN, TASK.name, TASK.label_schema, "jim", by=Signature("ann"))
    with pytest.raises(InputError, match="nothing to adjudicate"):
        adjudicate(store, "b" * 64, TASK.name, TASK.label_schema, "jane", by=Signature("ann"))
