"""What the grid CRF and the dense CRF do to boundaries, on real scans with expert masks; a table and a picture.

    python benchmarks/training/crf_boundaries.py --root DATA [--picture docs/images/crf_boundaries.png]

Each CRF is given the image and what a network of coarse output would say at its best: the reference mask averaged over
blocks of 12 mm and interpolated back, so that only the boundary is lost. Both scans get the same settings; those of
the dense CRF were chosen on the spleen, among four. Printed: Dice, mean surface distance, NSD at 2 mm, and the area
of the surface in parts of the reference's: what is smoothed away lacks area. Pictures are as the files' headers say;
that of this spleen names left and right the wrong way round, as its liver shows.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from medseg.analysis.evaluation.surface import surface_distances
from medseg.core.geometry import Geometry, Spacing
from medseg.core.task import Window
from medseg.exchange.read import read_scan
from medseg.imaging.crf.dense import DenseCRF
from medseg.imaging.crf.grid import GridCRF
from medseg.imaging.pictures.slices import SCREEN_AXES, grey
from medseg.imaging.refinement import RefinementConfig

BLOCK_MM = 12.0
MARGIN_MM = 20.0
TOLERANCE_MM = 2.0
CRFS: dict[str, RefinementConfig] = {
    "grid CRF": GridCRF(),
    "dense CRF": DenseCRF(appearance_weight=5.0, position_sd_mm=6.0, intensity_sd=0.5),
}


@dataclass(frozen=True)
class Scan:
    """A real scan around its reference mask, grey levels in steps that a tissue's noise is about one of."""

    name: str
    image: NDArray[np.float32]
    truth: NDArray[np.bool_]
    geometry: Geometry
    window: Window


def spleen(root: Path) -> Scan:
    """An abdominal CT with its spleen: steps of 40 HU."""
    folder = root / "msd_task09_spleen_8"
    return read("spleen, CT", folder / "imagesTr/spleen_8.nii.gz", folder / "labelsTr/spleen_8.nii.gz", 40.0)


def sarcoma(root: Path) -> Scan:
    """A soft-tissue sarcoma on T1-weighted MR: steps of half the tumour's spread."""
    folder = root / "ibsi_sts_sarcoma/nifti/STS_002"
    return read("sarcoma, MR T1", folder / "MR_T1_image.nii.gz", folder / "MR_T1_mask.nii.gz", None)


def read(name: str, image: Path, mask: Path, step: float | None) -> Scan:
    volume, label = (read_scan(path).volume.reoriented(SCREEN_AXES) for path in (image, mask))
    volume.geometry.require_same(label.geometry, f"image and mask of {name}")
    truth = label.array > 0
    where = ndimage.find_objects(truth.astype(np.uint8))[0]
    reach = [int(np.ceil(MARGIN_MM / mm)) for mm in volume.geometry.spacing_mm]
    box = tuple(
        slice(max(0, side.start - r), min(n, side.stop + r))
        for side, r, n in zip(where, reach, truth.shape, strict=True)
    )
    part = volume.array[box].astype(np.float32)
    inside = part[truth[box]]
    step = step or float(inside.std()) / 2
    low, high = np.percentile(part, (1, 99.5))
    corner = volume.geometry.world(tuple(side.start for side in box))
    affine = volume.geometry.affine.copy()
    affine[:3, 3] = corner
    shape = (part.shape[0], part.shape[1], part.shape[2])
    window = Window(centre=float(low + high) / 2, width=float(high - low))
    return Scan(
        name,
        part / step,
        truth[box],
        Geometry(shape, affine),
        Window(centre=window.centre / step, width=window.width / step),
    )


def coarse_probabilities(truth: NDArray[np.bool_], spacing_mm: Spacing) -> NDArray[np.float32]:
    """Background and object (2, i, j, k): the mask's mean over blocks of BLOCK_MM, interpolated."""
    steps = [max(1, round(BLOCK_MM / mm)) for mm in spacing_mm]
    share = np.pad(
        truth.astype(np.float32), [(0, -n % step) for n, step in zip(truth.shape, steps, strict=True)], mode="edge"
    )
    for axis, step in enumerate(steps):
        share = np.add.reduceat(share, np.arange(0, share.shape[axis], step), axis=axis) / step
    fine = ndimage.zoom(share, steps, order=1, mode="nearest", grid_mode=True)
    fine = fine[tuple(slice(0, n) for n in truth.shape)].clip(0, 1)
    return np.stack((1 - fine, fine)).astype(np.float32)


def row(name: str, found: NDArray[np.bool_], scan: Scan, seconds: float) -> str:
    dice = 2 * np.count_nonzero(found & scan.truth) / (np.count_nonzero(found) + np.count_nonzero(scan.truth))
    apart = surface_distances(found, scan.truth, scan.geometry)
    area = apart.prediction_areas_mm2.sum() / apart.reference_areas_mm2.sum()
    took = f"{seconds:.1f} s" if seconds else ""
    return (
        f"| {scan.name} | {name} | {dice:.3f} | {apart.mean_mm():.2f} mm | {apart.surface_dice(TOLERANCE_MM):.3f} | "
        f"{area:.2f} | {took} |"
    )


def draw(scans: list[Scan], masks: list[dict[str, NDArray[np.bool_]]]) -> Figure:
    """A row a scan: its slice with most of the mask, the reference in green, what was found in red."""
    columns = list(masks[0])
    figure = Figure(figsize=(3.1 * len(columns), 3.2 * len(scans)), layout="constrained", facecolor="black")
    axes = figure.subplots(len(scans), len(columns), squeeze=False)
    for scan, found, line in zip(scans, masks, axes, strict=True):
        k = int(scan.truth.sum(axis=(0, 1)).argmax())
        i_mm, j_mm, _ = scan.geometry.spacing_mm
        for name, axis in zip(columns, line, strict=True):
            picture = grey(scan.image[:, :, k].T, scan.window)
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255, aspect=j_mm / i_mm, interpolation="nearest")
            axis.contour(scan.truth[:, :, k].T, levels=[0.5], colors="#35d07f", linewidths=1.0)
            axis.contour(found[name][:, :, k].T, levels=[0.5], colors="#ff5c5c", linewidths=1.2)
            axis.set_title(f"{scan.name}: {name}", color="white", fontsize=9)
            axis.set_axis_off()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--picture", type=Path, default=None)
    options = parser.parse_args()
    scans = [spleen(options.root), sarcoma(options.root)]
    pictures = []
    print("| scan | mask | Dice | mean surface distance | NSD 2 mm | surface | time |\n|---|---|---|---|---|---|---|")
    for scan in scans:
        given = coarse_probabilities(scan.truth, scan.geometry.spacing_mm)
        found = {"coarse": given.argmax(axis=0) == 1}
        print(row("coarse", found["coarse"], scan, 0.0), flush=True)
        for name, crf in CRFS.items():
            begin = time.perf_counter()
            refined = crf.apply(given, scan.image[np.newaxis], scan.geometry.spacing_mm)
            found[name] = refined.argmax(axis=0) == 1
            print(row(name, found[name], scan, time.perf_counter() - begin), flush=True)
        pictures.append(found)
    if options.picture is not None:
        draw(scans, pictures).savefig(options.picture, dpi=110)


if __name__ == "__main__":
    main()
