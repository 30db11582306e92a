"""Segment every scan below a folder: python -m apps.batch.process_folder INPUT OUTPUT MODEL.

A line a second on stderr says how far it is. Exit code 0: all done; 3: some scans were set aside; 2: nothing could be
begun, and the line says why. `medseg batch` is the same with options.
"""

from __future__ import annotations

import sys
from pathlib import Path

from medseg.core.errors import MedsegError
from medseg.workflows.segmenting.process_batch import process_batch

USAGE = "usage: python -m apps.batch.process_folder INPUT OUTPUT MODEL\n"


class _Lines:
    """Writes each whole percent once."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        line = f"{stage}: {100 * done / total if total else 100:.0f} %{', ' + note if note else ''}\n"
        if line != self._last:
            sys.stderr.write(line)
            self._last = line


def main(arguments: list[str]) -> int:
    """Run the batch; the exit code."""
    if len(arguments) != 3:
        sys.stderr.write(USAGE)
        return 2
    source, output, model = map(Path, arguments)
    try:
        summary = process_batch(source, model, output, progress=_Lines())
    except MedsegError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for record in summary.failures:
        sys.stderr.write(f"set aside: {record.job.arguments.get('name')}: {record.reason}\n")
    return 3 if summary.has_failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
