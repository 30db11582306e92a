"""Say what lies under a path and what would be read of it, without segmenting anything."""

from __future__ import annotations

from pathlib import Path

from medseg.exchange.dicom.scan import Inspection, inspect
from medseg.exchange.scan import Mends


def inspect_scans(path: Path, *, with_pixels: bool = False, mends: Mends | None = None) -> Inspection:
    """Every study, series and file, and what would be read or refused and why; by headers alone unless `with_pixels`.

    With `mends`, what would be read with them: only the series and phase they name, gaps filled where they say so.
    Raises InputError where the path does not exist, or holds no series or phase of that name.
    """
    return inspect(path, with_pixels=with_pixels, mends=mends)
