"""Killed again and again, a retraining comes through: nothing is lost, and the champion always loads."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import killed_retraining
import pytest
from made_site import BallImage, Site

from medseg.models.registry.registry import CHALLENGER, CHAMPION
from medseg.training.planning.plan import Plan
from medseg.workflows.retraining.retrain import retrain


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL, which Windows lacks")
def test_a_retraining_that_is_killed_again_and_again(
    site: Site, ball_image: BallImage, ball_plan: Plan, tmp_path: Path
) -> None:
    training = ball_plan.training.model_copy(update={"epochs": 2, "steps_per_epoch": 2})
    plan = ball_plan.model_copy(update={"training": training})
    for number in (80, 81, 82):
        site.correct(f"new{number}", *ball_image(site.grid, number))
    run, arguments = tmp_path / "run", tmp_path / "arguments"
    arguments.write_bytes(pickle.dumps((site.registry.folder, site.sources(), run, plan)))
    program = [sys.executable, str(killed_retraining.__file__), str(arguments), "2", "6"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5
    assert site.registry.aliases() == {CHAMPION: 2, CHALLENGER: 2}
    assert [move.number for move in site.registry.history(CHAMPION)] == [1, 2]
    with pytest.raises(Exception, match="began from the champion"):
        retrain(site.registry.folder, site.sources(), run, plan=plan)
