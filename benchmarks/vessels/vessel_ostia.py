"""How tight an ostium is found: narrowings at the very start of a made vessel, on its soft map and on an image of it.

    python benchmarks/vessels/vessel_ostia.py

Bent vessels of 2.4, 3.2 and 4.4 mm, 44 mm long, on voxels of 0.4 x 0.4 x 0.5 mm; narrowings of 6 and 10 mm are centred
0, 1 and 2 mm from the vessel's end, so that a half of them and more lies in it.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from medseg.analysis.vessels.analyse import analyse_vessels
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.anatomy import narrowing_profile
from medseg.datasets.phantoms.tubes import Tube, bezier
from medseg.datasets.phantoms.vessels.coverage import vessel_coverage
from medseg.datasets.phantoms.vessels.lesions import DiseasedBranch

SHAPE, SPACING_MM, POINT_SPREAD_MM, NOISE_HU = (65, 65, 104), (0.4, 0.4, 0.5), 0.4, 20.0
RADII_MM, LENGTHS_MM, PLACES_MM, PERCENTS = (1.2, 1.6, 2.2), (6.0, 10.0), (0.0, 1.0, 2.0), (30, 40, 50, 60, 70, 80, 85)


def soft_map(percent: float, place_mm: float, radius_mm: float, length_mm: float) -> Volume:
    """The blurred share of vessel in each voxel."""
    geometry = Geometry.from_spacing(SHAPE, SPACING_MM)
    points = bezier(np.array([[10.0, 13.0, 5.0], [19.0, 18.0, 26.0], [10.0, 11.0, 47.0]]))
    tube = Tube(points, np.full(len(points), radius_mm))
    radii = tube.radii_mm * (1 - percent / 100 * narrowing_profile((tube.arc_mm - place_mm) / (length_mm / 2), 0.3))
    branch = DiseasedBranch(None, tube, radii, np.zeros_like(points), np.zeros(len(points)))
    lumen = vessel_coverage([branch], geometry).lumen
    return Volume(Acquisition(point_spread_mm=POINT_SPREAD_MM).blurred(lumen, geometry), geometry)


def main() -> None:
    noise = np.random.default_rng(3).normal(0, NOISE_HU, SHAPE)
    print("% diameter | map: found of all, mean |error| | image: the same")
    for percent in PERCENTS:
        errors: tuple[list[float], list[float]] = ([], [])
        cases = list(product(PLACES_MM, RADII_MM, LENGTHS_MM))
        for case in cases:
            soft = soft_map(percent, *case)
            image = Volume((30 + 370 * soft.array + noise).astype(np.float32), soft.geometry, "HU")
            for said, scan in zip(errors, (None, image), strict=True):
                blockages = analyse_vessels(soft, scan, prefer_image=scan is not None).report.blockages
                said += [abs(one.diameter_percent - percent) for one in blockages[:1]]
        figures = [f"{len(said):2d}/{len(cases)} {np.mean(said) if said else np.nan:5.1f}" for said in errors]
        print(f"{percent:3d} | {' | '.join(figures)}", flush=True)


if __name__ == "__main__":
    main()
