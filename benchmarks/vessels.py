"""Blockages found and graded on made vessels, with truth by formula: the tables of the vessel chain.

    python benchmarks/vessels.py --first 10000 --studies 32 --healthy 12

Seeds below 1000 were used to set the method's numbers; judge on others. Each study is measured four ways: from the soft
map an ideal network would give, from such a map with a network's errors, from the image, and from a hard mask's
distance transform, which is what a skeleton with distances gives.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from medseg.analysis.vessels.analyse import VesselAnalysis, analyse_vessels
from medseg.analysis.vessels.grading import CAD_RADS_ORDER, cad_rads
from medseg.analysis.vessels.report import Blockage
from medseg.analysis.vessels.stenosis import find_dips
from medseg.core.volume import Volume
from medseg.datasets.phantoms.tubes import Tube
from medseg.datasets.phantoms.vessel_lesions import Disease
from medseg.datasets.phantoms.vessel_study import VesselStudy, make_vessel_study, vessel_grid
from medseg.datasets.phantoms.vessel_tree import STYLES, Likeness
from medseg.datasets.phantoms.vessel_truth import VesselLesionTruth, VesselTruth

LIKENESSES: tuple[Likeness, ...] = tuple(STYLES)
NETWORK_LOGIT_SD = 0.7
NETWORK_GRAIN_MM = 1.0


@dataclass(frozen=True)
class Found:
    """A blockage as one of the ways says it: its tightest place, percentage, and interval where there is one."""

    centre_mm: np.ndarray
    percent: float
    interval: tuple[float, float] | None = None
    is_occlusion: bool = False
    is_confident: bool = True
    blockage: Blockage | None = None


@dataclass
class Tally:
    """What one way found over all studies."""

    pairs: list[tuple[Found, VesselLesionTruth, VesselStudy]] = field(default_factory=list)
    missed: list[VesselLesionTruth] = field(default_factory=list)
    false: int = 0
    exact: int = 0
    studies: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, study: VesselStudy, found: Sequence[Found], seconds: float) -> None:
        pairs, missed, false = matched(study.truth, found)
        self.pairs += [(one, lesion, study) for one, lesion in pairs]
        self.missed += missed
        self.false += len(false)
        self.exact += len(found) == len(study.truth.lesions)
        self.studies += 1
        self.seconds.append(seconds)


def matched(
    truth: VesselTruth, found: Sequence[Found]
) -> tuple[list[tuple[Found, VesselLesionTruth]], list[VesselLesionTruth], list[Found]]:
    """Pairs of found and true, what was missed, and what is false: a find belongs to the lesion it lies in (2 mm)."""
    candidates = []
    for which, lesion in enumerate(truth.lesions):
        branch = truth.branches[lesion.branch]
        tube = Tube(np.asarray(branch.points_mm), np.asarray(branch.healthy_radius_mm))
        for at, one in enumerate(found):
            place, distance = tube.nearest(one.centre_mm[None])
            is_inside = lesion.start_mm - 2 <= place[0] <= lesion.stop_mm + 2
            if is_inside and distance[0] < tube.radius_at(place)[0] + 1.5:
                candidates.append((abs(float(place[0]) - lesion.position_mm), at, which))
    pairs, used, taken = [], set(), set()
    for _, at, which in sorted(candidates):
        if at not in used and which not in taken:
            used.add(at)
            taken.add(which)
            pairs.append((found[at], truth.lesions[which]))
    missed = [lesion for which, lesion in enumerate(truth.lesions) if which not in taken]
    return pairs, missed, [one for at, one in enumerate(found) if at not in used]


def hard(study: VesselStudy) -> Volume:
    """The mask of an ideal network."""
    return Volume((study.probability.array >= 0.5).astype(np.uint8), study.volume.geometry)


def from_report(analysis: VesselAnalysis) -> list[Found]:
    def found(blockage: Blockage) -> Found:
        return Found(
            np.asarray(blockage.centre_mm),
            blockage.diameter_percent,
            blockage.interval,
            blockage.kind != "stenosis",
            blockage.confidence == "confident",
            blockage,
        )

    return [found(blockage) for blockage in analysis.report.blockages]


def by_soft_map(study: VesselStudy) -> list[Found]:
    return from_report(analyse_vessels(study.probability))


def by_network_like_map(study: VesselStudy) -> list[Found]:
    return from_report(analyse_vessels(network_like(study)))


def by_image_and_network_like_map(study: VesselStudy) -> list[Found]:
    return from_report(analyse_vessels(network_like(study), study.volume, prefer_image=True))


def network_like(study: VesselStudy) -> Volume:
    """The ideal map with correlated errors of its logit: its edge wanders by about a fifth of a millimetre."""
    generator = np.random.default_rng([study.truth.seed, 99])
    soft = np.clip(study.probability.array.astype(np.float64), 2e-3, 1 - 2e-3)
    sigma = [NETWORK_GRAIN_MM / spacing for spacing in study.volume.geometry.spacing_mm]
    errors = gaussian_filter(generator.standard_normal(soft.shape), sigma)
    logit = np.log(soft / (1 - soft)) + NETWORK_LOGIT_SD * errors / errors.std()
    return Volume((1 / (1 + np.exp(-logit))).astype(np.float32), study.volume.geometry)


def by_image(study: VesselStudy) -> list[Found]:
    return from_report(analyse_vessels(study.probability, study.volume, prefer_image=True))


def by_mask(study: VesselStudy) -> list[Found]:
    return from_report(analyse_vessels(hard(study)))


def by_image_and_mask(study: VesselStudy) -> list[Found]:
    return from_report(analyse_vessels(hard(study), study.volume))


def by_distance_transform(study: VesselStudy) -> list[Found]:
    """What a skeleton with the mask's distances gives, with the same rules for what counts as a blockage."""
    analysis = analyse_vessels(hard(study))
    profiles = tuple(
        replace(lumen, radius_mm=np.where(branch.is_gap, 0.0, branch.inscribed_mm))
        for branch, lumen in zip(analysis.tree.branches, analysis.lumens.profiles, strict=True)
    )
    dips = [dip for dip in find_dips(analysis.tree, profiles) if dip.depth >= 0.2]
    places = [
        np.array(
            [
                np.interp(dip.position_mm, profiles[dip.branch].arc_mm, profiles[dip.branch].points_mm[:, axis])
                for axis in range(3)
            ]
        )
        for dip in dips
    ]
    return [Found(place, 100 * dip.depth) for place, dip in zip(places, dips, strict=True)]


