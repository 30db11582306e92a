"""From corrections to a challenger: what it learns from, what it must not, and that a kill loses nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_site import BallImage, Site

from medseg.core.errors import InputError, StoreError
from medseg.core.label_map import LabelMap
from medseg.core.volume import Volume
from medseg.datasets.manifest import CaseRow
from medseg.datasets.register.register import read_register
from medseg.datasets.register.voxel_print import voxel_print
from medseg.exchange.nifti import write_nifti
from medseg.models.registry.registry import CHALLENGER, CHAMPION
from medseg.review.corrections import Signature
from medseg.training.planning.plan import Plan
from medseg.workflows.progress import silent
from medseg.workflows.results.open_study import list_studies
from medseg.workflows.retraining import selection as selecting
from medseg.workflows.retraining.corrections import AcceptedCorrection, LeftOut, accepted_corrections
from medseg.workflows.retraining.retrain import retrain
from medseg.workflows.retraining.selection import REGISTER, open_register


@pytest.fixture
def short(ball_plan: Plan) -> Plan:
    training = ball_plan.training.model_copy(update={"epochs": 2, "steps_per_epoch": 4})
    return ball_plan.model_copy(update={"training": training})


def test_a_challenger_from_corrections_and_the_champion_stays(
    site: Site, ball_image: BallImage, short: Plan, tmp_path: Path
) -> None:
    for number in (10, 11, 12):
        site.correct(f"new{number}", *ball_image(site.grid, number))
    site.correct("doubtful", *ball_image(site.grid, 13), accepted=False)
    made = retrain(site.registry.folder, site.sources(), tmp_path / "run", plan=short)
    assert site.registry.aliases() == {CHAMPION: 1, CHALLENGER: 2}
    assert made.selection.left_out == {"doubtful": "its correction is not accepted"}
    assert made.selection.corrections == 3
    learned = made.model.provenance
    assert learned.parent_sha256 == site.trained.bundle.sha256
    register = read_register(site.registry.folder / REGISTER)
    (test_case,) = register.test_prints
    on = {case.name: case.side for case in made.selection.cases}
    assert set(learned.case_sha256) == {name for name, side in on.items() if side == "training"}
    assert "correction_" in " ".join(learned.case_sha256)
    assert test_case not in on
    again = retrain(site.registry.folder, site.sources(), tmp_path / "run", plan=short)
    assert again.challenger == made.challenger


def test_a_test_patient_planted_under_another_case_is_not_learned_from(
    site: Site, ball_image: BallImage, tmp_path: Path
) -> None:
    register = open_register(site.registry.folder, site.original, site.trained.bundle, silent)
    (test_case,) = register.test_prints
    number = int(test_case.removeprefix("ball"))
    image, truth = ball_image(site.grid, number)
    site.correct("planted", image[::-1].copy(), truth[::-1].copy())
    with pytest.raises(InputError, match="planted: its patient is kept for the test"):
        retrain(site.registry.folder, site.sources(), tmp_path / "run")


def test_the_same_voxels_under_another_patient_are_refused(
    site: Site, ball_image: BallImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, truth = ball_image(site.grid, 0)
    volume = Volume(image, site.grid)
    schema = site.original.task.label_schema
    planted = AcceptedCorrection(
        "planted", {"image": volume}, LabelMap(truth, site.grid, schema), "c" * 64, "Doe", (voxel_print(volume),)
    )
    monkeypatch.setattr(selecting, "accepted_corrections", lambda folders, task: iter([planted]))
    with pytest.raises(InputError, match="one patient under two names"):
        retrain(site.registry.folder, site.sources(), tmp_path / "run")


def test_a_data_set_that_holds_one_patient_twice_begins_no_register(
    site: Site, ball_image: BallImage, tmp_path: Path
) -> None:
    image, _ = ball_image(site.grid, 0)
    write_nifti(image[:, ::-1].copy(), site.grid, site.original.data_folder / "images" / "copy.nii.gz")
    row = site.original.rows[0]
    file = replace(next(iter(row.channels.values())), path="images/copy.nii.gz")
    twice = CaseRow("copy", "someone else", 0, dict.fromkeys(row.channels, file), row.label)
    doubled = replace(site.original, rows=(*site.original.rows, twice))
    with pytest.raises(InputError, match=r"case .* holds the very voxels"):
        open_register(tmp_path / "new", doubled, site.trained.bundle, silent)
    assert not (tmp_path / "new" / REGISTER).exists()


def test_why_a_correction_is_left_out(site: Site, ball_image: BallImage) -> None:
    image, truth = ball_image(site.grid, 20)
    site.correct("changed", image, truth)
    site.correct("disputed", *ball_image(site.grid, 21))
    site.correct("fine", *ball_image(site.grid, 22))
    (record, *_) = site.store.history(_scan(site, "disputed"), site.original.task.name)
    site.store.decide(record.mask_sha256, "rejected", None, _scan(site, "disputed"), record.task, by=Signature("john"))
    write_nifti(image + 1, site.grid, site.folder / "scans" / "changed.nii.gz")
    found = list(accepted_corrections([site.results], site.original.task))
    left = {one.study: one.reason for one in found if isinstance(one, LeftOut)}
    assert "changed since" in left["changed"]
    assert "jane accepted the mask that john rejected; let a third person adjudicate" in left["disputed"]
    assert [one.study for one in found if isinstance(one, AcceptedCorrection)] == ["fine"]


def test_a_retraining_that_was_killed_goes_on_with_the_same_cases(
    site: Site, ball_image: BallImage, short: Plan, tmp_path: Path
) -> None:
    class Killed(BaseException):
        """As if the process ended."""

    def kill_in_second_epoch(stage: str, done: float, total: float, note: str = "") -> None:
        if stage == "Training" and done > 0.6:
            raise Killed

    for number in (30, 31):
        site.correct(f"new{number}", *ball_image(site.grid, number))
    run = tmp_path / "run"
    with pytest.raises(Killed):
        retrain(site.registry.folder, site.sources(), run, plan=short, progress=kill_in_second_epoch)
    assert site.registry.aliases() == {CHAMPION: 1}
    before = (run / "selection.json").read_bytes()
    site.correct("too late", *ball_image(site.grid, 32))
    made = retrain(site.registry.folder, site.sources(), run, plan=short)
    assert (run / "selection.json").read_bytes() == before
    assert made.selection.corrections == 2
    assert site.registry.aliases() == {CHAMPION: 1, CHALLENGER: 2}
    assert made.model.provenance.epochs == 2


def test_a_run_of_another_champion_is_not_gone_on_with(
    site: Site, ball_image: BallImage, short: Plan, tmp_path: Path
) -> None:
    site.correct("new", *ball_image(site.grid, 40))
    made = retrain(site.registry.folder, site.sources(), tmp_path / "run", plan=short)
    site.registry.point(CHAMPION, str(made.challenger.number), person="ann", reason="better")
    with pytest.raises(StoreError, match="began from the champion"):
        retrain(site.registry.folder, site.sources(), tmp_path / "run", plan=short)


def test_without_a_correction_nothing_is_trained(site: Site, ball_image: BallImage, tmp_path: Path) -> None:
    site.correct("doubtful", *ball_image(site.grid, 50), accepted=False)
    with pytest.raises(InputError, match=r"no accepted correction to learn from\. doubtful: its correction is not"):
        retrain(site.registry.folder, site.sources(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _scan(site: Site, name: str) -> str:
    return next(e.report.source_sha256 for e in list_studies(site.results) if e.name == name and e.report)
