"""A network and losses chosen by name: in the plan that is made, and held against the run that is there."""

from pathlib import Path

import pytest

from medseg.core.errors import PlanError
from medseg.datasets.manifest import Manifest
from medseg.training.planning.ladder import Choice
from medseg.training.planning.plan import Plan, write_plan
from medseg.training.planning.rules import Budget
from medseg.workflows.training.make_plan import plan_training
from medseg.workflows.training.train_model import train_model


def test_the_choice_is_in_the_plan(ball_data: Manifest) -> None:
    plan, _ = plan_training(ball_data, 0, Budget(), choice=Choice("fcn", ("dice", "cross_entropy")))
    assert plan.model.network.kind == "fcn"
    assert [loss.kind for loss in plan.training.loss] == ["dice", "cross_entropy"]


def test_another_choice_than_the_run_there_is_refused(ball_data: Manifest, ball_plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_plan(ball_plan, tmp_path / "run" / "plan.toml")
    with pytest.raises(PlanError, match=r"holds a run of unet3d with the loss dice \+ focal"):
        train_model(ball_data, 0, tmp_path / "run", plan=Choice("pspnet"))
    with pytest.raises(PlanError, match="Take another run folder"):
        train_model(ball_data, 0, tmp_path / "run", plan=Choice("unet3d", ("dice",)))
