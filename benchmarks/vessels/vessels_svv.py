"""Blockages found and graded on trees of an independent generator (svv), with medseg's lesions and imaging.

python benchmarks/vessels/vessels_svv.py trees.json records.jsonl     # trees.json is made by svv_trees.py
python benchmarks/vessels/vessels.py tables records.jsonl
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import vessels

from medseg.datasets.phantoms.tubes import Tube, resampled
from medseg.datasets.phantoms.vessels.study import make_vessel_study, vessel_grid
from medseg.datasets.phantoms.vessels.tree import GrownBranch

ROOT_RADIUS_MM = 2.4
LEAST_RADIUS_MM = 1.05
GAP_MM = 1.0
FIRST_SEED = 12_000


def tree_of(segments: list[dict[str, object]]) -> list[GrownBranch]:
    """The branches of a tree, parents first; those that are too thin or too near others are left out with what hangs
    from them.
    """
    grown: list[GrownBranch] = []
    place: dict[int | None, int | None] = {None: None}
    waiting = list(enumerate(segments))
    while waiting:
        ready = [(number, one) for number, one in waiting if one["parent"] in place]
        if not ready:
            return grown
        waiting = [item for item in waiting if item[1]["parent"] not in place]
        for number, one in ready:
            parent = place[one["parent"]]  # type: ignore[index]
            radius = ROOT_RADIUS_MM * float(one["relative_radius"])  # type: ignore[arg-type]
            points = resampled(np.linspace(np.array(one["start_mm"]), np.array(one["end_mm"]), 40))
            if radius < LEAST_RADIUS_MM or len(points) < 12:
                continue
            tube = Tube(points, np.full(len(points), radius))
            if (parent is not None or one["parent"] is None) and _is_clear(tube, parent, grown):
                place[number] = len(grown)
                grown.append(GrownBranch(parent, tube))
    return grown


def _is_clear(tube: Tube, parent: int | None, grown: list[GrownBranch]) -> bool:
    for at, other in enumerate(grown):
        where, distance = other.tube.nearest(tube.points_mm)
        room = distance - other.tube.radius_at(where) - tube.radii_mm
        if parent is not None and (at == parent or other.parent == parent):
            room = room[tube.arc_mm > 3.5 * grown[parent].tube.radii_mm[-1] + GAP_MM]
        if len(room) and room.min() < GAP_MM:
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", type=Path)
    parser.add_argument("records", type=Path)
    parser.add_argument("--ways", nargs="*", default=["soft map, ideal", "image, ideal map", "image, network-like map"])
    arguments = parser.parse_args()
    grid = vessel_grid((256, 256, 256))
    for number, segments in enumerate(json.loads(arguments.trees.read_text())):
        grown = tree_of(segments)
        study = make_vessel_study(FIRST_SEED + number, "coronary", geometry=grid, grown=grown)
        for way in arguments.ways:
            with arguments.records.open("a", encoding="utf-8") as file:
                file.write(vessels.record(study, "arterial", way).model_dump_json() + "\n")
        print(f"tree {number}: {len(grown)} branches, {len(study.truth.lesions)} lesions", flush=True)


if __name__ == "__main__":
    main()
