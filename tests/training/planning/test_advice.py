"""What a plan's reader is told, and where nothing is."""

import pytest
from made_facts import BLOB, TINY, case_facts, fingerprint_of

from medseg.core.task import load_task
from medseg.training.planning.advice import advice, view_of_patch
from medseg.training.planning.label_facts import NOTHING
from medseg.training.planning.rules import Budget, make_plan

TASK = load_task("hippocampus_mr")


def test_a_patch_that_sees_all_needs_no_advice() -> None:
    fingerprint = fingerprint_of(case_facts())
    plan = make_plan(TASK, fingerprint, Budget())
    assert view_of_patch(plan, fingerprint) == 1
    assert advice(plan, fingerprint) == ()


def test_a_small_view_is_told_with_the_spacing_that_mends_it() -> None:
    fingerprint = fingerprint_of(case_facts((200, 200, 200)))
    plan = make_plan(TASK, fingerprint, Budget())
    window = plan.model.window.model_copy(update={"patch": (40, 40, 40)})
    plan = plan.model_copy(update={"model": plan.model.model_copy(update={"window": window})})
    assert view_of_patch(plan, fingerprint) == pytest.approx(0.008)  # a fifth along each axis
    (sentence,) = advice(plan, fingerprint)
    assert "covers 1 % of the median scan" in sentence
    assert "at 3.1 x 3.1 x 3.1 mm the same patch covers 25 %" in sentence  # (0.25 / 0.008) ** (1 / 3)


def test_absent_and_tiny_labels_are_named() -> None:
    fingerprint = fingerprint_of(case_facts(labels=(TINY, NOTHING)), case_facts(labels=(TINY, NOTHING)))
    absent, tiny = advice(make_plan(TASK, fingerprint, Budget()), fingerprint)
    assert "No case holds any posterior hippocampus" in absent
    assert "anterior hippocampus is tiny" in tiny
    assert "64 voxels" in tiny
    fine = fingerprint_of(case_facts(labels=(BLOB, BLOB)))
    assert advice(make_plan(TASK, fine, Budget()), fine) == ()
