"""One training at a time in a run folder."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from medseg.core.presence import only_one

LOCK = "run.lock"


def alone_in(run_folder: Path) -> AbstractContextManager[None]:
    """Be the only one that plans and trains in a run folder, for the block. Raises InputError where another does."""
    mend = "Wait for it, or choose another folder."
    return only_one(run_folder / LOCK, f"another training runs in {run_folder}", mend)