WAYS: dict[str, Callable[[VesselStudy], list[Found]]] = {
    "soft map, ideal": by_soft_map,
    "soft map, network-like": by_network_like_map,
    "image, ideal map": by_image,
    "image, network-like map": by_image_and_network_like_map,
    "image, hard mask": by_image_and_mask,
    "hard mask": by_mask,
    "skeleton + distances": by_distance_transform,
}


def kappa(pairs: Sequence[tuple[Found, VesselLesionTruth, VesselStudy]]) -> float:
    """Linearly weighted kappa of the CAD-RADS categories of the matched lesions."""
    order = [grade for grade in CAD_RADS_ORDER if grade != "4B"]
    table = np.zeros((len(order), len(order)))
    for one, lesion, _ in pairs:
        table[order.index(cad_rads(one.percent)), order.index(cad_rads(lesion.diameter_percent))] += 1
    distance = np.abs(np.subtract.outer(np.arange(len(order)), np.arange(len(order))))
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(table.sum(), 1)
    return float(1 - (distance * table).sum() / max((distance * expected).sum(), 1e-9))


def errors(pairs: Sequence[tuple[Found, VesselLesionTruth, VesselStudy]]) -> np.ndarray:
    return np.array([one.percent - lesion.diameter_percent for one, lesion, _ in pairs])


def summary(name: str, tally: Tally) -> str:
    off = errors(tally.pairs)
    true = len(tally.pairs) + len(tally.missed)
    closed = [lesion for _, lesion, _ in tally.pairs if lesion.is_occlusion]
    all_closed = len(closed) + sum(lesion.is_occlusion for lesion in tally.missed)
    same = np.mean([cad_rads(a.percent) == cad_rads(b.diameter_percent) for a, b, _ in tally.pairs])
    inside = [a.interval[0] <= b.diameter_percent <= a.interval[1] for a, b, _ in tally.pairs if a.interval]
    figures = (
        f"{len(tally.pairs) / max(true, 1):5.3f}",
        f"{len(tally.pairs) / max(len(tally.pairs) + tally.false, 1):5.3f}",
        f"{np.abs(off).mean():5.1f} {off.mean():+5.1f} {np.sqrt((off**2).mean()):5.1f}",
        f"{tally.exact / tally.studies:5.2f} {kappa(tally.pairs):5.2f} {same:5.2f} {len(closed):3d}/{all_closed:<3d}",
        f"{np.mean(inside) if inside else float('nan'):6.2f} {np.mean(tally.seconds):6.1f}",
    )
    return f"{name:24s} " + " ".join(figures)


