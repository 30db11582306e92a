"""From corrections to a challenger: what it learns from, what it must not, and that a kill loses nothing."""

from __future__ import annotations

import fcntl
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from made_site import BallImage, Site
from typer.testing import CliRunner

from medseg.analysis.vessels.study_findings import with_blockages
from medseg.cli import app
from medseg.core.errors import InputError, StoreError
from medseg.core.label_map import LabelMap
from medseg.core.task import Channel
from medseg.core.volume import Volume
from medseg.datasets.manifest import CaseRow, DataFile, write_manifest
from medseg.datasets.register.register import read_register
from medseg.datasets.register.voxel_print import voxel_print
from medseg.exchange.nifti import write_nifti
from medseg.exchange.read import read_scan
from medseg.models.bundle import load_bundle
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.review.corrections import Signature
from medseg.training.planning.plan import Plan, write_plan
from medseg.workflows.progress import silent
from medseg.workflows.results.open_study import list_studies
from medseg.workflows.retraining import selection as selecting
from medseg.workflows.retraining.corrections import NOT_JUDGED, AcceptedCorrection, LeftOut, accepted_corrections
from medseg.workflows.retraining.retrain import retrain
from medseg.workflows.retraining.selection import REGISTER, Selection, open_register, select
from medseg.workflows.training.train_model import train_model


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
    write_nifti(image + 1, site.grid, site.folder / "scans" / f"changed_{site.original.task.channels[0].name}.nii.gz")
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


def test_a_mask_with_labels_that_the_model_does_not_know_is_left_out(site: Site, ball_image: BallImage) -> None:
    task = site.original.task
    other = task.labels[0].model_copy(update={"index": 5, "name": "something else"})
    image, truth = ball_image(site.grid, 90)
    site.correct("strange", image, truth * 5, task=task.model_copy(update={"labels": (*task.labels, other)}))
    (found,) = accepted_corrections([site.results], task)
    assert isinstance(found, LeftOut)
    assert found.reason == f"it was segmented for another task than {task.name}"


def test_an_empty_correction_says_that_nothing_is_there(site: Site, ball_image: BallImage) -> None:
    """Wiped clean and accepted, it is learned from; a save without a change is refused by the store."""
    image, truth = ball_image(site.grid, 91)
    site.correct("false alarm", image, 0 * truth)
    (found,) = accepted_corrections([site.results], site.original.task)
    assert isinstance(found, AcceptedCorrection)
    assert not found.label_map.array.any()


def test_a_blockage_in_a_corrected_mask_is_not_judged(
    site: Site, ball_image: BallImage, short: Plan, tmp_path: Path
) -> None:
    """A result of `medseg segment` with vessels has a label more than the network tells."""
    image, truth = ball_image(site.grid, 60)
    drawn = truth.copy()
    drawn[tuple(np.argwhere(truth)[:20].T)] = 2
    site.correct("vessel", image, drawn, task=with_blockages(site.original.task))
    site.correct("plain", *ball_image(site.grid, 61))
    found = {one.study: one for one in accepted_corrections([site.results], site.original.task)}
    made = found["vessel"]
    assert isinstance(made, AcceptedCorrection)
    assert (made.label_map.array == NOT_JUDGED).sum() == 20
    assert np.array_equal(made.label_map.array == 1, drawn == 1)
    trained = retrain(site.registry.folder, site.sources(), tmp_path / "run", plan=short)
    assert trained.model.spec.task.ignored_index == NOT_JUDGED
    assert trained.model.spec.task.labels == site.original.task.labels


def test_scans_of_several_channels_are_learned_from(
    site: Site, ball_image: BallImage, short: Plan, tmp_path: Path
) -> None:
    site = of_two_channels(site, short, tmp_path / "two")
    for number in (70, 71):
        site.correct(f"new{number}", *ball_image(site.grid, number))
    made = retrain(site.registry.folder, site.sources(), tmp_path / "run", plan=two_channels(short))
    assert made.selection.left_out == {}
    corrected = [case for case in made.selection.cases if case.kind == "correction"]
    assert {tuple(case.channels) for case in corrected} == {("T1", "T2")}
    assert all(len(set(case.prints)) == 2 for case in corrected)
    first, second = (read_scan(corrected[0].channels[name]).volume.array for name in ("T1", "T2"))
    assert np.allclose(second, -first)
    (report,) = (site.results / "new70").glob("report.json")
    report.write_text(re.sub(r'"more_channels": \{.*?\n \},', "", report.read_text(), flags=re.DOTALL))
    left = next(one for one in accepted_corrections([site.results], site.original.task) if isinstance(one, LeftOut))
    assert "does not say where its channel T2 lies" in left.reason


