"""Kinds of target and what follows from them, by numbers whose answer can be worked out by hand."""

import pytest
from made_facts import BLOB, MR, TINY, TUBE, case_facts, fingerprint_of

from medseg.core.errors import PlanError
from medseg.core.task import load_task
from medseg.training.losses.boundary import BoundaryConfig
from medseg.training.losses.centreline_dice import CentrelineDiceConfig
from medseg.training.losses.dice import DiceConfig
from medseg.training.losses.focal import FocalConfig
from medseg.training.planning import targets
from medseg.training.planning.label_facts import NOTHING, LabelFacts
from medseg.training.planning.ladder import LossName

CUBIC = (1.0, 1.0, 1.0)
TASK = load_task("hippocampus_mr")


def test_a_tube_is_long_round_and_thin() -> None:
    assert targets.kind_of_target([BLOB], CUBIC) == "blob"
    assert targets.kind_of_target([TUBE], CUBIC) == "tube"
    assert targets.kind_of_target([TUBE, BLOB, TUBE], CUBIC) == "tube"  # the median decides
    assert targets.kind_of_target([TUBE, BLOB, BLOB], CUBIC) == "blob"
    flat = TUBE.model_copy(update={"planarity": 0.7})
    assert targets.kind_of_target([flat], CUBIC) == "blob"
    # 1.5 mm are 4 voxels of 0.375 mm and no longer thin at 0.35 mm.
    assert targets.kind_of_target([TUBE], (1.0, 0.375, 1.0)) == "tube"
    assert targets.kind_of_target([TUBE], (1.0, 0.35, 1.0)) == "blob"


def test_tiny_is_less_than_64_voxels() -> None:
    assert targets.kind_of_target([TINY], CUBIC) == "tiny"  # 0.05 ml are 50 voxels of 1 mm
    assert targets.kind_of_target([TINY], (0.9, 0.9, 0.9)) == "blob"  # and 69 of 0.9 mm
    assert targets.kind_of_target([], CUBIC) is None
    unmeasured = TINY.model_copy(update={"tubularity": None, "planarity": None, "tube_radius_mm": None})
    assert targets.kind_of_target([unmeasured], CUBIC) == "tiny"
    assert targets.kind_of_target([unmeasured], (0.5, 0.5, 0.5)) == "blob"


def test_only_tubes_get_a_centreline_and_as_many_erosions_as_they_are_thick() -> None:
    blobs = fingerprint_of(case_facts(labels=(BLOB, BLOB)))
    assert targets.choose_target_losses(TASK, blobs, CUBIC) == (DiceConfig(), FocalConfig())
    mixed = fingerprint_of(case_facts(labels=(BLOB, TUBE)))
    # 1.5 times 1.5 voxels of radius, rounded up
    centreline = CentrelineDiceConfig(iterations=3, regions=((2,),))
    assert targets.choose_target_losses(TASK, mixed, CUBIC) == (DiceConfig(), FocalConfig(), centreline)
    assert targets.choose_skeleton_iterations(TASK, mixed, (0.5, 0.5, 0.5)) == 5  # 1.5 times 3 voxels
    assert targets.choose_skeleton_iterations(TASK, blobs, CUBIC) == targets.FEWEST_ITERATIONS
    tiny = fingerprint_of(case_facts(labels=(TINY, TINY)))
    assert targets.choose_target_losses(TASK, tiny, CUBIC) == (DiceConfig(), FocalConfig())


def test_losses_that_were_named_are_kept() -> None:
    mixed = fingerprint_of(case_facts(labels=(BLOB, TUBE)))
    chosen = targets.choose_target_losses(TASK, mixed, (0.5, 0.5, 0.5), ("dice", "boundary"))
    assert chosen == (DiceConfig(), BoundaryConfig(weight=0.1, spacing_mm=(0.5, 0.5, 0.5)))
    chosen = targets.choose_target_losses(TASK, mixed, (0.5, 0.5, 0.5), ("dice", "centreline_dice"))
    assert chosen == (DiceConfig(), CentrelineDiceConfig(iterations=5))


@pytest.mark.parametrize("wanted", [(), ("dice",)])
def test_without_any_foreground_there_is_nothing_to_learn(wanted: tuple[LossName, ...]) -> None:
    empty = fingerprint_of(case_facts(labels=(NOTHING, NOTHING)))
    with pytest.raises(
        PlanError, match=r"none of the 1 cases.*anterior_hippocampus, posterior_hippocampus.*foreground"
    ):
        targets.choose_target_losses(TASK, empty, CUBIC, wanted)


def test_by_chance_a_patch_overlaps_the_labels() -> None:
    case = case_facts((100, 50, 20))  # labels fill 40 to 60, 20 to 30, 8 to 12
    # A patch of 20 begins in [0, 80] and overlaps from 20 to 60; of 50 and 20 it covers the scan.
    assert targets.chance_of_foreground(case, CUBIC, (20, 50, 20)) == pytest.approx(40 / 80)
    assert targets.chance_of_foreground(case, CUBIC, (20, 10, 20)) == pytest.approx(40 / 80 * 20 / 40)
    # At 2 mm the scan has 50 voxels, its labels 20 to 30: begins in [0, 30], overlaps from 0 to 30.
    assert targets.chance_of_foreground(case, (2.0, 1.0, 1.0), (20, 50, 20)) == pytest.approx(1)
    assert targets.chance_of_foreground(case, CUBIC, (100, 50, 20)) == 1
    assert targets.chance_of_foreground(case_facts(labels=(NOTHING, NOTHING)), CUBIC, (2, 2, 2)) == 0


@pytest.mark.parametrize(
    ("shape", "batch", "wanted"),
    [
        ((40, 56, 40), 2, 0.66),  # the whole scan in every patch
        ((500, 500, 500), 16, 0.66),  # 0.05 ** (1 / 16): even a sixth would do
        ((500, 500, 500), 2, 0.78),  # 1 - 0.05 ** (1 / 2)
        ((500, 500, 500), 1, 0.8),  # 0.95, but a fifth shows what is not to be found
    ],
)
def test_few_batches_are_empty(shape: tuple[int, int, int], batch: int, wanted: float) -> None:
    facts = case_facts(shape)
    if shape[0] == 500:  # a box of one voxel is hardly met by chance
        facts = facts.model_copy(update={"foreground_box": ((250, 250, 250), (251, 251, 251))})
    assert targets.choose_foreground_fraction(fingerprint_of(facts), CUBIC, (40, 56, 40), batch) == wanted


def test_the_facts_of_a_label_are_those_of_the_cases_that_have_it() -> None:
    facts: list[tuple[LabelFacts, ...]] = [(BLOB, NOTHING), (TINY, TUBE)]
    both = fingerprint_of(*(case_facts(labels=labels) for labels in facts), channel=MR)
    assert both.facts_of_label(0) == (BLOB, TINY)
    assert both.facts_of_label(1) == (TUBE,)
