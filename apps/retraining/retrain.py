"""Make a challenger from corrections: python -m apps.retraining.retrain RESULTS REGISTRY DATA RUN [MINUTES].

Run again after a kill, it goes on. Exit code 0: there is a challenger; 2: nothing was trained, and the line says why.
`medseg retrain` is the same with options.
"""

from __future__ import annotations

import sys
from pathlib import Path

from medseg.core.errors import MedsegError
from medseg.workflows.retraining.retrain import retrain
from medseg.workflows.retraining.selection import Sources
from medseg.workflows.scans.data_sets import open_data_set
from medseg.workflows.training.make_plan import training_budget

USAGE = "usage: python -m apps.retraining.retrain RESULTS REGISTRY DATA RUN [MINUTES]\n"


def main(arguments: list[str]) -> int:
    """Retrain; the exit code."""
    if len(arguments) not in (4, 5):
        sys.stderr.write(USAGE)
        return 2
    results, registry, data, run = map(Path, arguments[:4])
    try:
        minutes = float(arguments[4]) if len(arguments) == 5 else None
        made = retrain(
            registry, Sources((results,), open_data_set(data)), run, budget=training_budget("auto", 8.0, minutes)
        )
    except (MedsegError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for study, reason in made.selection.left_out.items():
        sys.stderr.write(f"left out: {study}: {reason}\n")
    if made.without_control:
        sys.stderr.write(f"warning: {made.without_control}\n")
    sys.stdout.write(f"version {made.challenger.number} is the challenger ({made.challenger.sha256})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
