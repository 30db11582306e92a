"""The whole chain: archive, service, reader, retraining, gate, and the next study by the next champion.

    python benchmarks/product/whole_chain.py [--folder out/chain] [--first-steps 40] [--steps 120]

Made CT studies of 48 x 48 x 32 voxels. A champion is trained for a few steps and registered. A real Orthanc gets three
studies by dcmtk's storescu; `medseg serve` fetches and segments them and stores SEG and SR; in headless Chromium each
is opened from the worklist, its mask changed in the page to what the formula says, saved and accepted. Then
`medseg retrain`, `medseg models judge` and `medseg models promote`; the archive gets a fourth study, whose SEG and SR
must name the new champion. Trainings go by steps, so that a busy machine takes longer and learns as much; which of the
three patients are trained on follows from their hash with a random salt, one at least.

Printed are the seconds of each stage and the most memory that all processes held in it together: archive, service,
viewer, browser and command. Exit code 1 where the gate refuses. Needs Orthanc and dcmtk (`make archive`) and Chromium
(`make browser`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.extend(str(Path(__file__).parents[2] / "tests" / room) for room in ("end_to_end", "apps", "exchange", "jobs"))

from chain_stages import Site, correct_and_accept, models_of, running_site, send
from process_memory import PeakMemory
from served_viewer import launched_chromium
from viewer_window import window_on

from medseg.core.label_map import LabelMap
from medseg.core.study import Series, Study
from medseg.core.task import load_task
from medseg.datasets.manifest import CaseRow, DataFile, DataSet, Manifest, write_manifest
from medseg.datasets.phantoms.study import TASK, PhantomStudy, make_study, phantom_grid
from medseg.exchange.dicom.writing.series import write_series
from medseg.exchange.nifti import write_nifti
from medseg.imaging.pictures.slices import mask_for_screen
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.workflows.training.make_plan import open_plan, save_plan

SHAPE, SPACING_MM = (48, 48, 32), (5.0, 5.0, 6.0)
CASES, TEST_CASES = 10, 12
PATIENTS = {"anna": 2000, "bert": 2001, "cleo": 2002, "dora": 2003}
"""The new patients and the seeds of their studies; those of the data set begin with 0."""

*CORRECTED, NEXT = PATIENTS
REFUSED = 3


class Stages:
    """What each stage took: seconds, and the most memory of all processes."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        with PeakMemory() as peak:
            yield
        self.rows.append((name, time.perf_counter() - begin, peak.mb))
        print(f"{name}: {self.rows[-1][1]:.1f} s, {peak.mb:.0f} MB", flush=True)

    def table(self) -> str:
        rows = [*self.rows, ("in all", sum(row[1] for row in self.rows), max(row[2] for row in self.rows))]
        lines = [f"| {name} | {seconds:.1f} | {mb:.0f} |" for name, seconds, mb in rows]
        return "\n".join(["| stage | seconds | peak memory, MB |", "|---|---:|---:|", *lines])


