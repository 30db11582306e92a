"""The vessel chain on shapes that were not made by medseg: an expert's abdominal vessels, and VascuSynth trees.

    python benchmarks/vessels_real.py ../shared/data

Unmodified vessels tell how often a healthy one is called blocked (findings a metre; some may be real disease). The same
vessels narrowed by known amounts tell what is found and how wrong the percentage is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from medseg.analysis.vessels.analyse import VesselAnalysis, analyse_vessels
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.narrowing import Cut, narrowed
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


def spl(root: Path) -> None:
    scan = read_scan(root / "spl_abdominal_atlas_labels" / "seg.nrrd").volume
    generator = np.random.default_rng(20_000)
    total_mm, findings, confident = 0.0, 0, 0
    made, found, false, off = 0, 0, 0, []
    print("expert's vessels: length assessed, blockages >= 50 % all/confident | cuts found, errors")
    for name, labels in SPL_VESSELS.items():
        mask = np.isin(scan.array, labels)
        before = analyse_vessels(soft_map(mask, scan.geometry))
        deep = [one for one in before.report.blockages if one.diameter_percent >= 50]
        total_mm += before.report.length_mm
        findings += len(deep)
        confident += sum(one.confidence == "confident" for one in deep)
        cuts = sites(before, generator)
        share = mask.astype(np.float32)
        places = []
        for index, cut in cuts:
            lumen = before.lumens.profiles[index]
            reach = 1.8 * float(np.percentile(lumen.radius_mm, 90)) + 1.0
            one = narrowed(mask, scan.geometry, lumen.points_mm, reach, [cut])
            share = np.minimum(share, one)
            places.append(
                np.array([np.interp(cut.position_mm, lumen.arc_mm, lumen.points_mm[:, axis]) for axis in range(3)])
            )
        after = analyse_vessels(soft_map(share, scan.geometry)).report.blockages if cuts else ()
        used = set()
        errors = []
        for (_, cut), place in zip(cuts, places, strict=True):
            near = [
                (float(np.linalg.norm(np.asarray(one.centre_mm) - place)), one)
                for one in after
                if one.number not in used and np.linalg.norm(np.asarray(one.centre_mm) - place) < cut.length_mm / 2 + 4
            ]
            if near:
                best = min(near, key=lambda pair: pair[0])[1]
                used.add(best.number)
                errors.append(best.diameter_percent - cut.percent)
        made, found, off = made + len(cuts), found + len(errors), off + errors
        false += max(0, len(after) - len(errors) - len(before.report.blockages))
        shown = ", ".join(f"{error:+.0f}" for error in errors)
        sure = sum(one.confidence == "confident" for one in deep)
        line = f"{before.report.length_mm:6.0f} mm  {len(deep)}/{sure} | {len(errors)}/{len(cuts)}  {shown}"
        print(f"  {name:28s} {line}", flush=True)
    metres = total_mm / 1000
    print(f"  together {metres:.2f} m: {findings / metres:.2f} a metre, confident {confident / metres:.2f} a metre")
    if made:
        error = f"mean |error| {np.abs(off).mean():.1f}, bias {np.mean(off):+.1f}"
        print(f"  cuts found {found}/{made}, {error}, new false {false}")


def vascusynth(root: Path) -> None:
    print("VascuSynth trees: length found, true centreline within 2 voxels of ours, ours within 2 of the true")
    for folder in sorted((root / "tube_seg_framework_synthetic_vessels" / "synthetic").iterdir()):
        line_file = folder / "real_centerline.mhd"
        if not line_file.is_file():
            continue
        mask = read_scan(folder / "original.mhd").volume
        line = read_scan(line_file).volume
        true = line.geometry.world(np.argwhere(line.array > 0))
        tree = analyse_vessels(Volume((mask.array > 0).astype(np.uint8), mask.geometry)).tree
        if not tree.branches or not len(true):
            print(f"  {folder.name}: no tree")
            continue
        ours = np.concatenate([branch.points_mm for branch in tree.branches])
        seen = np.mean(cKDTree(ours).query(true)[0] <= 2.0)
        right = np.mean(cKDTree(true).query(ours)[0] <= 2.0)
        print(f"  {folder.name}: {tree.length_mm:.0f} mm, {seen:.2f}, {right:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with spl_abdominal_atlas_labels and the VascuSynth trees")
    arguments = parser.parse_args()
    spl(arguments.data)
    vascusynth(arguments.data)


if __name__ == "__main__":
    main()
