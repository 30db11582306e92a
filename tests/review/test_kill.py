"""Killed while corrections are saved, again and again: what was confirmed is there, and the chain is whole."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from medseg.review.corrections import CorrectionStore

SAVE_FOR_EVER = """
import itertools, sys
from pathlib import Path
import numpy as np
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import load_task
from medseg.review.corrections import CorrectionStore, Signature
store, task = CorrectionStore(Path(sys.argv[1])), load_task("hippocampus_mr")
grid = Geometry.from_spacing((32, 32, 32), (1.0, 1.0, 1.0))
base = LabelMap(np.zeros(grid.shape, np.uint8), grid, task.label_schema)
for number in itertools.count(1):
    labels = np.zeros(grid.shape, np.uint8)
    labels.flat[:number] = 1
    drawn = LabelMap(labels, grid, task.label_schema)
    scan = f"{number:064x}"
    saved = store.correct(drawn, base, scan, task.name, by=Signature("jane"))
    store.decide(saved.mask_sha256, "accepted", None, scan, task.name, by=Signature("jane"))
    print(number, flush=True)
"""


def test_no_confirmed_correction_is_lost(tmp_path: Path) -> None:
    for lines in (3, 20):
        folder = tmp_path / str(lines)
        arguments = [sys.executable, "-c", SAVE_FOR_EVER, str(folder)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(lines):
                said = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
        store = CorrectionStore(folder)
        head = store.verify()
        assert head is not None
        assert head.count >= 2 * said
        assert [scan for scan, _ in store.scans()][:said] == [f"{number:064x}" for number in range(1, said + 1)]
