"""Each rule by numbers whose answer can be worked out by hand."""

import math

import numpy as np
import pytest
from made_facts import MR, case_facts, fingerprint_of

from medseg.core.errors import PlanError
from medseg.core.task import load_task
from medseg.imaging.preparing.normalize import FixedScale, ZScore
from medseg.training.augment import AugmentationConfig
from medseg.training.planning import rules
from medseg.training.planning.fingerprint import ChannelFacts, Fingerprint
from medseg.training.planning.plan import Plan, read_plan, write_plan
from medseg.training.planning.rules import Budget, make_plan


def fingerprint(
    shapes: list[tuple[int, int, int]], spacings: list[tuple[float, float, float]], channel: ChannelFacts = MR
) -> Fingerprint:
    cases = [
        case_facts(shape, spacing, name=str(n)) for n, (shape, spacing) in enumerate(zip(shapes, spacings, strict=True))
    ]
    return fingerprint_of(*cases, channel=channel)


def test_spacing_is_the_median_but_finer_across_thick_slices() -> None:
    even = fingerprint([(9, 9, 9)] * 3, [(1.0, 1.0, 1.5), (1.0, 1.0, 2.0), (2.0, 2.0, 2.5)])
    assert rules.choose_spacing(even) == (1.0, 1.0, 2.0)
    thick = fingerprint([(9, 9, 9)] * 11, [(0.5, 0.5, 3.0 + 0.2 * n) for n in range(11)])
    assert rules.choose_spacing(thick) == (0.5, 0.5, 3.2)


def test_units_with_a_meaning_get_fixed_numbers() -> None:
    ct = ChannelFacts(name="CT", unit="HU", mean=60, sd=30, percentile_00_5=-20, percentile_99_5=180)
    assert rules.choose_normalization(ct) == FixedScale(lower=-20, upper=180, mean=60, sd=30)
    pet = ChannelFacts(name="PET", unit="SUVbw", mean=4, sd=2, percentile_00_5=0.5, percentile_99_5=12)
    assert rules.choose_normalization(pet) == FixedScale(lower=0, upper=24, mean=4, sd=2)
    assert rules.choose_normalization(MR) == ZScore()


def test_thick_slices_are_not_pooled_until_the_plane_has_caught_up() -> None:
    strides, kernels = rules.choose_stages((64, 64, 16), (1.0, 1.0, 4.0))
    assert strides == ((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 1))
    assert kernels[0] == (3, 3, 1)
    assert kernels[2] == (3, 3, 3)


@pytest.mark.parametrize("shape", [(35, 51, 36), (512, 512, 300), (20, 20, 20), (300, 300, 12), (5, 6, 7)])
@pytest.mark.parametrize("budget", [Budget(), Budget("cuda", 8.0), Budget("cuda", 80.0)])
def test_a_patch_fits_the_budget_and_the_network(shape: tuple[int, int, int], budget: Budget) -> None:
    patch, strides, _ = rules.choose_patch_and_stages(shape, (1.0, 1.0, 1.0), budget)
    assert math.prod(patch) <= rules.most_patch_voxels(budget)
    assert all(side % divisor == 0 for side, divisor in zip(patch, np.prod(strides, axis=0), strict=True))
    assert len(strides) >= 3


def test_the_hippocampus_is_seen_whole() -> None:
    patch, strides, kernels = rules.choose_patch_and_stages((35, 51, 36), (1.0, 1.0, 1.0), Budget())
    assert patch == (40, 56, 40)
    assert strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert kernels == ((3, 3, 3),) * 4


def test_memory_decides_the_batch_and_too_little_is_a_sentence() -> None:
    patch = (64, 64, 64)
    need = 64**3 * 32 * rules.BYTES_PER_ACTIVATION / 0.8 / 2**30
    assert rules.choose_batch_size(patch, 32, Budget("cuda", 3.5 * need)) == 3
    assert rules.choose_batch_size(patch, 32, Budget("cuda", 1000)) == 16
    with pytest.raises(PlanError, match=r"one patch of \(64, 64, 64\) needs about 0\.3 GB"):
        rules.choose_batch_size(patch, 32, Budget("cuda", 0.1))


def test_mirroring_is_left_right_unless_a_label_has_a_side() -> None:
    task = load_task("hippocampus_mr")
    assert rules.choose_mirror_axes(task) == (0,)
    left = task.labels[0].modifier.model_copy(update={"value": "7771000", "meaning": "Left"})  # type: ignore[union-attr]
    sided = task.model_copy(update={"labels": (task.labels[0].model_copy(update={"modifier": left}), task.labels[1])})
    assert rules.choose_mirror_axes(sided) == ()


def test_a_plan_round_trips_and_can_be_edited(tmp_path) -> None:  # type: ignore[no-untyped-def]
    plan = make_plan(load_task("hippocampus_mr"), fingerprint([(35, 51, 36)], [(1.0, 1.0, 1.0)]), Budget(minutes=3))
    path = tmp_path / "plan.toml"
    write_plan(plan, path)
    assert read_plan(path) == plan
    path.write_text(path.read_text().replace("learning_rate = 0.002", "learning_rate = 0.5"))
    edited = read_plan(path)
    assert edited.training.learning_rate == 0.5
    assert edited.model == plan.model
    path.write_text(path.read_text().replace("learning_rate", "lerning_rate"))
    with pytest.raises(PlanError, match=r"plan\.toml is not valid: training\.lerning_rate"):
        read_plan(path)
    with pytest.raises(PlanError, match="write one with `medseg plan`"):
        read_plan(tmp_path / "none.toml")


def test_a_loss_that_does_not_exist_is_answered_with_those_that_do(tmp_path) -> None:  # type: ignore[no-untyped-def]
    plan = make_plan(load_task("hippocampus_mr"), fingerprint([(35, 51, 36)], [(1.0, 1.0, 1.0)]), Budget())
    path = tmp_path / "plan.toml"
    write_plan(plan, path)
    path.write_text(path.read_text().replace('kind = "dice"', 'kind = "dise"'))
    with pytest.raises(PlanError, match="expected tags: 'dice', 'focal'"):
        read_plan(path)


def test_repeatable_training_cannot_end_by_the_clock() -> None:
    plan = make_plan(load_task("hippocampus_mr"), fingerprint([(35, 51, 36)], [(1.0, 1.0, 1.0)]), Budget(minutes=3))
    values = plan.model_dump()
    values["training"]["deterministic"] = True
    with pytest.raises(ValueError, match="cannot end by the clock"):
        Plan.model_validate(values)


def test_few_subjects_are_turned_and_zoomed_further() -> None:
    many, few = (rules.choose_augmentation(subjects, (0,)) for subjects in (10, 9))
    assert many == AugmentationConfig(mirror_axes=(0,))
    assert (few.rotation_degrees, few.scale) == (17.0, 0.2)
    assert few.mirror_axes == (0,)
    one_subject = fingerprint([(35, 51, 36)] * 30, [(1.0, 1.0, 1.0)] * 30)
    one_subject = one_subject.model_copy(
        update={"cases": tuple(case.model_copy(update={"subject": "x"}) for case in one_subject.cases)}
    )
    plan = make_plan(load_task("hippocampus_mr"), one_subject, Budget())
    assert plan.training.augmentation == few  # scans of one head are one subject