def two_channels(plan: Plan) -> Plan:
    task = plan.model.task.model_copy(
        update={"channels": (Channel(name="T1", modality="MR"), Channel(name="T2", modality="MR"))}
    )
    preparation = plan.model.preparation.model_copy(update={"normalization": plan.model.preparation.normalization * 2})
    return plan.model_copy(update={"model": plan.model.model_copy(update={"task": task, "preparation": preparation})})


def of_two_channels(site: Site, plan: Plan, folder: Path) -> Site:
    """The site for scans of two channels, the second the first's negative."""
    plan = two_channels(plan)
    rows = []
    for row in site.original.rows:
        (file,) = row.channels.values()
        negative = folder / f"{row.case}_T2.nii.gz"
        write_nifti(-read_scan(site.original.data_folder / file.path).volume.array, site.grid, negative)
        rows.append(replace(row, channels={"T1": file, "T2": replace(file, path=str(negative))}))
    original = replace(site.original, task=plan.model.task, rows=tuple(rows))
    trained = train_model(original, 0, folder / "run", plan=plan)
    registry = Registry(folder / "models")
    registry.add(trained.folder)
    registry.point(CHAMPION, "1", person="ann", reason="first")
    return replace(site, folder=folder, original=original, trained=trained, registry=registry)


def test_without_a_correction_nothing_is_trained(site: Site, ball_image: BallImage, tmp_path: Path) -> None:
    site.correct("doubtful", *ball_image(site.grid, 50), accepted=False)
    with pytest.raises(InputError, match=r"no accepted correction to learn from\. doubtful: its correction is not"):
        retrain(site.registry.folder, site.sources(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_follows_a_plan(site: Site, ball_image: BallImage, short: Plan, tmp_path: Path) -> None:
    site.correct("new", *ball_image(site.grid, 83))
    write_manifest(site.original, tmp_path / "manifest")
    write_plan(short, tmp_path / "plan.toml")
    told = {
        "--registry": site.registry.folder,
        "--data": tmp_path / "manifest",
        "--root": site.original.data_folder,
        "--plan": tmp_path / "plan.toml",
        "--output": tmp_path / "run",
    }
    words = ["retrain", str(site.results), *(str(word) for pair in told.items() for word in pair)]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    learned = load_bundle(tmp_path / "run" / "model").provenance
    assert (learned.epochs, learned.parent_sha256) == (short.training.epochs, site.trained.bundle.sha256)


def test_where_all_new_patients_fell_to_validation_one_is_trained_on(
    site: Site, ball_image: BallImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medseg.datasets.register.register.NEW_FOR_VALIDATION", 1.0)
    for number in (80, 81):
        site.correct(f"new{number}", *ball_image(site.grid, number))
    made = select(site.sources(), site.trained.bundle, site.registry.folder, tmp_path / "run", silent)
    side_of = {case.subject_sha256: case.side for case in made.cases if case.kind == "correction"}
    assert sorted(side_of.values()) == ["training", "validation"]
    kept = read_register(site.registry.folder / REGISTER).side_of
    assert side_of.items() <= kept.items()


def test_a_patient_of_the_first_validation_stays_there(site: Site, ball_image: BallImage, tmp_path: Path) -> None:
    register = open_register(site.registry.folder, site.original, site.trained.bundle, silent)
    case = next(case for case in site.original.cases if register.side(case.subject) == "validation")
    image, truth = ball_image(site.grid, int(case.name.removeprefix("ball")))
    site.correct("known", image, 0 * truth)
    with pytest.raises(InputError, match=r"1 of patients who are kept for validation for good\. Correct a"):
        select(site.sources(), site.trained.bundle, site.registry.folder, tmp_path / "run", silent)


def test_a_patient_whom_the_data_set_gained_stays_in_validation(
    site: Site, ball_image: BallImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_register(site.registry.folder, site.original, site.trained.bundle, silent)
    monkeypatch.setattr("medseg.datasets.register.register.NEW_FOR_VALIDATION", 1.0)
    grown = replace(site.original, rows=(*site.original.rows, newcomer(site, *ball_image(site.grid, 95))))
    site.correct("new", *ball_image(site.grid, 80))
    sources = replace(site.sources(), original=grown)
    first = select(sources, site.trained.bundle, site.registry.folder, tmp_path / "first", silent)
    assert {case.name: case.side for case in first.cases}["newcomer"] == "validation"
    later = of_patient("newcomer", site, *ball_image(site.grid, 96))
    monkeypatch.setattr(selecting, "accepted_corrections", lambda folders, task: iter([later]))
    with pytest.raises(InputError, match="1 of patients who are kept for validation for good"):
        select(sources, site.trained.bundle, site.registry.folder, tmp_path / "second", silent)


def test_a_patient_whom_the_data_set_gained_is_known_by_the_scan_when_corrected_at_once(
    site: Site, ball_image: BallImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_register(site.registry.folder, site.original, site.trained.bundle, silent)
    image, truth = ball_image(site.grid, 95)
    sources = replace(
        site.sources(), original=replace(site.original, rows=(*site.original.rows, newcomer(site, image, truth)))
    )
    monkeypatch.setattr("medseg.datasets.register.register.NEW_FOR_VALIDATION", 0.0)
    site.correct("the same", image, truth * 0)
    made = select(sources, site.trained.bundle, site.registry.folder, tmp_path / "run", silent)
    register = read_register(site.registry.folder / REGISTER)
    (corrected,) = [case for case in made.cases if case.kind == "correction"]
    assert corrected.subject_sha256 == register.subject_sha256("newcomer")


def test_two_retrainings_at_once_lose_no_patient_of_the_register(
    site: Site, ball_image: BallImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = open_register(site.registry.folder, site.original, site.trained.bundle, silent)
    select_at_once(site, ball_image, [tmp_path / "one", tmp_path / "two"], monkeypatch)
    register = read_register(site.registry.folder / REGISTER)
    assert {register.subject_sha256(name) for name in ("one", "two")} == set(register.side_of) - set(begun.side_of)


def test_a_retraining_that_is_started_twice_learns_from_one_selection(
    site: Site, ball_image: BallImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = select_at_once(site, ball_image, [tmp_path / "run", tmp_path / "run"], monkeypatch)
    assert one == two


def select_at_once(
    site: Site, ball_image: BallImage, runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> list[Selection]:
    """What two retrainings learn from, each of which finds a correction that the other does not.

    The other begins while the first selects: it waits, or is over before the first writes what it read.
    """
    corrections = {name: of_patient(name, site, *ball_image(site.grid, n)) for name, n in (("one", 97), ("two", 98))}
    waits_or_is_over = threading.Event()
    others: list[Selection] = []

    def run(folder: Path) -> Selection:
        return select(site.sources(), site.trained.bundle, site.registry.folder, folder, silent)

    def run_other() -> None:
        others.append(run(runs[1]))
        waits_or_is_over.set()

    def hold(file: IO[str], how: int) -> None:
        if threading.current_thread() is other:
            waits_or_is_over.set()
        flock(file, how)

    def corrected(folders: object, task: object) -> Iterator[AcceptedCorrection]:
        if threading.current_thread() is other:
            return iter([corrections["two"]])
        other.start()
        assert waits_or_is_over.wait(90)
        return iter([corrections["one"]])

    flock, other = fcntl.flock, threading.Thread(target=run_other, daemon=True)
    monkeypatch.setattr(fcntl, "flock", hold)
    monkeypatch.setattr("medseg.datasets.register.register.NEW_FOR_VALIDATION", 0.0)
    monkeypatch.setattr(selecting, "accepted_corrections", corrected)
    selected = run(runs[0])
    other.join(90)
    return [selected, *others]


def newcomer(site: Site, image: np.ndarray, truth: np.ndarray) -> CaseRow:
    """A case that a data set gains."""
    files = {kind: site.folder / f"newcomer_{kind}.nii.gz" for kind in ("image", "label")}
    write_nifti(image, site.grid, files["image"])
    write_nifti(truth, site.grid, files["label"])
    (channel,) = site.original.task.channels
    return CaseRow(
        "newcomer", "newcomer", 0, {channel.name: DataFile(str(files["image"]))}, DataFile(str(files["label"]))
    )


def of_patient(subject: str, site: Site, image: np.ndarray, truth: np.ndarray) -> AcceptedCorrection:
    """An accepted correction of a scan that names its patient."""
    volume = Volume(image, site.grid)
    (channel,) = site.original.task.channels
    prints = (voxel_print(volume),)
    label_map = LabelMap(truth, site.grid, site.original.task.label_schema)
    return AcceptedCorrection(subject, {channel.name: volume}, label_map, prints[0], subject, prints)


def _scan(site: Site, name: str) -> str:
    return next(e.report.source_sha256 for e in list_studies(site.results) if e.name == name and e.report)
