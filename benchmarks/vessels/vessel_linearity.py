"""Processor time and memory of the vessel chain against the number of vessel voxels, on one grid.

    python benchmarks/vessels/vessel_linearity.py

Parallel bent vessels 3.2 mm wide, each with a narrowing, 1 to 16 of them in 208 x 208 x 128 voxels of 0.4 x 0.4 x
0.5 mm, measured on their soft map and on an image of it. The last line is the slope of a straight line through the
logarithms of time and voxels, from four vessels on: 1 is linear.
"""

from __future__ import annotations

import time
import tracemalloc

import numpy as np

from medseg.analysis.vessels.analyse import analyse_vessels
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.anatomy import narrowing_profile

SHAPE, SPACING_MM = (208, 208, 128), (0.4, 0.4, 0.5)
RADIUS_MM, PITCH_MM, POINT_SPREAD_MM = 1.6, 20.0, 0.4
COUNTS = (1, 2, 4, 8, 16)
LEAST_COUNT = 4
NOISE_HU = 20.0


def vessels(count: int, geometry: Geometry) -> Volume:
    """The soft map of so many vessels that run along the third axis, side by side."""
    x, y, z = (np.arange(size) * step for size, step in zip(SHAPE, SPACING_MM, strict=True))
    bend = 2.0 * np.sin(2 * np.pi * z / 60.0)
    length = z[-1]
    radius = RADIUS_MM * (1 - 0.6 * narrowing_profile((z - length / 2) / 5.0, 0.3))
    share = np.zeros(SHAPE, dtype=np.float32)
    for number in range(count):
        row, column = divmod(number, 4)
        across = x[:, None, None] - (10.0 + PITCH_MM * row) - bend
        beside = y[None, :, None] - (10.0 + PITCH_MM * column)
        edge = (radius - np.hypot(across, beside)) / SPACING_MM[0] + 0.5
        share = np.maximum(share, np.clip(edge, 0, 1) * ((z > 4) & (z < length - 4)))
    return Volume(Acquisition(point_spread_mm=POINT_SPREAD_MM).blurred(share.astype(np.float32), geometry), geometry)


def main() -> None:
    geometry = Geometry.from_spacing(SHAPE, SPACING_MM)
    noise = np.random.default_rng(0).normal(0, NOISE_HU, SHAPE)
    analyse_vessels(vessels(1, geometry))  # what is loaded or tabled once is not counted
    seen: dict[str, list[tuple[float, float]]] = {"map": [], "image": []}
    print("vessels, voxels of vessel | map: processor seconds, MB | image: processor seconds, MB | narrowings found")
    for count in COUNTS:
        soft = vessels(count, geometry)
        image = Volume((30 + 370 * soft.array + noise).astype(np.float32), geometry, "HU")
        voxels = int((soft.array >= 0.5).sum())
        figures = []
        for name, scan in (("map", None), ("image", image)):
            began = time.process_time()
            analysis = analyse_vessels(soft, scan, prefer_image=scan is not None)
            seconds = time.process_time() - began
            tracemalloc.start()
            analyse_vessels(soft, scan, prefer_image=scan is not None)
            megabytes = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            figures.append(f"{seconds:6.2f} {megabytes:6.0f}")
            if count >= LEAST_COUNT:
                seen[name].append((voxels, seconds))
        print(f"{count:3d} {voxels:8d} | " + " | ".join(figures) + f" | {len(analysis.report.blockages)}", flush=True)
    slopes = {name: np.polyfit(*np.log(np.array(pairs)).T, 1)[0] for name, pairs in seen.items()}
    print("slope: " + ", ".join(f"{name} {slope:.2f}" for name, slope in slopes.items()))


if __name__ == "__main__":
    main()
