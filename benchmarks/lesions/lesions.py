"""How long 200 lesions in a scan of 512 x 512 x 300 voxels take to measure, beside SimpleITK's label statistics.

Run with `python benchmarks/lesions/lesions.py`; SimpleITK is needed for its half (`pip install SimpleITK`).
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np

from medseg.analysis.quantification.measure import measure_findings
from medseg.core.geometry import Geometry, Shape
from medseg.core.label_map import LabelMap
from medseg.core.probability import Probabilities, ProbabilityMap
from medseg.core.task import load_task
from medseg.core.volume import Volume

SPACING_MM = (0.8, 0.8, 1.5)
LIMIT_S, LIMIT_GB = 10.0, 2.0


def made_scan(shape: Shape, lesions: int, seed: int = 0) -> tuple[LabelMap, Volume, Probabilities]:
    """Ellipsoids of 4 to 15 mm half axes that do not touch, in noise, all on one grid.

    Their probability is 0.5 at the edge and falls to both sides over a fifth of a half axis.
    """
    generator = np.random.default_rng(seed)
    array = np.zeros(shape, np.uint8)
    likely = np.zeros(shape, np.uint8)
    image = generator.standard_normal(shape, dtype=np.float32)
    placed = 0
    while placed < lesions:
        radii_mm = generator.uniform(4, 15, 3)
        half = np.ceil(1.25 * radii_mm / SPACING_MM).astype(int)
        middle = [int(generator.integers(h, n - h)) for h, n in zip(half, shape, strict=True)]
        box = tuple(slice(m - h, m + h + 1) for m, h in zip(middle, half, strict=True))
        if array[box].any():
            continue
        steps = np.ogrid[tuple(slice(-h, h + 1) for h in half)]
        place = np.sqrt(sum((s * mm / r) ** 2 for s, mm, r in zip(steps, SPACING_MM, radii_mm, strict=True)))
        inside = place <= 1
        likely[box] = np.maximum(likely[box], np.rint(255 / (1 + np.exp((place - 1) * 20))).astype(np.uint8))
        array[box][inside] = 2
        image[box][inside] += 5
        placed += 1
    geometry = Geometry.from_spacing(shape, SPACING_MM)
    label_map = LabelMap(array, geometry, load_task("phantom_ct").label_schema)
    sure = Probabilities({"lesion": ProbabilityMap(likely, geometry)})
    return label_map, Volume(image, geometry, "HU"), sure


def peak_gb() -> float:
    """The most memory that this process has held so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def by_medseg(label_map: LabelMap, volume: Volume, sure: Probabilities) -> list[float]:
    """Volumes in ml, largest first, with all other measurements and the confidence taken too."""
    task = load_task("phantom_ct").model_copy(update={"measurements": ("volume", "diameters", "shape", "intensity")})
    return [finding.value("volume") or 0.0 for finding in measure_findings(label_map, task, volume, sure)]


def by_simpleitk(label_map: LabelMap, volume: Volume) -> list[float]:
    """Volumes in ml, largest first, with the Feret diameter and intensity statistics."""
    import SimpleITK

    mask = SimpleITK.GetImageFromArray(label_map.array.T)
    image = SimpleITK.GetImageFromArray(volume.array.T)
    mask.SetSpacing(SPACING_MM)
    image.SetSpacing(SPACING_MM)
    pieces = SimpleITK.ConnectedComponent(mask, True)
    shape = SimpleITK.LabelShapeStatisticsImageFilter()
    shape.ComputeFeretDiameterOn()
    shape.Execute(pieces)
    statistics = SimpleITK.LabelStatisticsImageFilter()
    statistics.Execute(image, pieces)
    return sorted((shape.GetPhysicalSize(label) / 1000 for label in shape.GetLabels()), reverse=True)


def main() -> int:
    """Run one side and print its time and memory; 1 where medseg misses its limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who", choices=("medseg", "simpleitk"), nargs="?", default="medseg")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--lesions", type=int, default=200)
    arguments = parser.parse_args()
    i, j, k = arguments.shape
    label_map, volume, sure = made_scan((i, j, k), arguments.lesions)
    held_gb = peak_gb()
    begin = time.perf_counter()
    is_ours = arguments.who == "medseg"
    volumes_ml = by_medseg(label_map, volume, sure) if is_ours else by_simpleitk(label_map, volume)
    took_s = time.perf_counter() - begin
    print(
        f"{arguments.who}: {len(volumes_ml)} lesions, {sum(volumes_ml):.3f} ml, {took_s:.2f} s, "
        f"at most {peak_gb():.2f} GB with the scan ({held_gb:.2f} GB before measuring)"
    )
    return int(is_ours and (took_s > LIMIT_S or peak_gb() > LIMIT_GB))


if __name__ == "__main__":
    sys.exit(main())
