"""How many sarcomas a model finds where there is none: on PET volumes whose tumour was taken out.

    python benchmarks/lesions/sarcoma_false_positives.py --root DATA_ROOT --run RUN        # of `medseg cross-validate`
    python benchmarks/lesions/sarcoma_false_positives.py --root DATA_ROOT --model BUNDLE --fold 0

Each patient is shown to the model that did not learn from him, in three ways:

filled   The tumour and 15 mm around it are filled with what lies around: each voxel takes the value at the place that
         mirrors it at the nearest tissue outside, folded back and forth within 25 mm, so that the texture is real
         tissue's and no uptake of the tumour is left. Air (a smoothed SUV below 0.1) is not mirrored in.
away     What is left of the scan above and below the tumour, 15 mm from it: another part of the body.
as it is The scan itself; a finding is false where it shares no voxel with the reference.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.analysis.quantification.lesions import find_instances
from medseg.core.geometry import Geometry
from medseg.core.study import Case
from medseg.core.task import Task
from medseg.core.volume import Volume
from medseg.datasets.manifest import Manifest, read_manifest
from medseg.exchange.read import read_label_map, read_scan
from medseg.models.bundle import load_bundle
from medseg.models.inference.device import choose_device
from medseg.models.inference.segmenter import NetworkSegmenter

MANIFEST = Path(__file__).parents[2] / "data_manifests/ibsi_sts_sarcoma_pet"
MARGIN_MM, FOLD_MM = 15.0, 25.0
LEAST_TISSUE_SUV = 0.1
FEWEST_SLICES = 8
"""A part of the body thinner than this is no scan."""


@dataclass(frozen=True)
class Shown:
    """One volume that was shown to a model: how it was made, and the false findings in it."""

    case: str
    kind: str
    false_findings: int
    false_ml: float


def near(truth: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.bool_]:
    """The tumour and all within the margin."""
    return np.asarray(ndimage.distance_transform_edt(~truth, sampling=geometry.spacing_mm) <= MARGIN_MM)


def filled(volume: Volume, region: NDArray[np.bool_]) -> Volume:
    """The volume with a region filled by what lies around it, mirrored at the region's edge."""
    spacing = np.asarray(volume.geometry.spacing_mm)
    unusable = region | (ndimage.gaussian_filter(volume.array.astype(np.float32), 1) < LEAST_TISSUE_SUV)
    depth_mm, nearest = ndimage.distance_transform_edt(unusable, sampling=spacing, return_indices=True)
    inside = np.argwhere(region)
    edge = nearest[:, region].T
    deep_mm = depth_mm[region][:, None]
    folded_mm = FOLD_MM - np.abs(FOLD_MM - deep_mm % (2 * FOLD_MM))
    place = np.rint(edge + (edge - inside) * folded_mm / deep_mm).astype(int)
    place = np.clip(place, 0, np.asarray(region.shape) - 1)
    # Round a corner the mirrored place may lie in the region again, or in air: the edge's own value serves there.
    place = np.where(unusable[tuple(place.T)][:, None], edge, place)
    array = np.array(volume.array, dtype=np.float32)
    array[region] = volume.array[tuple(place.T)]
    return Volume(array, volume.geometry, volume.unit)


def parts_away(volume: Volume, region: NDArray[np.bool_]) -> Iterator[Volume]:
    """The slices above the region and those below it, where there are enough."""
    with_tumour = np.flatnonzero(region.any(axis=(0, 1)))
    depth = region.shape[2]
    for start, stop in ((0, int(with_tumour[0])), (int(with_tumour[-1]) + 1, depth)):
        if stop - start >= FEWEST_SLICES:
            geometry = volume.geometry.cropped((0, 0, start), (*region.shape[:2], stop - start))
            yield Volume(volume.array[:, :, start:stop], geometry, volume.unit)


def shown_to(segmenter: NetworkSegmenter, case: Case, task: Task) -> Iterator[Shown]:
    """All that is shown of one patient."""
    assert case.label is not None
    volume = read_scan(case.channels["PET"]).volume
    truth = read_label_map(case.label, task.label_schema).mask(task.labels[0].index)
    region = near(truth, volume.geometry)
    everything = np.zeros_like(truth)
    yield false_findings(segmenter, volume, truth, task, (case.name, "as it is"))
    yield false_findings(segmenter, filled(volume, region), everything, task, (case.name, "filled"))
    for part in parts_away(volume, region):
        yield false_findings(segmenter, part, np.zeros(part.geometry.shape, bool), task, (case.name, "away"))


def false_findings(
    segmenter: NetworkSegmenter, volume: Volume, truth: NDArray[np.bool_], task: Task, of: tuple[str, str]
) -> Shown:
    """The findings in a volume that share no voxel with the reference."""
    found = find_instances(segmenter.segment({"PET": volume}).label_map, task)
    false = [one.component for one in found if not (truth[one.component.box] & one.component.mask).any()]
    voxels = sum(component.voxel_count for component in false)
    return Shown(*of, len(false), voxels * volume.geometry.voxel_volume_ml)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean."""
    generator = np.random.default_rng(0)
    means = generator.choice(values, (5000, len(values))).mean(axis=1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def held_out(manifest: Manifest, arguments: argparse.Namespace) -> Iterator[tuple[Path, tuple[Case, ...]]]:
    """Each model with the patients that it did not learn from."""
    if arguments.run is not None:
        for fold in manifest.folds:
            yield arguments.run / f"fold_{fold}" / "model", manifest.validation(fold)
    else:
        yield arguments.model, manifest.validation(arguments.fold)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", type=Path, help="a run folder of `medseg cross-validate`")
    which.add_argument("--model", type=Path, help="one bundle")
    parser.add_argument("--fold", type=int, default=0, help="the fold that the bundle did not learn from")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    arguments = parser.parse_args()
    manifest = read_manifest(MANIFEST, arguments.root)
    shown: list[Shown] = []
    for path, cases in held_out(manifest, arguments):
        bundle = load_bundle(path)
        segmenter = NetworkSegmenter(bundle, choose_device(arguments.device))
        for case in cases:
            shown += shown_to(segmenter, case, bundle.spec.task)
    print("| shown | volumes | false findings a volume | volumes without one | false ml a volume |")
    print("|---|---:|---|---:|---:|")
    for kind in ("as it is", "filled", "away"):
        counts = np.array([one.false_findings for one in shown if one.kind == kind], dtype=float)
        millilitres = np.array([one.false_ml for one in shown if one.kind == kind])
        low, high = interval(counts)
        print(
            f"| {kind} | {len(counts)} | {counts.mean():.2f} [{low:.2f}, {high:.2f}] | "
            f"{(counts == 0).sum()} | {millilitres.mean():.1f} |"
        )


if __name__ == "__main__":
    main()