def medseg(*words: str | Path, may_end_with: tuple[int, ...] = (0,)) -> int:
    """The exit code of a medseg command, which says what it says."""
    command = [sys.executable, "-m", "medseg.cli", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    code = subprocess.run(command, env=environment, check=False).returncode
    if code not in may_end_with:
        raise SystemExit(f"medseg {' '.join(map(str, words))} ended with {code}")
    return code


def write_data(folder: Path) -> None:
    """A data set of made studies: five folds to train on, and the test cases."""
    rows = []
    for number in range(CASES + TEST_CASES):
        made, name = made_study(number), f"made_{number:02}"
        paths = [f"{kind}/{name}.nii.gz" for kind in ("images", "labels")]
        for path, on_grid in zip(paths, (made.volume, made.label_map), strict=True):
            write_nifti(on_grid.array, on_grid.geometry, folder / path)
        image, label = (DataFile(path) for path in paths)
        rows.append(CaseRow(name, name, number % 5 if number < CASES else None, {"CT": image}, label))
    facts = DataSet(name="made", title="Made CT studies", task=TASK, licence="CC0-1.0")
    write_manifest(Manifest(facts, load_task(TASK), tuple(rows), folder), folder)


def new_study(folder: Path, patient: str) -> Path:
    series = Series(Study(patient_id=patient, patient_name=patient, date="20260101"), "CT", description="Made CT")
    write_series(made_study(PATIENTS[patient]).volume, folder / patient, series)
    return folder / patient


def made_study(seed: int) -> PhantomStudy:
    return make_study(seed, phantom_grid(SHAPE, SPACING_MM))


def train_champion(folder: Path, steps: int, stages: Stages) -> None:
    write_data(folder / "data")
    with stages.stage("`medseg plan`, `train`, `models import`: the first champion"):
        medseg("plan", folder / "data", "--output", folder / "plan.toml", "--no-forecast")
        train_for(folder / "plan.toml", steps)
        medseg("train", folder / "data", "--plan", folder / "plan.toml", "--output", folder / "first")
        medseg("models", "import", folder / "models", folder / "first" / "model")


def train_for(plan: Path, steps: int) -> None:
    """Write into a plan that its training has so many steps, in epochs of ten."""
    made = open_plan(plan)
    training = made.training.model_copy(update={"steps_per_epoch": 10, "epochs": max(1, steps // 10)})
    save_plan(made.model_copy(update={"training": training}), plan)


def correct_all(site: Site) -> None:
    with launched_chromium() as browser, window_on(browser, site) as window:
        for patient in CORRECTED:
            correct_and_accept(window, patient, partial(redraw, truth=made_study(PATIENTS[patient]).label_map))


def redraw(room: Any, truth: LabelMap) -> None:
    """Change the mask in the page to what is true, label by label."""
    labels = mask_for_screen(truth).reshape(-1)
    for label in np.unique(labels):
        offsets = np.flatnonzero(labels == label).tolist()
        room.evaluate("(host, [offsets, label]) => host.room.edit.fill(offsets, label)", [offsets, int(label)])


def learn(site: Site, folder: Path, steps: int, stages: Stages) -> bool:
    """Whether there is a new champion."""
    of = ("--data", folder / "data")
    with stages.stage("`medseg retrain`"):
        train_for(folder / "plan.toml", steps)
        told = ("--registry", folder / "models", *of, "--plan", folder / "plan.toml", "--output", folder / "second")
        medseg("retrain", site.results, *told)
    with stages.stage("`medseg models judge`"):
        judging = ("models", "judge", folder / "models", *of, "--results", site.results)
        code = medseg(*judging, may_end_with=(0, REFUSED))
    if code == REFUSED:
        return False
    with stages.stage("`medseg models promote`"):
        medseg("models", "promote", folder / "models", CHALLENGER)
    return True


def run_chain(folder: Path, first_steps: int, steps: int, stages: Stages) -> bool:
    """Every stage in turn; whether the next study was segmented by the next champion."""
    train_champion(folder, first_steps, stages)
    *studies, after = [new_study(folder / "new", patient) for patient in PATIENTS]
    registry = Registry(folder / "models")
    first = registry.version(CHAMPION).sha256[:16]
    with ExitStack() as running:
        with stages.stage("start archive, service and viewer"):
            site = running.enter_context(running_site(folder, registry.folder, "CT"))
        with stages.stage("three studies: archive, service, SEG and SR in the archive"):
            send(site, *studies)
        with stages.stage("the three from the worklist, corrected and accepted in Chromium"):
            correct_all(site)
        if not learn(site, folder, steps, stages):
            return False
        with stages.stage("the next study: archive, service, SEG and SR in the archive"):
            send(site, after)
        found = models_of(site)
    second = registry.version(CHAMPION).sha256[:16]
    print(f"SEG and SR name {first} for {', '.join(CORRECTED)} and {second} for {NEXT}")
    wanted = {**dict.fromkeys(CORRECTED, first), NEXT: second}
    return first != second and found == {patient: {"SEG": sha256, "SR": sha256} for patient, sha256 in wanted.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("out/chain"))
    parser.add_argument("--first-steps", type=int, default=40, help="Of training the first champion.")
    parser.add_argument("--steps", type=int, default=120, help="Of retraining.")
    options = parser.parse_args()
    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stages = Stages()
    try:
        is_whole = run_chain(folder, options.first_steps, options.steps, stages)
    except pytest.skip.Exception as lacking:
        raise SystemExit(str(lacking)) from None
    print(f"\n{stages.table()}")
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
