"""Judge the challenger and promote it if it passes: python -m apps.retraining.promote REGISTRY DATA [RESULTS...].

RESULTS are folders of reviewed results, whose corrections must not be unlearned and whose shadows are told of. Exit
code 0: it is the champion; 3: the gate refused it and the champion stays; 2: it could not be judged.
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from medseg.core.errors import MedsegError
from medseg.workflows.retraining.judge import judge_challenger, promote
from medseg.workflows.scans.data_sets import open_data_set

USAGE = "usage: python -m apps.retraining.promote REGISTRY DATA [RESULTS...]\n"
REFUSED = 3


def main(arguments: list[str]) -> int:
    """Judge and promote; the exit code."""
    if len(arguments) < 2:
        sys.stderr.write(USAGE)
        return 2
    registry, data, *results = map(Path, arguments)
    try:
        verdict = judge_challenger(registry, open_data_set(data), results=results)
        sys.stdout.write(verdict.markdown())
        if not verdict.is_passed:
            return REFUSED
        promote(registry, verdict.challenger_sha256, person=getpass.getuser())
    except MedsegError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
