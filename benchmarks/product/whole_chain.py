"""The whole chain: archive, service, reader, retraining, gate, and the next study by the next champion.

    python benchmarks/product/whole_chain.py [--folder out/chain] [--first-minutes 0.5] [--minutes 2]

Made CT studies. A champion is trained for a short while and registered. A real Orthanc gets three studies by dcmtk's
storescu; `medseg serve` fetches and segments them and stores SEG and SR; in headless Chromium each is opened from the
worklist, its lesions are painted where the formula says that they are, and it is accepted. Then `medseg retrain`,
`medseg models judge` and `medseg models promote`; the archive gets a fourth study, whose SEG and SR must name the new
champion.

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
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.extend(str(Path(__file__).parents[2] / "tests" / room) for room in ("end_to_end", "apps", "exchange", "jobs"))

from chain_stages import Site, Spot, correct_and_accept, models_of, running_site, send
from process_memory import PeakMemory
from served_viewer import launched_chromium
from viewer_window import window_on

from medseg.core.study import Series, Study
from medseg.datasets.phantoms.study import make_study, phantom_grid
from medseg.datasets.phantoms.truth import LesionTruth
from medseg.exchange.dicom.writing.series import write_series
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry

CASES, TEST_CASES = 15, 12
CORRECTED = ("anna", "bert", "cleo")
NEXT = "dora"
FIRST_SEED = 2000
"""Of the new patients; those of the data set begin with 0."""

LESION = 2
REFUSED = 3


@dataclass(frozen=True)
class NewStudy:
    """A CT study of a patient whom no model has seen, and where its lesions are."""

    patient: str
    folder: Path
    lesions: tuple[Spot, ...]


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


def new_study(folder: Path, number: int, patient: str) -> NewStudy:
    made = make_study(FIRST_SEED + number, phantom_grid())
    series = Series(Study(patient_id=patient, patient_name=patient, date="20260101"), "CT", description="Made CT")
    write_series(made.volume, folder / patient, series)
    return NewStudy(patient, folder / patient, tuple(spot for one in made.truth.lesions for spot in painted(one)))


def painted(lesion: LesionTruth) -> tuple[Spot, ...]:
    """The lesion's ellipsoid as three balls along its longest axis, none of which leaves it."""
    longest = max(range(3), key=lambda axis: lesion.semi_axes_mm[axis])
    across_mm = sorted(lesion.semi_axes_mm)[0]
    reach_mm = lesion.semi_axes_mm[longest] - across_mm
    places = [
        [at + share * reach_mm * way for at, way in zip(lesion.centre_mm, lesion.axes[longest], strict=True)]
        for share in (-0.5, 0.0, 0.5)
    ]
    return tuple(Spot(LESION, (x, y, z), 0.9 * across_mm) for x, y, z in places)


def train_champion(folder: Path, minutes: float, stages: Stages) -> None:
    with stages.stage("make 27 studies to train and test on"):
        medseg("data", "phantoms", folder / "data", "--cases", str(CASES), "--held-out", str(TEST_CASES))
    with stages.stage("train the first champion"):
        medseg("train", folder / "data", "--output", folder / "first", "--minutes", str(minutes))
        medseg("models", "import", folder / "models", folder / "first" / "model")


def correct_all(site: Site, studies: list[NewStudy]) -> None:
    with launched_chromium() as browser, window_on(browser, site) as window:
        for study in studies:
            correct_and_accept(window, study.patient, study.lesions)


def learn(site: Site, folder: Path, minutes: float, stages: Stages) -> bool:
    """Whether there is a new champion."""
    of = ("--data", folder / "data")
    with stages.stage("`medseg retrain`"):
        told = ("--registry", folder / "models", *of, "--output", folder / "second", "--minutes", str(minutes))
        medseg("retrain", site.results, *told)
    with stages.stage("`medseg models judge`"):
        judging = ("models", "judge", folder / "models", *of, "--results", site.results)
        code = medseg(*judging, may_end_with=(0, REFUSED))
    if code == REFUSED:
        return False
    with stages.stage("`medseg models promote`"):
        medseg("models", "promote", folder / "models", CHALLENGER)
    return True


def run_chain(folder: Path, first_minutes: float, minutes: float, stages: Stages) -> bool:
    """Every stage in turn; whether the next study was segmented by the next champion."""
    train_champion(folder, first_minutes, stages)
    *studies, after = [new_study(folder / "new", number, who) for number, who in enumerate((*CORRECTED, NEXT))]
    registry = Registry(folder / "models")
    first = registry.version(CHAMPION).sha256[:16]
    with ExitStack() as running:
        with stages.stage("start archive, service and viewer"):
            site = running.enter_context(running_site(folder, registry.folder, "CT"))
        with stages.stage("three studies: archive, service, SEG and SR in the archive"):
            send(site, *(study.folder for study in studies))
        with stages.stage("the three from the worklist, corrected and accepted in Chromium"):
            correct_all(site, studies)
        if not learn(site, folder, minutes, stages):
            return False
        with stages.stage("the next study: archive, service, SEG and SR in the archive"):
            send(site, after.folder)
        found = models_of(site)
    second = registry.version(CHAMPION).sha256[:16]
    print(f"SEG and SR name {first} for {', '.join(CORRECTED)} and {second} for {NEXT}")
    wanted = {**dict.fromkeys(CORRECTED, first), NEXT: second}
    return first != second and found == {patient: {"SEG": sha256, "SR": sha256} for patient, sha256 in wanted.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("out/chain"))
    parser.add_argument("--first-minutes", type=float, default=0.5)
    parser.add_argument("--minutes", type=float, default=2.0)
    options = parser.parse_args()
    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stages = Stages()
    try:
        is_whole = run_chain(folder, options.first_minutes, options.minutes, stages)
    except pytest.skip.Exception as lacking:
        raise SystemExit(str(lacking)) from None
    print(f"\n{stages.table()}")
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
