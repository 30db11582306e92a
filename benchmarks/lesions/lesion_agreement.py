"""Volumes and diameters of the sarcoma masks beside SimpleITK's label statistics and pyradiomics.

    pip install SimpleITK && pip install --no-build-isolation pyradiomics
    python benchmarks/lesions/lesion_agreement.py --root DATA_ROOT

All 34 masks on PET and the 20 on MR. SimpleITK and pyradiomics measure the mask as it is: the largest distance of voxel
corners or of mesh points, which is longer than the structure by up to a voxel; medseg estimates the structure.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

from medseg.analysis.quantification.diameters import axial_diameters, maximum_diameter_mm
from medseg.analysis.quantification.shape import shape_of
from medseg.core.label_map import LabelMap
from medseg.datasets.manifest import read_manifest
from medseg.exchange.read import read_label_map
from medseg.imaging.regions.components import Component

SETS = ("ibsi_sts_sarcoma_pet", "ibsi_sts_sarcoma_mr")
MANIFESTS = Path(__file__).parents[2] / "data_manifests"


def ours(label_map: LabelMap) -> dict[str, float]:
    """What medseg measures of a mask as one structure."""
    mask, geometry = label_map.mask(1), label_map.geometry
    i, j, k = (slice(0, n) for n in mask.shape)
    whole = Component(mask, (i, j, k), int(mask.sum()))
    shape = shape_of(whole, geometry)
    return {
        "volume ml": whole.voxel_count * geometry.voxel_volume_ml,
        "mesh volume ml": shape.mesh_volume_mm3 / 1000,
        "surface mm2": shape.surface_mm2,
        "sphericity": shape.sphericity,
        "longest axial mm": axial_diameters(whole, geometry).longest_mm,
        "longest mm": maximum_diameter_mm(whole, geometry),
    }


def as_image(label_map: LabelMap):  # type: ignore[no-untyped-def]
    """The mask as a SimpleITK image; only spacing matters here."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(label_map.reoriented("LPS").mask(1).astype(np.uint8).T)
    image.SetSpacing([float(length) for length in label_map.reoriented("LPS").geometry.spacing_mm])
    return image


def by_simpleitk(label_map: LabelMap) -> dict[str, float]:
    """SimpleITK's statistics of the mask."""
    import SimpleITK

    statistics = SimpleITK.LabelShapeStatisticsImageFilter()
    statistics.ComputeFeretDiameterOn()
    statistics.Execute(as_image(label_map))
    return {
        "volume ml": statistics.GetPhysicalSize(1) / 1000,
        "surface mm2": statistics.GetPerimeter(1),
        "sphericity": statistics.GetRoundness(1),
        "longest mm": statistics.GetFeretDiameter(1),
    }


def by_pyradiomics(label_map: LabelMap) -> dict[str, float]:
    """Pyradiomics' shape features of the mask."""
    from radiomics.shape import RadiomicsShape

    logging.getLogger("radiomics").setLevel(logging.ERROR)
    image = as_image(label_map)
    shape = RadiomicsShape(image, image)
    return {
        "volume ml": float(shape.getVoxelVolumeFeatureValue()) / 1000,
        "mesh volume ml": float(shape.getMeshVolumeFeatureValue()) / 1000,
        "surface mm2": float(shape.getSurfaceAreaFeatureValue()),
        "sphericity": float(shape.getSphericityFeatureValue()),
        "longest axial mm": float(shape.getMaximum2DDiameterSliceFeatureValue()),
        "longest mm": float(shape.getMaximum3DDiameterFeatureValue()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    root = parser.parse_args().root
    print("| set | beside | of | masks | difference, mean | largest | limits of agreement (95 %) |")
    print("|---|---|---|---:|---:|---:|---|")
    for name in SETS:
        manifest = read_manifest(MANIFESTS / name, root)
        masks = [read_label_map(case.label, manifest.task.label_schema) for case in manifest.cases if case.label]
        mine = [ours(mask) for mask in masks]
        for who, measure in (("SimpleITK", by_simpleitk), ("pyradiomics", by_pyradiomics)):
            theirs = [measure(mask) for mask in masks]
            for what in theirs[0]:
                percent = np.array([100 * (m[what] / t[what] - 1) for m, t in zip(mine, theirs, strict=True)])
                low, high = percent.mean() - 1.96 * percent.std(), percent.mean() + 1.96 * percent.std()
                largest = percent[np.abs(percent).argmax()]
                print(
                    f"| {name[17:].upper()} | {who} | {what} | {len(percent)} | {percent.mean():+.2f} % | "
                    f"{largest:+.2f} % | {low:+.2f} to {high:+.2f} % |"
                )


if __name__ == "__main__":
    main()
