"""Radiomic features of each finding, by MIRP, which follows the Image Biomarker Standardisation Initiative (IBSI).

MIRP is an extra: pip install 'medseg[radiomics]'. Nothing is resampled; features are of the finding in space, not slice
by slice. Grey levels are put into bins of a fixed width where the unit means something (25 HU from -1000 HU on; 0.5 SUV
from 0 on), else into 32 bins from the finding's least to its greatest value.
"""

from __future__ import annotations

import csv
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import whole_file
from medseg.core.extras import require_extra
from medseg.core.report import Report
from medseg.core.volume import Unit, Volume
from medseg.exchange.nifti import write_nifti

HEADER = ("label", "instance", "feature", "value", "discretisation", "library")

BINS: dict[Unit, tuple[float, float]] = {"HU": (-1000.0, 25.0), "SUVbw": (0.0, 0.5)}
"""Where the bins begin and how wide they are."""

BIN_COUNT = 32

MARGIN_VOXELS = 8
"""How much of the surroundings MIRP is given: what its filters and peaks look at."""

_FIRST_FEATURE = "morph_volume"


def write_radiomics_csv(report: Report, volume: Volume, numbers: NDArray[np.unsignedinteger[Any]], path: Path) -> None:
    """One row a feature of each counted finding; a feature that cannot be computed of it has no value.

    `numbers` (i, j, k) holds 1 where the first finding is, 2 where the second is. Raises InputError where MIRP is
    missing.
    """
    require_extra("radiomics", "radiomics", ("mirp",))
    library = f"mirp {version('mirp')}"
    said = f"{BINS[volume.unit][1]:g} a bin" if volume.unit in BINS else f"{BIN_COUNT} bins"
    with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for number, finding in enumerate(report.findings, start=1):
            if finding.label.is_counted:
                for name, value in _features(volume, numbers == number):
                    shown = f"{value:.9g}" if np.isfinite(value) else ""
                    writer.writerow([finding.label.name, finding.instance, name, shown, said, library])


def _features(volume: Volume, mask: NDArray[np.bool_]) -> Iterator[tuple[str, float]]:
    """The features of one finding by MIRP's names, which are those of IBSI in short."""
    import mirp

    box = _box_around(mask)
    corner, shape = [side.start for side in box], [side.stop - side.start for side in box]
    part = volume.geometry.cropped((corner[0], corner[1], corner[2]), (shape[0], shape[1], shape[2]))
    with tempfile.TemporaryDirectory(prefix="medseg-radiomics-") as folder, _quiet():
        image, roi = Path(folder) / "image.nii.gz", Path(folder) / "mask.nii.gz"
        write_nifti(volume.array[box].astype(np.float32), part, image)
        write_nifti(mask[box], part, roi)
        (table,) = mirp.extract_features(image=str(image), mask=str(roi), by_slice=False, **_discretisation(volume))
    names = list(table.columns)
    for name in names[names.index(_FIRST_FEATURE) :]:
        yield str(name), float(table[name].iloc[0])


def _discretisation(volume: Volume) -> dict[str, Any]:
    """How grey levels are put into bins, as MIRP takes it."""
    if volume.unit not in BINS:
        return {"base_discretisation_method": "fixed_bin_number", "base_discretisation_n_bins": BIN_COUNT}
    begin, width = BINS[volume.unit]
    return {
        "base_discretisation_method": "fixed_bin_size",
        "base_discretisation_bin_width": width,
        "resegmentation_intensity_range": [begin, np.nan],
    }


def _box_around(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The box of a mask with the margin, within the grid."""
    sides = []
    for axis, length in enumerate(mask.shape):
        there = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append(slice(max(0, int(there[0]) - MARGIN_VOXELS), min(length, int(there[-1]) + 1 + MARGIN_VOXELS)))
    return sides[0], sides[1], sides[2]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what MIRP tells of its progress, and of features that it cannot compute."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
