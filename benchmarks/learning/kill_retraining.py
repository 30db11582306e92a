"""kill -9 during retraining and promotion on real hippocampi, at random moments: is anything lost, or half done?

    python benchmarks/learning/kill_retraining.py DATA [--kills 20] [--seconds 60] [--folder FOLDER]

The shipped model is the champion; eight scans that it learned from are segmented, "corrected" to their reference masks
and accepted. Then `medseg retrain` and `medseg models promote` are run and killed, again and again, each time a random
moment after they began. After each kill the champion is loaded and the store of corrections verified; at the end the
retraining is left to finish.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from medseg.exchange.read import read_label_map
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.models.store import find_model, load_model
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.workflows.results.open_study import list_studies, open_study
from medseg.workflows.scans.data_sets import open_data_set
from medseg.workflows.segmenting.segment_study import segment_study

MANIFEST = Path(__file__).parents[2] / "data_manifests" / "msd_task04_hippocampus"
MODEL, CASES = "hippocampus_mr", 8
MEDSEG = [sys.executable, "-m", "medseg.cli"]


def corrected(data: Path, results: Path) -> int:
    """Results of the champion, corrected and accepted; how many records that makes."""
    manifest, bundle = open_data_set(MANIFEST, data), load_model(MODEL)
    for case in manifest.training(0)[:CASES]:  # the others are kept for validation and test
        segment_study(case.channels, bundle, results / case.name)
    labels = {case.name: case.label for case in manifest.cases}
    store = CorrectionStore(results / REVIEW_FOLDER)
    for entry in list_studies(results):
        opened, label = open_study(entry), labels[entry.name]
        assert opened.report is not None
        assert opened.label_map is not None
        assert label is not None
        drawn = read_label_map(label, manifest.task.label_schema)
        of = (opened.source_sha256, opened.report.task.name)
        saved = store.correct(drawn, opened.label_map, *of, by=Signature("benchmark"))
        store.decide(saved.mask_sha256, "accepted", None, *of, by=Signature("benchmark"))
    head = store.verify()
    assert head is not None
    return head.count


def killed(command: list[str], after_s: float) -> bool:
    """Whether the command was killed before it ended by itself."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, said = process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    assert process.returncode == 0, said
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder that holds msd_task04_hippocampus")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0, help="a kill comes this long after the start at most")
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    results, models, run = folder / "results", folder / "models", folder / "run"
    registry, moments = Registry(models), random.Random(0)
    registry.point(CHAMPION, str(registry.add(find_model(MODEL)).number), person="benchmark", reason="first")
    records = corrected(arguments.data, results)
    data = ["--data", str(MANIFEST), "--root", str(arguments.data)]
    retrain = [*MEDSEG, "retrain", str(results), "--registry", str(models), *data, "--output", str(run)]
    retrain += ["--minutes", "0.5", "--device", "cpu"]
    promote = [*MEDSEG, "models", "promote", str(models), CHALLENGER, "--without-verdict", "a benchmark"]
    deaths, begin, commands = 0, time.monotonic(), [retrain, promote]
    while commands:
        after_s = moments.uniform(1, arguments.seconds) if deaths < arguments.kills else 3600.0
        was_killed = killed(commands[0], after_s)
        deaths += was_killed
        if not was_killed:
            commands.pop(0)
        registry.load(CHAMPION)
        head = CorrectionStore(results / REVIEW_FOLDER).verify()
        assert head is not None
        assert head.count == records
        stage = "selected" if (run / "selection.json").is_file() else "begun"
        stage = "trained" if (run / "model").is_dir() else stage
        told = {"deaths": deaths, "after_s": round(after_s, 1), "run": stage, "aliases": registry.aliases()}
        print(json.dumps(told), flush=True)
    print(f"{deaths} kills, {records} records, {registry.aliases()}, {(time.monotonic() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
