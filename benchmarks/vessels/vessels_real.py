"""The vessel chain on shapes that were not made by medseg: an expert's abdominal vessels, an aorta, VascuSynth trees.

    python benchmarks/vessels/vessels_real.py ../shared/data

Unmodified vessels tell how often a healthy one is called blocked (findings a metre; some may be real disease). The same
vessels narrowed by known amounts tell what is found and how wrong the percentage is.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, maximum_filter
from scipy.spatial import cKDTree

from medseg.analysis.vessels.analyse import VesselAnalysis, analyse_vessels
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.vessels.narrowing import Cut, narrowed
from medseg.exchange.read import read_scan

SPL_VESSELS = {
    "aorta": (7,),
    "inferior vena cava": (8,),
    "portal and splenic veins": (12, 117, 11),
    "aorta and iliac arteries": (7, 71, 72, 73, 74, 75, 76),
    "iliac veins": (81, 82, 83, 84, 85, 86),
    "coeliac arteries": (16, 17, 18, 19, 20, 21, 24, 25),
    "superior mesenteric artery": (22,),
    "renal arteries": (29, 126),
    "renal veins": (128, 129),
}
"""Label numbers of the SPL abdominal atlas, in groups that are connected."""

POINT_SPREAD_MM = 0.7


def soft_map(share: np.ndarray, geometry: Geometry) -> Volume:
    return Volume(Acquisition(point_spread_mm=POINT_SPREAD_MM).blurred(share.astype(np.float32), geometry), geometry)


def sites(analysis: VesselAnalysis, generator: np.random.Generator) -> list[tuple[int, Cut]]:
    """One cut on each branch that is long and wide enough, clear of its ends and of what was found without cuts."""
    chosen = []
    for branch, said in zip(analysis.tree.branches, analysis.report.branches, strict=True):
        width = said.mean_diameter_mm
        length = float(np.clip(3.0 * width, 8.0, 30.0))
        room = said.length_mm - length - 2.5 * width
        if said.not_assessable or room < 5.0:
            continue
        position = float(length / 2 + 1.25 * width + generator.uniform(0, room))
        taken = [
            one
            for one in analysis.report.on_branch(branch.index)
            if abs(one.position_mm - position) < length + 3 * width
        ]
        if not taken:
            chosen.append((branch.index, Cut(position, length, float(generator.uniform(35, 85)))))
    return chosen


@dataclass(frozen=True)
class CutFound:
    """A narrowing that was cut: the healthy diameter there, and by how many points it was misjudged; None if missed."""

    healthy_mm: float
    error: float | None


def spl(root: Path, rounds: int) -> None:
    scan = read_scan(root / "spl_abdominal_atlas_labels" / "seg.nrrd").volume
    total_mm, findings, confident, false = 0.0, 0, 0, 0
    cuts: list[CutFound] = []
    print("expert's vessels: length assessed, blockages >= 50 % all/confident | cuts found, errors")
    for name, labels in SPL_VESSELS.items():
        mask = np.isin(scan.array, labels)
        before = analyse_vessels(soft_map(mask, scan.geometry))
        deep = [one for one in before.report.blockages if one.diameter_percent >= 50]
        sure = sum(one.confidence == "confident" for one in deep)
        total_mm += before.report.length_mm
        findings, confident = findings + len(deep), confident + sure
        own: list[CutFound] = []
        for seed in range(20_000, 20_000 + rounds):
            made, extra = cut_and_find(mask, scan.geometry, before, np.random.default_rng([seed, labels[0]]))
            own += made
            false += extra
        cuts += own
        errors = ", ".join("missed" if one.error is None else f"{one.error:+.0f}" for one in own)
        print(f"  {name:28s} {before.report.length_mm:6.0f} mm  {len(deep)}/{sure} | {errors}", flush=True)
    metres = total_mm / 1000
    print(f"  together {metres:.2f} m: {findings / metres:.2f} a metre, confident {confident / metres:.2f} a metre")
    for title, low, high in (("2-3 mm", 2, 3), ("3-6 mm", 3, 6), ("6 mm and more", 6, 99), ("all", 0, 99)):
        there = [one for one in cuts if low <= one.healthy_mm < high]
        off = np.array([one.error for one in there if one.error is not None])
        if len(off):
            error = f"mean |error| {np.abs(off).mean():.1f}, bias {off.mean():+.1f}"
            print(f"  cuts in vessels of {title:14s} found {len(off)}/{len(there)}, {error}")
    print(f"  new false blockages beside the cuts: {false}")


def cut_and_find(
    mask: np.ndarray, geometry: Geometry, before: VesselAnalysis, generator: np.random.Generator
) -> tuple[list[CutFound], int]:
    """One cut on each branch with room for it, and what was found of them; and how many more blockages than before."""
    cuts = sites(before, generator)
    if not cuts:
        return [], 0
    share = mask.astype(np.float32)
    for index, cut in cuts:
        lumen = before.lumens.profiles[index]
        reach = 1.8 * float(np.percentile(lumen.radius_mm, 90)) + 1.0
        share = np.minimum(share, narrowed(mask, geometry, lumen.points_mm, reach, [cut]))
    after = analyse_vessels(soft_map(share, geometry)).report.blockages
    used: set[int] = set()
    found = []
    for index, cut in cuts:
        lumen = before.lumens.profiles[index]
        arc = lumen.arc_mm
        place = np.array([np.interp(cut.position_mm, arc, lumen.points_mm[:, axis]) for axis in range(3)])
        healthy_mm = 2 * float(np.interp(cut.position_mm, arc, lumen.radius_mm))
        gaps = {one.number: float(np.linalg.norm(np.asarray(one.centre_mm) - place)) for one in after}
        near = [one for one in after if one.number not in used and gaps[one.number] < cut.length_mm / 2 + 4]
        if not near:
            found.append(CutFound(healthy_mm, None))
            continue
        best = min(near, key=lambda one: gaps[one.number])
        used.add(best.number)
        found.append(CutFound(healthy_mm, best.diameter_percent - cut.percent))
    return found, max(0, len(after) - len(used) - len(before.report.blockages))


def aorta(root: Path) -> None:
    """Landmark diameters of a published report (area of the section, as a round one's diameter) beside ours."""
    folder = root / "totalsegmentator_reference" / "aorta_report"
    mask = read_scan(folder / "test_result" / "models" / "aorta.nii.gz").volume
    report = json.loads((folder / "example_ct_report" / "aorta_report.json").read_text())
    profiles = analyse_vessels(soft_map(mask.array > 0, mask.geometry)).lumens.profiles
    points = np.concatenate([profile.points_mm for profile in profiles])
    radii = np.concatenate([profile.radius_mm for profile in profiles])
    print("aorta: landmark, report's diameter of its area in mm, ours, mm between its middle and our centreline")
    off = []
    for landmark in report["landmarks"].values():
        if landmark.get("area") is None:
            continue
        middle = (np.array(landmark["start"]) + np.array(landmark["end"])) / 2
        distance, at = cKDTree(points).query(middle)
        said = 20.0 * float(np.sqrt(landmark["area"] / np.pi))
        print(f"  {landmark['name']:28s} {said:5.1f} {2 * radii[at]:5.1f} {distance:5.1f}")
        off.append(2 * radii[at] - said)
    print(f"  mean |difference| {np.abs(off).mean():.1f} mm, bias {np.mean(off):+.1f} mm")


def vascusynth(root: Path) -> None:
    """Trees of 100^3 voxels of 1 mm: signed bytes, which itk does not read, so they are read as they lie."""
    print("VascuSynth: length found, true centreline within 2 voxels of ours, ours within 2 of the true, radius error")
    for folder in sorted((root / "tube_seg_framework_synthetic_vessels" / "synthetic").iterdir()):
        lines = [folder / name for name in ("real_centerline.raw", "centerline.raw") if (folder / name).is_file()]
        if not lines:
            continue
        mask, line = (
            np.fromfile(path, np.int8).reshape(100, 100, 100).T > 0 for path in (folder / "original.raw", lines[0])
        )
        geometry = Geometry.from_spacing((100, 100, 100), (1.0, 1.0, 1.0))
        true = geometry.world(np.argwhere(line))
        analysis = analyse_vessels(Volume(mask.astype(np.uint8), geometry))
        ours = np.concatenate([profile.points_mm for profile in analysis.lumens.profiles])
        radii = np.concatenate([profile.radius_mm for profile in analysis.lumens.profiles])
        seen = np.mean(cKDTree(ours).query(true)[0] <= 2.0)
        right = np.mean(cKDTree(true).query(ours)[0] <= 2.0)
        depth = distance_transform_edt(mask)
        inscribed = maximum_filter(depth, 3)[tuple(np.round(geometry.index(ours)).astype(int).clip(0, 99).T)]
        off = radii - inscribed
        error = f"{np.abs(off).mean():.2f} voxels beside the largest inscribed ball, bias {off.mean():+.2f}"
        print(f"  {folder.name}: {analysis.tree.length_mm:.0f} mm, {seen:.2f}, {right:.2f}, {error}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with the SPL atlas, the aorta and the VascuSynth trees")
    parser.add_argument("--rounds", type=int, default=4, help="how often cuts are drawn anew")
    arguments = parser.parse_args()
    spl(arguments.data, arguments.rounds)
    aorta(arguments.data)
    vascusynth(arguments.data)


if __name__ == "__main__":
    main()