HEADER = f"{'way':24s} sens  PPV   |err| bias   rms  exact kappa grade occl.   cover  sec"

Group = tuple[str, Callable[[VesselLesionTruth, VesselStudy], bool]]
GROUPS: tuple[Group, ...] = (
    ("diameter under 2.4 mm (< 6 voxels)", lambda lesion, _: lesion.healthy_diameter_mm < 2.4),
    ("diameter 2.4-3 mm", lambda lesion, _: 2.4 <= lesion.healthy_diameter_mm < 3),
    ("diameter 3-4 mm", lambda lesion, _: 3 <= lesion.healthy_diameter_mm < 4),
    ("diameter over 4 mm", lambda lesion, _: lesion.healthy_diameter_mm >= 4),
    ("within 5 mm of a fork", lambda lesion, _: lesion.fork_mm is not None and lesion.fork_mm < 5),
    ("further from forks", lambda lesion, _: lesion.fork_mm is None or lesion.fork_mm >= 5),
    ("calcified", lambda lesion, _: lesion.is_calcified),
    ("soft plaque", lambda lesion, _: not lesion.is_calcified),
    ("30-50 %", lambda lesion, _: lesion.diameter_percent < 50),
    ("50-70 %", lambda lesion, _: 50 <= lesion.diameter_percent < 70),
    ("70-99 %", lambda lesion, _: 70 <= lesion.diameter_percent < 100),
    ("occluded", lambda lesion, _: lesion.is_occlusion),
)


def print_groups(name: str, tally: Tally) -> None:
    print(f"\n{name}: found / all, mean |error|, bias")
    for title, belongs in GROUPS:
        pairs = [pair for pair in tally.pairs if belongs(pair[1], pair[2])]
        everyone = len(pairs) + sum(belongs(lesion, None) for lesion in tally.missed)  # type: ignore[arg-type]
        off = errors(pairs)
        if len(off):
            print(f"  {title:36s} {len(pairs):3d}/{everyone:<3d} {np.abs(off).mean():5.1f} {off.mean():+5.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=10_000)
    parser.add_argument("--studies", type=int, default=32)
    parser.add_argument("--healthy", type=int, default=12)
    parser.add_argument("--edge", type=int, default=256, help="voxels along each axis, 0.4 x 0.4 x 0.6 mm")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    arguments = parser.parse_args()
    grid = vessel_grid((arguments.edge, arguments.edge, arguments.edge))
    tallies = {name: Tally() for name in arguments.ways}
    for seed in range(arguments.first, arguments.first + arguments.studies):
        study = make_vessel_study(seed, LIKENESSES[seed % len(LIKENESSES)], geometry=grid)
        for name, tally in tallies.items():
            began = time.perf_counter()
            found = WAYS[name](study)
            tally.add(study, found, time.perf_counter() - began)
        print(f"seed {seed} {study.truth.likeness}: {len(study.truth.lesions)} lesions", flush=True)
    print(f"\n{arguments.studies} made studies of {arguments.edge}^3 voxels, 0.4 x 0.4 x 0.6 mm")
    print(HEADER)
    for name, tally in tallies.items():
        print(summary(name, tally), flush=True)
    for name, tally in tallies.items():
        print_groups(name, tally)
    healthy: dict[str, list[int]] = {name: [] for name in arguments.ways}
    confident: dict[str, list[int]] = {name: [] for name in arguments.ways}
    for seed in range(arguments.first + 500, arguments.first + 500 + arguments.healthy):
        none = Disease(lesions=(0, 0))
        study = make_vessel_study(seed, LIKENESSES[seed % len(LIKENESSES)], geometry=grid, disease=none)
        for name in arguments.ways:
            found = [one for one in WAYS[name](study) if one.percent >= 25]
            healthy[name].append(len(found))
            confident[name].append(sum(one.is_confident for one in found))
    print(f"\nfalse blockages of 25 % and more a healthy tree ({arguments.healthy} trees): all, confident")
    for name in arguments.ways if arguments.healthy else ():
        print(f"  {name:24s} {np.mean(healthy[name]):5.2f} {np.mean(confident[name]):5.2f}")


if __name__ == "__main__":
    main()
