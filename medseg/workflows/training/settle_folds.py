"""What is settled before any fold is trained: the folds themselves, the one plan, and each fold's share of the minutes.

The plan's fingerprint (spacings, sizes, grey levels) is taken of the cases of all folds, as nnU-Net does: it is the one
thing that a fold's model shares with the cases it is held against.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError, PlanError
from medseg.datasets.manifest import Manifest
from medseg.datasets.splits import require_whole_subjects
from medseg.models.inference.device import choose_device
from medseg.models.inference.sliding_window import sweep
from medseg.training.cases import PreparedCase, prepare_cases
from medseg.training.planning.fingerprint import take_fingerprint
from medseg.training.planning.ladder import Choice, choice_of
from medseg.training.planning.plan import Plan, read_plan, write_plan
from medseg.training.planning.rules import DEFAULT_CHOICE, Budget, make_plan
from medseg.workflows.progress import Progress

PLAN, FOLDS, PREPARED = "plan.toml", "folds.json", "prepared"

SHARE_OF_STEPS = 0.9
"""Of the minutes that preparing and scoring leave, this part goes to training steps, evenly among the folds."""

LEAST_SHARE = 0.5
"""Of all minutes, at least this part goes to the folds' training, however long the rest takes: they must learn."""

SCORINGS = 4
"""How often a held-out case is read and segmented: as planned, without mirroring, for the bias, and with it."""


def settle_shared_plan(
    manifest: Manifest, run_folder: Path, wanted: Plan | Choice | None, budget: Budget, progress: Progress
) -> Plan:
    """The plan of all folds, as it stands in the run folder afterwards; a new one shares the minutes of the budget.

    Raises PlanError where the run folder holds another plan or none can be made.
    """
    path = run_folder / PLAN
    if path.exists():
        there = read_plan(path)
        _require_wanted(there, wanted, run_folder)
        return there
    plan = wanted if isinstance(wanted, Plan) else _new_plan(manifest, run_folder, wanted, budget, progress)
    write_plan(plan, path)
    return plan


def _new_plan(manifest: Manifest, run_folder: Path, wanted: Choice | None, budget: Budget, progress: Progress) -> Plan:
    begin = time.monotonic()
    cases = manifest.in_folds
    fingerprint = take_fingerprint(
        cases, manifest.task, lambda done, total: progress("Looking at the data", done, total)
    )
    plan = make_plan(manifest.task, fingerprint, budget, wanted or DEFAULT_CHOICE)
    with whole_file(run_folder / "fingerprint.json") as unfinished:
        unfinished.write_text(fingerprint.model_dump_json(indent=1), encoding="utf-8")
    if budget.minutes is None:
        return plan
    looked = time.monotonic()
    model, folder = plan.model, run_folder / PREPARED
    prepared = prepare_cases(
        cases, model.task, model.preparation, folder, lambda done, total: progress("Preparing cases", done, total)
    )
    seconds_a_case = (time.monotonic() - looked) / len(cases) + _sweep_s(plan, prepared, budget)
    scoring_s = SCORINGS * len(cases) * seconds_a_case
    minutes = share_minutes(budget.minutes, time.monotonic() - begin, scoring_s) / len(manifest.folds)
    return plan.model_copy(update={"training": plan.training.model_copy(update={"minutes": minutes})})


def share_minutes(minutes: float, spent_s: float, scoring_s: float) -> float:
    """The minutes of all folds' training together, of those allowed, after what was spent and is needed for scoring."""
    left = (minutes - (spent_s + scoring_s) / 60) * SHARE_OF_STEPS
    return max(left, minutes * LEAST_SHARE)


def require_folds(manifest: Manifest) -> None:
    """Raise InputError where the data has fewer than two folds, a subject in two of them, or a case without a mask."""
    name = manifest.facts.name
    if len(manifest.folds) < 2:
        raise InputError(
            f"cross-validation needs two folds or more, data set {name} has {len(manifest.folds)}. "
            "Fill the fold column of its cases.csv, or let `medseg data list` do so."
        )
    in_folds = [row for row in manifest.rows if row.fold is not None]
    require_whole_subjects(
        {row.case: row.fold for row in in_folds}, {row.case: row.subject for row in in_folds}, f"data set {name}"
    )
    for case in manifest.in_folds:
        if case.label is None:
            raise InputError(f"case {case.name} of {name} has no reference mask; give it one, or make its fold test")


def remember_folds(manifest: Manifest, run_folder: Path) -> None:
    """Write down which case stands in which fold. Raises PlanError where the run folder says otherwise already."""
    cases = {
        row.case: {"fold": row.fold, "subject": row.subject, "sha256": {f.path: f.sha256 for f in row.files}}
        for row in manifest.rows
        if row.fold is not None
    }
    path = run_folder / FOLDS
    text = json.dumps({"dataset": manifest.facts.name, "cases": cases}, indent=1)
    if not path.exists():
        with whole_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise PlanError(
            f"{run_folder} holds a cross-validation of other data, or of other folds. Take another run folder."
        )


def _require_wanted(there: Plan, wanted: Plan | Choice | None, run_folder: Path) -> None:
    if isinstance(wanted, Plan) and wanted != there:
        raise PlanError(
            f"{run_folder} holds a cross-validation by another plan. Take another run folder, or leave out --plan."
        )
    if isinstance(wanted, Choice):
        mine = choice_of(there.model.network, there.training.loss)
        if wanted.network != mine.network or (wanted.losses and wanted.losses != mine.losses):
            raise PlanError(
                f"{run_folder} holds a cross-validation of {mine.network} with the loss {' + '.join(mine.losses)}. "
                "Take another run folder, or leave out --network and --loss to go on with that one."
            )


def _sweep_s(plan: Plan, prepared: Sequence[PreparedCase], budget: Budget) -> float:
    """Seconds that the plan's network, still untrained, takes for the case of the most ordinary size."""
    model, device = plan.model, choose_device(budget.device)
    voxels = [math.prod(case.classes.shape) for case in prepared]
    case = prepared[int(np.abs(np.asarray(voxels) - np.mean(voxels)).argmin())]
    network = model.network.build(len(model.task.channels), model.class_count)
    network = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    begin = time.monotonic()
    sweep(network, case.image, model.window, class_count=model.class_count, device=device)
    return time.monotonic() - begin
