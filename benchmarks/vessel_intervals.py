"""How far off the measured percentages and diameters are, on made vessels: the widths of the intervals.

    python benchmarks/vessel_intervals.py measure --first 300 --studies 60 --records records.jsonl
    python benchmarks/vessel_intervals.py fit records.jsonl        # writes medseg/analysis/vessels/interval_widths.json
    python benchmarks/vessel_intervals.py check other_records.jsonl

Seeds below 1000 only: they were used for tuning. `check` says how many of another set's truths the intervals hold.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import vessels

from medseg.analysis.vessels import uncertainty
from medseg.analysis.vessels.uncertainty import Widths, condition_of
from medseg.datasets.phantoms.vessel_study import make_vessel_study, vessel_grid

WAYS = {
    "probabilities": "soft map, ideal",
    "image": "image, ideal map",
    "image and mask": "image, hard mask",
    "mask": "hard mask",
}
NOMINAL = 0.95
FEWEST = 40
"""A condition with fewer lesions takes the widths of all together."""


def measure(first: int, studies: int, edge: int, records: Path) -> None:
    """One line a matched blockage: how it was measured, what was measured, and the truth."""
    done = {json.loads(line)["seed"] for line in records.read_text().splitlines()} if records.exists() else set()
    grid = vessel_grid((edge, edge, edge))
    for seed in range(first, first + studies):
        if seed in done:
            continue
        study = make_vessel_study(seed, vessels.LIKENESSES[seed % len(vessels.LIKENESSES)], geometry=grid)
        lines = []
        for source, way in WAYS.items():
            pairs, _, _ = vessels.matched(study.truth, vessels.WAYS[way](study))
            for found, lesion in pairs:
                blockage = found.blockage
                assert blockage is not None
                lines.append(
                    {
                        "seed": seed,
                        "source": source,
                        "spacing_mm": float(np.mean(grid.spacing_mm)),
                        "percent": blockage.diameter_percent,
                        "minimal_mm": blockage.minimal_diameter_mm,
                        "reference_mm": blockage.reference_diameter_mm,
                        "is_calcified": blockage.is_calcified,
                        "gap_mm": blockage.gap_mm,
                        "fork_mm": blockage.fork_mm,
                        "kind": blockage.kind,
                        "true_percent": lesion.diameter_percent,
                        "true_mm": lesion.open_diameter_mm,
                    }
                )
        with records.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        print(f"seed {seed}: {len(lines)}", flush=True)


def quantiles(errors: np.ndarray) -> tuple[float, float]:
    """The lower and upper error that hold the nominal share of the next one (conformal: of one more than there are)."""
    tail = (1 - NOMINAL) / 2
    count = len(errors)
    ordered = np.sort(errors)
    low = ordered[max(0, int(np.floor(tail * (count + 1))) - 1)]
    high = ordered[min(count - 1, int(np.ceil((1 - tail) * (count + 1))) - 1)]
    return float(low), float(high)


def fit(records: Path) -> None:
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    table: dict[str, dict[str, list[float]]] = {}
    for source in WAYS:
        own = [line for line in lines if line["source"] == source]
        groups: dict[str, list[dict[str, float]]] = {"any": own}
        for line in own:
            groups.setdefault(condition_of(line["percent"], line["is_calcified"]), []).append(line)
        table[source] = {}
        for name, members in sorted(groups.items()):
            if name != "any" and len(members) < FEWEST:
                continue
            percent = quantiles(np.array([scaled_percent_error(line) for line in members]))
            width = quantiles(
                np.array([(line["true_mm"] - line["minimal_mm"]) / line["spacing_mm"] for line in members])
            )
            table[source][name] = [*percent, *width]
            print(f"{source:16s} {name:24s} {len(members):4d}  " + " ".join(f"{q:+6.2f}" for q in table[source][name]))
    widths = Widths(nominal=NOMINAL, lesions=len(lines) // len(WAYS), table=table)
    path = Path(uncertainty.__file__).with_name(uncertainty.WIDTHS_FILE)
    path.write_text(widths.model_dump_json(indent=1) + "\n")


def scaled_percent_error(line: dict[str, float]) -> float:
    """Points off, in shares of one voxel of the healthy diameter."""
    return (line["true_percent"] - line["percent"]) / uncertainty.points_a_voxel(
        line["reference_mm"], line["spacing_mm"]
    )


def check(records: Path) -> None:
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    for source in WAYS:
        held, held_mm, wide = [], [], []
        for line in lines:
            if line["source"] != source:
                continue
            low, high = uncertainty.percent_interval(
                line["percent"], line["reference_mm"], line["spacing_mm"], source, line["is_calcified"]
            )
            low_mm, high_mm = uncertainty.diameter_interval(
                line["percent"], line["minimal_mm"], line["spacing_mm"], source, line["is_calcified"]
            )
            held.append(low - 0.05 <= line["true_percent"] <= high + 0.05)
            held_mm.append(low_mm - 0.005 <= line["true_mm"] <= high_mm + 0.005)
            wide.append(high - low)
        if held:
            print(
                f"{source:16s} {len(held):4d} lesions: percentages held {np.mean(held):.3f}, "
                f"diameters {np.mean(held_mm):.3f}, mean width {np.mean(wide):.1f} points"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--first", type=int, default=300)
    measuring.add_argument("--studies", type=int, default=60)
    measuring.add_argument("--edge", type=int, default=256)
    measuring.add_argument("--records", type=Path, required=True)
    for name in ("fit", "check"):
        commands.add_parser(name).add_argument("records", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "measure":
        measure(arguments.first, arguments.studies, arguments.edge, arguments.records)
    elif arguments.command == "fit":
        fit(arguments.records)
    else:
        check(arguments.records)


if __name__ == "__main__":
    main()
