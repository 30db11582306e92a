"""From the scan to graded blockages with a trained network in place of an ideal map: what is lost.

    python benchmarks/vessels/vessels_network.py studies records.jsonl --first 10000 --studies 32 --maps maps
    python benchmarks/vessels/vessels.py tables records.jsonl
    python benchmarks/vessels/vessels_network.py vascusynth ../shared/data --model vessels_mra

The studies are those of `vessels.py`; none was trained on. Calibres are taken from the image. What is
measured stands in a file of one line a study, to which a later call adds; with a folder for the network's maps, these
are not made anew when the analysis has changed. VascuSynth's trees, of another generator, are taken for TOF.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from vessels import LIKENESSES, WAYS, Record, from_report, read_records, record

from medseg.analysis.vessels.network_map import analyse_network_map
from medseg.analysis.vessels.study_findings import soft_vessels
from medseg.core.geometry import Geometry
from medseg.core.probability import ProbabilityMap
from medseg.core.volume import Volume
from medseg.datasets.phantoms.vessels.study import VesselStudy, make_vessel_study
from medseg.models.inference.ensemble import members_of
from medseg.models.inference.kept_maps import Keep
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.store import load_model

SEEN_MM = 0.3
"""The radius of the narrowest lumen whose way a map is asked to hold."""

VASCUSYNTH_MM = 0.5
"""What a voxel is taken for: its trees are about 2 to 10 voxels wide."""


class NetworkRecord(Record):
    """A record, the Dice of the map's lumen, and the share of the open lumen's way on which the map is over a half."""

    dice: float
    way_found: float


class Network:
    """A shipped or given model, which says where the vessels of a scan are; what it said is kept in a folder."""

    def __init__(self, name: str, maps: Path | None) -> None:
        model = load_model(name)
        self.name = name
        self._task = model.spec.task
        self._segmenter = NetworkSegmenter(model, torch.device("cpu"))
        self._maps = maps
        self._hash = "_".join(bundle.sha256[:8] for bundle in members_of(model))

    def soft_map(self, image: Volume, key: str) -> Volume:
        """The probability of vessel, 0 to 1, on the image's grid."""
        path = None if self._maps is None else self._maps / f"{self._hash}_{key}.npy"
        if path is not None and path.exists():
            return ProbabilityMap(np.load(path), image.geometry).volume
        with tempfile.TemporaryDirectory() as folder:
            channel = self._task.channels[0].name
            seen = self._segmenter.segment({channel: image}, keep=Keep(("vessel",), Path(folder)))
            assert seen.probabilities is not None
            soft = soft_vessels(seen.probabilities, self._task)
            soft = Volume(np.array(soft.array), soft.geometry)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, ProbabilityMap.of(soft).array)
        return soft


def measure(path: Path, network: Network, seeds: range) -> None:
    """Add what is found in each study to the file, where it is not there yet."""
    way = f"network {network.name}"
    done = {one.seed for one in read_records(path) if one.way == way}
    for seed in seeds:
        if seed in done:
            continue
        study = make_vessel_study(seed, LIKENESSES[seed % len(LIKENESSES)])
        soft = network.soft_map(study.volume, str(seed))
        WAYS[way] = lambda study, soft=soft: from_report(analyse_network_map(soft, study.volume))
        found = NetworkRecord(
            **record(study, "arterial", way).model_dump(),
            dice=dice(soft.array >= 0.5, study.lumen),
            way_found=way_found(soft, study),
        )
        with path.open("a", encoding="utf-8") as file:
            file.write(found.model_dump_json() + "\n")
        lesions = f"{len(found.pairs)} of {len(study.truth.lesions)} found, {len(found.false)} false"
        print(f"{seed} {study.truth.likeness}: Dice {found.dice:.3f}, way {found.way_found:.3f}, {lesions}", flush=True)
    mine = [one for one in map(NetworkRecord.model_validate_json, path.read_text().splitlines()) if one.way == way]
    dices = np.array([one.dice for one in mine])
    print(
        f"{way}, {len(mine)} studies: Dice {dices.mean():.3f} ({dices.min():.3f} to {dices.max():.3f}), "
        f"way found {np.mean([one.way_found for one in mine]):.3f}"
    )


def dice(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float(2 * (mask & truth).sum() / max(int(mask.sum()) + int(truth.sum()), 1))


def way_found(soft: Volume, study: VesselStudy) -> float:
    """The share of the points along the middle of the open lumen where the map is over a half."""
    points = [
        np.asarray(branch.open_points_mm)[np.asarray(branch.open_radius_mm) >= SEEN_MM]
        for branch in study.truth.branches
    ]
    index = np.round(soft.geometry.index(np.concatenate(points))).astype(int)
    index = index.clip(0, np.asarray(soft.geometry.shape) - 1)
    return float((soft.array[tuple(index.T)] >= 0.5).mean())


def vascusynth(root: Path, network: Network) -> None:
    """Trees of 100^3 voxels: bytes, signed in the masks, which are read as they lie."""
    geometry = Geometry.from_spacing((100, 100, 100), (VASCUSYNTH_MM,) * 3)
    for path in sorted((root / "tube_seg_framework_synthetic_vessels" / "synthetic").glob("*/noisy0.raw")):
        image, truth = (
            np.fromfile(one, np.uint8).reshape(100, 100, 100).T for one in (path, path.with_name("original.raw"))
        )
        mask = network.soft_map(Volume(image.astype(np.float32), geometry), path.parent.name).array >= 0.5
        both = (mask & (truth > 0)).sum()
        rates = f"sensitivity {both / (truth > 0).sum():.3f}, precision {both / max(mask.sum(), 1):.3f}"
        print(f"{path.parent.name}: Dice {dice(mask, truth > 0):.3f}, {rates}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    studies = commands.add_parser("studies")
    studies.add_argument("records", type=Path)
    studies.add_argument("--first", type=int, default=10_000)
    studies.add_argument("--studies", type=int, default=8)
    trees = commands.add_parser("vascusynth")
    trees.add_argument("data", type=Path)
    for command, model in ((studies, "vessels_cta"), (trees, "vessels_mra")):
        command.add_argument("--model", default=model)
        command.add_argument("--maps", type=Path, help="where the network's maps are kept, if they are to be")
    arguments = parser.parse_args()
    network = Network(arguments.model, arguments.maps)
    if arguments.command == "vascusynth":
        vascusynth(arguments.data, network)
    else:
        measure(arguments.records, network, range(arguments.first, arguments.first + arguments.studies))


if __name__ == "__main__":
    main()
