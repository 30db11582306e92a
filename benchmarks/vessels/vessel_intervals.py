"""The widths of the intervals: fitted to how far off made vessels were measured, and checked on others.

    python benchmarks/vessels/vessels.py measure tuning.jsonl --first 300 --studies 90 --edge 176
    python benchmarks/vessels/vessel_intervals.py fit tuning.jsonl   # writes interval_widths.json beside uncertainty.py
    python benchmarks/vessels/vessel_intervals.py check test.jsonl   # how many truths of another set the intervals hold

Fit to seeds below 1000 only, check on others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import vessels

from medseg.analysis.vessels.findings import uncertainty
from medseg.analysis.vessels.findings.report import Blockage
from medseg.analysis.vessels.findings.uncertainty import Widths, condition_of
from medseg.datasets.phantoms.vessels.truth import VesselLesionTruth

SOURCES = {
    "soft map, ideal": "probabilities",
    "image, ideal map": "image",
    "image, network-like map": "image",
    "image, hard mask": "image and mask",
    "hard mask": "mask",
}
NOMINAL = 0.95
FEWEST = 30
"""A condition with fewer lesions takes the widths of all together."""

ROUNDING_POINTS, ROUNDING_MM = 0.05, 0.005


def measured(records: Path, way: str) -> Iterator[tuple[Blockage, VesselLesionTruth, float]]:
    """Every matched blockage of one way with its truth and the mean spacing."""
    for record in vessels.read_records(records):
        if record.way == way and record.disease == "arterial":
            for pair in record.pairs:
                if pair.blockage is not None:
                    yield pair.blockage, pair.lesion, record.spacing_mm


def quantiles(errors: np.ndarray) -> tuple[float, float]:
    """The lower and upper error that hold the nominal share of the next one (conformal: of one more than there are)."""
    tail = (1 - NOMINAL) / 2
    count = len(errors)
    ordered = np.sort(errors)
    low = ordered[max(0, int(np.floor(tail * (count + 1))) - 1)]
    high = ordered[min(count - 1, int(np.ceil((1 - tail) * (count + 1))) - 1)]
    return float(round(low, 3)), float(round(high, 3))


def fit(records: Path) -> None:
    table: dict[str, dict[str, tuple[float, float, float, float]]] = {}
    counts = {}
    for way in ("soft map, ideal", "image, ideal map", "image, hard mask", "hard mask"):
        groups: dict[str, list[tuple[float, float]]] = {"any": []}
        for blockage, lesion, spacing_mm in measured(records, way):
            unit = uncertainty.points_a_voxel(blockage.reference_diameter_mm, spacing_mm)
            off = (lesion.diameter_percent - blockage.diameter_percent) / unit
            off_mm = (lesion.open_diameter_mm - blockage.minimal_diameter_mm) / spacing_mm
            for name in ("any", condition_of(blockage.diameter_percent, blockage.is_calcified)):
                groups.setdefault(name, []).append((off, off_mm))
        source = SOURCES[way]
        table[source], counts[source] = {}, len(groups["any"])
        for name, members in sorted(groups.items()):
            if name == "any" or len(members) >= FEWEST:
                errors = np.array(members)
                table[source][name] = (*quantiles(errors[:, 0]), *quantiles(errors[:, 1]))
                print(f"{source:16s} {name:20s} {len(members):4d}  {table[source][name]}")
    widths = Widths(nominal=NOMINAL, lesions=counts, table=table)
    path = Path(uncertainty.__file__).with_name(uncertainty.WIDTHS_FILE)
    path.write_text(widths.model_dump_json(indent=1) + "\n")


def check(records: Path) -> None:
    for way, source in SOURCES.items():
        held, held_mm, wide = [], [], []
        for said, lesion, spacing_mm in measured(records, way):
            percent = said.diameter_percent
            low, high = uncertainty.percent_interval(
                percent, said.reference_diameter_mm, spacing_mm, source, said.is_calcified
            )
            low_mm, high_mm = uncertainty.diameter_interval(
                percent, said.minimal_diameter_mm, spacing_mm, source, said.is_calcified
            )
            held.append(low - ROUNDING_POINTS <= lesion.diameter_percent <= high + ROUNDING_POINTS)
            held_mm.append(low_mm - ROUNDING_MM <= lesion.open_diameter_mm <= high_mm + ROUNDING_MM)
            wide.append(high - low)
        if held:
            print(
                f"{way:24s} {len(held):4d} lesions: percentages held {np.mean(held):.3f}, "
                f"diameters {np.mean(held_mm):.3f}, mean width {np.mean(wide):.1f} points"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["fit", "check"])
    parser.add_argument("records", type=Path)
    arguments = parser.parse_args()
    (fit if arguments.command == "fit" else check)(arguments.records)


if __name__ == "__main__":
    main()
