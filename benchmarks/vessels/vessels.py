"""Blockages found and graded on made vessels, with truth by formula: the tables of the vessel chain.

    python benchmarks/vessels/vessels.py measure records.jsonl --first 10000 --studies 32
    python benchmarks/vessels/vessels.py measure records.jsonl --first 10500 --studies 12 --disease none
    python benchmarks/vessels/vessels.py measure records.jsonl --first 11000 --studies 16 --disease thrombus
    python benchmarks/vessels/vessels.py tables records.jsonl

Seeds below 1000 were used to set the method's numbers; judge on others. Each study is measured several ways: from the
soft map an ideal network would give, from such a map with a network's errors, from the image with either map or with a
hard mask, and from a hard mask's distance transform, which is what a skeleton with distances gives. What is measured
stands in a file of one line a study and way, to which a later call adds; seeds in it are not measured again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel
from scipy.ndimage import gaussian_filter

from medseg.analysis.vessels.analyse import VesselAnalysis, analyse_vessels
from medseg.analysis.vessels.findings.dips import find_dips
from medseg.analysis.vessels.findings.grading import CAD_RADS_ORDER, cad_rads
from medseg.analysis.vessels.findings.report import Blockage
from medseg.core.volume import Volume
from medseg.datasets.phantoms.tubes import Tube
from medseg.datasets.phantoms.vessels.lesions import Disease
from medseg.datasets.phantoms.vessels.study import VesselStudy, drawn_scene, make_vessel_study, vessel_grid
from medseg.datasets.phantoms.vessels.tree import STYLES, Likeness
from medseg.datasets.phantoms.vessels.truth import VesselLesionTruth, VesselTruth

LIKENESSES: tuple[Likeness, ...] = tuple(STYLES)
VEIN_LIKENESS: Likeness = "venous"

DiseaseKind = Literal["arterial", "thrombus", "none"]
DISEASES: dict[DiseaseKind, Disease] = {
    "arterial": Disease(),
    "thrombus": Disease(calcified_share=0.0, serial_share=0.0, filling_defect_share=1.0),
    "none": Disease(lesions=(0, 0)),
}
NETWORK_LOGIT_SD = 0.7
NETWORK_GRAIN_MM = 1.0


@dataclass(frozen=True)
class Found:
    """A blockage as one of the ways says it: its tightest place, percentage, and what else a report says."""

    centre_mm: np.ndarray
    percent: float
    interval: tuple[float, float] | None = None
    is_occlusion: bool = False
    is_confident: bool = True
    blockage: Blockage | None = None


class Pair(BaseModel):
    """A blockage that was found and is there: what was said, and the truth."""

    percent: float
    interval: tuple[float, float] | None
    blockage: Blockage | None
    lesion: VesselLesionTruth


class Record(BaseModel):
    """What one way found in one study; `false` holds the percentage of each false blockage, and if it is confident."""

    seed: int
    disease: DiseaseKind
    likeness: str
    way: str
    spacing_mm: float
    noise_sd_hu: float
    pairs: list[Pair]
    missed: list[VesselLesionTruth]
    false: list[tuple[float, bool]]
    seconds: float


def record(study: VesselStudy, disease: DiseaseKind, way: str) -> Record:
    began = time.perf_counter()
    found = WAYS[way](study)
    seconds = time.perf_counter() - began
    pairs, missed, false = matched(study.truth, found)
    return Record(
        seed=study.truth.seed,
        disease=disease,
        likeness=study.truth.likeness,
        way=way,
        spacing_mm=float(np.mean(study.volume.geometry.spacing_mm)),
        noise_sd_hu=drawn_scene(np.random.default_rng([study.truth.seed, 13])).noise_sd_hu,
        pairs=[
            Pair(percent=one.percent, interval=one.interval, blockage=one.blockage, lesion=lesion)
            for one, lesion in pairs
        ],
        missed=missed,
        false=[(one.percent, one.is_confident) for one in false],
        seconds=seconds,
    )


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


def by_vein_map(study: VesselStudy) -> list[Found]:
    return from_report(analyse_vessels(study.probability, kind="vein"))


def by_vein_image(study: VesselStudy) -> list[Found]:
    return from_report(analyse_vessels(study.probability, study.volume, prefer_image=True, kind="vein"))


WAYS: dict[str, Callable[[VesselStudy], list[Found]]] = {
    "soft map, ideal": by_soft_map,
    "soft map, network-like": by_network_like_map,
    "image, ideal map": by_image,
    "image, network-like map": by_image_and_network_like_map,
    "image, hard mask": by_image_and_mask,
    "hard mask": by_mask,
    "skeleton + distances": by_distance_transform,
    "veins, soft map": by_vein_map,
    "veins, image": by_vein_image,
}
VEIN_WAYS = ("veins, soft map", "veins, image")


def kappa(pairs: Sequence[Pair]) -> float:
    """Linearly weighted kappa of the CAD-RADS categories of the matched lesions."""
    order = [grade for grade in CAD_RADS_ORDER if grade != "4B"]
    table = np.zeros((len(order), len(order)))
    for pair in pairs:
        table[order.index(cad_rads(pair.percent)), order.index(cad_rads(pair.lesion.diameter_percent))] += 1
    distance = np.abs(np.subtract.outer(np.arange(len(order)), np.arange(len(order))))
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(table.sum(), 1)
    return float(1 - (distance * table).sum() / max((distance * expected).sum(), 1e-9))


def errors(pairs: Sequence[Pair]) -> np.ndarray:
    return np.array([pair.percent - pair.lesion.diameter_percent for pair in pairs])


HEADER = f"{'way':26s} sens  PPV   |err| bias   rms  exact kappa grade occl.   cover  sec"


def summary(way: str, records: Sequence[Record]) -> str:
    pairs = [pair for record in records for pair in record.pairs]
    missed = [lesion for record in records for lesion in record.missed]
    false = sum(len(record.false) for record in records)
    off = errors(pairs)
    closed = [pair.lesion for pair in pairs if pair.lesion.is_occlusion]
    all_closed = len(closed) + sum(lesion.is_occlusion for lesion in missed)
    exact = np.mean([len(record.missed) == len(record.false) for record in records])
    same = np.mean([cad_rads(pair.percent) == cad_rads(pair.lesion.diameter_percent) for pair in pairs])
    held = [pair.interval[0] <= pair.lesion.diameter_percent <= pair.interval[1] for pair in pairs if pair.interval]
    figures = (
        f"{len(pairs) / max(len(pairs) + len(missed), 1):5.3f}",
        f"{len(pairs) / max(len(pairs) + false, 1):5.3f}",
        f"{np.abs(off).mean():5.1f} {off.mean():+5.1f} {np.sqrt((off**2).mean()):5.1f}",
        f"{exact:5.2f} {kappa(pairs):5.2f} {same:5.2f} {len(closed):3d}/{all_closed:<3d}",
        f"{np.mean(held) if held else float('nan'):6.2f} {np.mean([record.seconds for record in records]):6.1f}",
    )
    return f"{way:26s} " + " ".join(figures)


Group = tuple[str, Callable[[VesselLesionTruth, Record], bool]]
GROUPS: tuple[Group, ...] = (
    ("under 5 voxels wide", lambda lesion, record: lesion.healthy_diameter_mm < 5 * record.spacing_mm),
    ("5-6 voxels", lambda lesion, record: 5 <= lesion.healthy_diameter_mm / record.spacing_mm < 6),
    ("6-8 voxels", lambda lesion, record: 6 <= lesion.healthy_diameter_mm / record.spacing_mm < 8),
    ("8 voxels and more", lambda lesion, record: lesion.healthy_diameter_mm >= 8 * record.spacing_mm),
    ("noise under 25 HU", lambda _, record: record.noise_sd_hu < 25),
    ("noise 25 HU and more", lambda _, record: record.noise_sd_hu >= 25),
    ("within 5 mm of a fork", lambda lesion, _: lesion.fork_mm is not None and lesion.fork_mm < 5),
    ("further from forks", lambda lesion, _: lesion.fork_mm is None or lesion.fork_mm >= 5),
    ("calcified", lambda lesion, _: lesion.is_calcified),
    ("soft plaque", lambda lesion, _: not lesion.is_calcified),
    ("30-50 %", lambda lesion, _: lesion.diameter_percent < 50),
    ("50-70 %", lambda lesion, _: 50 <= lesion.diameter_percent < 70),
    ("70-99 %", lambda lesion, _: 70 <= lesion.diameter_percent < 100),
    ("occluded", lambda lesion, _: lesion.is_occlusion),
)


def print_groups(way: str, records: Sequence[Record]) -> None:
    print(f"\n{way}: found / all, mean |error|, bias")
    for title, belongs in GROUPS:
        pairs = [pair for record in records for pair in record.pairs if belongs(pair.lesion, record)]
        missed = sum(belongs(lesion, record) for record in records for lesion in record.missed)
        off = errors(pairs)
        if len(off):
            print(
                f"  {title:26s} {len(pairs):3d}/{len(pairs) + missed:<3d} {np.abs(off).mean():5.1f} {off.mean():+5.1f}"
            )


def tables(path: Path) -> None:
    every = read_records(path)
    for disease in ("arterial", "thrombus"):
        by_way: dict[str, list[Record]] = {}
        for record in every:
            if record.disease == disease:
                by_way.setdefault(record.way, []).append(record)
        if by_way:
            print(f"\n{disease}: {max(map(len, by_way.values()))} made studies\n{HEADER}")
        for way, records in by_way.items():
            print(summary(way, records))
        for way, records in by_way.items():
            print_groups(way, records)
    print("\nfalse blockages of 25 % and more a healthy tree: all, confident, trees")
    for way in WAYS:
        healthy = [record.false for record in every if record.way == way and record.disease == "none"]
        if healthy:
            deep = [[is_confident for percent, is_confident in false if percent >= 25] for false in healthy]
            print(f"  {way:26s} {np.mean([*map(len, deep)]):5.2f} {np.mean([*map(sum, deep)]):5.2f} {len(deep):3d}")


def read_records(path: Path) -> list[Record]:
    return [Record.model_validate_json(line) for line in path.read_text().splitlines()] if path.exists() else []


def measure(path: Path, seeds: range, disease: DiseaseKind, ways: Sequence[str], edge: int) -> None:
    done = {(record.seed, record.way) for record in read_records(path)}
    grid = vessel_grid((edge, edge, edge))
    for seed in seeds:
        open_ways = [way for way in ways if (seed, way) not in done]
        if not open_ways:
            continue
        likeness = VEIN_LIKENESS if disease == "thrombus" else LIKENESSES[seed % len(LIKENESSES)]
        study = make_vessel_study(seed, likeness, geometry=grid, disease=DISEASES[disease])
        for way in open_ways:
            with path.open("a", encoding="utf-8") as file:
                file.write(record(study, disease, way).model_dump_json() + "\n")
        print(f"seed {seed} {study.truth.likeness}: {len(study.truth.lesions)} lesions", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("records", type=Path)
    measuring.add_argument("--first", type=int, default=10_000)
    measuring.add_argument("--studies", type=int, default=32)
    measuring.add_argument("--disease", choices=list(DISEASES), default="arterial")
    measuring.add_argument("--edge", type=int, default=256, help="voxels along each axis, 0.4 x 0.4 x 0.6 mm")
    measuring.add_argument("--ways", nargs="*", choices=list(WAYS))
    commands.add_parser("tables").add_argument("records", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "tables":
        tables(arguments.records)
        return
    usual = VEIN_WAYS if arguments.disease == "thrombus" else tuple(way for way in WAYS if way not in VEIN_WAYS)
    seeds = range(arguments.first, arguments.first + arguments.studies)
    measure(arguments.records, seeds, arguments.disease, arguments.ways or usual, arguments.edge)


if __name__ == "__main__":
    main()
