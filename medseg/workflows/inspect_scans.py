"""Say what lies under a path and what would be read of it, without segmenting anything."""

from __future__ import annotations

from pathlib import Path

from medseg.exchange.dicom.scan import Inspection, inspect


def inspect_scans(path: Path, *, with_pixels: bool = False) -> Inspection:
    """Every study, series and file, and what would be read or refused and why; by headers alone unless `with_pixels`.

    Raises InputError where the path does not exist.
    """
    return inspect(path, with_pixels=with_pixels)
