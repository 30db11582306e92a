"""The percentage of made narrowings by medseg and by VMTK's largest inscribed spheres, on the same soft maps.

    python benchmarks/vessels/vessels_vmtk.py --vmtk-python PYTHON --first 13000 --studies 12

VMTK needs Python 3.12 or newer: PYTHON is an interpreter of its own that has it (`pip install vmtk`; Debian 13 has
Python 3.13). VMTK is told where each narrowing lies: it gets the vessel around it, cut out, and a place on either side;
its percentage is one less its smallest sphere over the healthy radius between the levels beside the narrowing. medseg
gets the whole study and has to find it. Each is counted where the other gives a percentage too, and by itself.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import vessels

from medseg.datasets.phantoms.vessels.study import VesselStudy, make_vessel_study, vessel_grid
from medseg.datasets.phantoms.vessels.truth import VesselLesionTruth

SHOULDER_MM, SHOULDER_PERCENTILE = 6.0, 60.0
MARGIN_MM = 4.0
EDGE = 192


@dataclass
class Case:
    """A narrowing with what VMTK needs: the map around it, and its centreline (n, 3) there in the crop's mm."""

    lesion: VesselLesionTruth
    soft: np.ndarray
    spacing_mm: np.ndarray
    line_mm: np.ndarray
    arc_mm: np.ndarray
    ours: float | None


def cases_of(study: VesselStudy) -> list[Case]:
    pairs, _, _ = vessels.matched(study.truth, vessels.by_soft_map(study))
    said = {lesion.centre_mm: one.percent for one, lesion in pairs}
    return [
        cropped(study, lesion, said.get(lesion.centre_mm)) for lesion in study.truth.lesions if not lesion.is_occlusion
    ]


def cropped(study: VesselStudy, lesion: VesselLesionTruth, ours: float | None) -> Case:
    geometry = study.probability.geometry
    points = np.asarray(study.truth.branches[lesion.branch].points_mm)
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    reach = SHOULDER_MM + 1.0
    near = (arc >= lesion.start_mm - reach) & (arc <= lesion.stop_mm + reach)
    index = geometry.index(points[near])
    margin = np.ceil((MARGIN_MM + lesion.healthy_diameter_mm / 2) / np.asarray(geometry.spacing_mm))
    low = np.maximum(np.floor(index.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(index.max(axis=0) + margin) + 1, geometry.shape).astype(int)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    # a rim of nothing closes the surface where the crop cuts the vessel
    soft = np.pad(study.probability.array[box], 1)
    spacing = np.asarray(geometry.spacing_mm)
    return Case(lesion, soft, spacing, (index - low + 1) * spacing, arc[near], ours)


def vmtk_lines(python: Path, cases: list[Case]) -> list[np.ndarray]:
    """VMTK's centreline with radii (n, 4) of each case; empty where it gave none."""
    with tempfile.TemporaryDirectory() as folder:
        crops, profiles = Path(folder) / "crops.npz", Path(folder) / "profiles.npz"
        held: dict[str, np.ndarray] = {"count": np.array(len(cases))}
        for number, case in enumerate(cases):
            held[f"map{number}"] = case.soft.astype(np.float32)
            held[f"spacing{number}"] = case.spacing_mm
            held[f"places{number}"] = case.line_mm[[0, -1]]
        np.savez(crops, **held)
        side = Path(__file__).with_name("vessels_vmtk_side.py")
        subprocess.run([str(python), str(side), str(crops), str(profiles)], check=True, stdout=subprocess.DEVNULL)
        found = np.load(profiles)
        return [found[f"line{number}"] for number in range(len(cases))]


def percent_of(case: Case, line: np.ndarray) -> float | None:
    """One less the smallest sphere over the healthy radius, by the rule for references that medseg has."""
    if len(line) == 0:
        return None
    nearest = np.argmin(np.linalg.norm(line[:, None, :3] - case.line_mm[None], axis=2), axis=1)
    place, radius = case.arc_mm[nearest], line[:, 3]
    lesion = case.lesion
    inside = (place >= lesion.start_mm) & (place <= lesion.stop_mm)
    levels = []
    for start, stop in (
        (lesion.start_mm - SHOULDER_MM, lesion.start_mm),
        (lesion.stop_mm, lesion.stop_mm + SHOULDER_MM),
    ):
        beside = radius[(place >= start) & (place < stop)]
        if len(beside) >= 3:
            levels.append(float(np.percentile(beside, SHOULDER_PERCENTILE)))
    if not levels or not inside.any():
        return None
    return float(np.clip(100 * (1 - radius[inside].min() / np.mean(levels)), 0, 100))


def line_of(title: str, cases: list[Case], said: list[float | None]) -> str:
    off = [one - case.lesion.diameter_percent for case, one in zip(cases, said, strict=True) if one is not None]
    if not off:
        return f"  {title:34s} no percentage"
    return f"  {title:34s} {len(off):3d}/{len(cases):<3d} error {np.abs(off).mean():5.1f} bias {np.mean(off):+5.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vmtk-python", type=Path, required=True, help="an interpreter that has vmtk")
    parser.add_argument("--first", type=int, default=13_000)
    parser.add_argument("--studies", type=int, default=12)
    arguments = parser.parse_args()
    if not arguments.vmtk_python.exists():
        print(f"VMTK is not compared: {arguments.vmtk_python} is not there. Give an interpreter that has vmtk.")
        return
    cases: list[Case] = []
    began = time.process_time()
    for seed in range(arguments.first, arguments.first + arguments.studies):
        likeness = vessels.LIKENESSES[seed % len(vessels.LIKENESSES)]
        cases += cases_of(make_vessel_study(seed, likeness, geometry=vessel_grid((EDGE,) * 3)))
    print(f"{len(cases)} narrowings of {arguments.studies} studies, {time.process_time() - began:.0f} s")
    theirs = [
        percent_of(case, line) for case, line in zip(cases, vmtk_lines(arguments.vmtk_python, cases), strict=True)
    ]
    ours = [case.ours for case in cases]
    both = [one is not None and two is not None for one, two in zip(ours, theirs, strict=True)]
    for title, low, high in (("30-50 %", 0, 50), ("50-70 %", 50, 70), ("70-99 %", 70, 100), ("all", 0, 100)):
        chosen = [at for at, case in enumerate(cases) if low <= case.lesion.diameter_percent < high]
        print(title)
        part = [cases[at] for at in chosen]
        print(line_of("medseg", part, [ours[at] for at in chosen]))
        print(line_of("VMTK", part, [theirs[at] for at in chosen]))
        print(line_of("medseg, where VMTK says one too", part, [ours[at] if both[at] else None for at in chosen]))


if __name__ == "__main__":
    main()
