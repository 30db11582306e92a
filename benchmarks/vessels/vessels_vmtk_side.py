"""VMTK's part of `benchmarks/vessels/vessels_vmtk.py`; runs in VMTK's own interpreter and imports nothing of medseg.

    PYTHON benchmarks/vessels/vessels_vmtk_side.py CROPS.npz PROFILES.npz

Each crop is a soft map with a place before and a place behind a narrowing. The surface at one half is cut out as VMTK's
users do it, and VMTK's centreline between the places holds the radius of the largest inscribed sphere at each point.
"""

from __future__ import annotations

import sys

import numpy as np
import vtk
from vmtk import vtkvmtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

STEP_MM = 0.3


def main(crops: str, profiles: str) -> None:
    held = np.load(crops)
    found = {}
    for number in range(int(held["count"])):
        line = centreline(held[f"map{number}"], held[f"spacing{number}"], held[f"places{number}"])
        found[f"line{number}"] = np.empty((0, 4)) if line is None else line
    np.savez(profiles, **found)


def centreline(soft: np.ndarray, spacing_mm: np.ndarray, places_mm: np.ndarray) -> np.ndarray | None:
    """Points and radii (n, 4) in mm from the first place to the second; None where the surface is broken between."""
    surface = surface_at_half(soft, spacing_mm)
    if surface.GetNumberOfPoints() == 0:
        return None
    pieces = [piece_at(surface, place) for place in places_mm]
    if pieces[0].GetNumberOfPoints() != pieces[1].GetNumberOfPoints():
        return None
    lines = vtkvmtk.vtkvmtkPolyDataCenterlines()
    lines.SetInputData(pieces[0])
    finder = vtk.vtkPointLocator()
    finder.SetDataSet(pieces[0])
    finder.BuildLocator()
    for seeds, place in ((lines.SetSourceSeedIds, places_mm[0]), (lines.SetTargetSeedIds, places_mm[1])):
        ids = vtk.vtkIdList()
        ids.InsertNextId(finder.FindClosestPoint(place))
        seeds(ids)
    lines.SetRadiusArrayName("radius")
    lines.SetCostFunction("1/R")
    lines.SetAppendEndPointsToCenterlines(0)
    lines.CenterlineResamplingOn()
    lines.SetResamplingStepLength(STEP_MM)
    lines.Update()
    out = lines.GetOutput()
    if out.GetNumberOfPoints() == 0:
        return None
    radius = vtk_to_numpy(out.GetPointData().GetArray("radius"))
    return np.column_stack([vtk_to_numpy(out.GetPoints().GetData()), radius])


def surface_at_half(soft: np.ndarray, spacing_mm: np.ndarray) -> vtk.vtkPolyData:
    """The closed surface where the map is one half, in mm from the first voxel's middle."""
    image = vtk.vtkImageData()
    image.SetDimensions(*soft.shape)
    image.SetSpacing(*spacing_mm)
    values = numpy_to_vtk(np.ascontiguousarray(soft.ravel(order="F")), deep=True)
    image.GetPointData().SetScalars(values)
    contour = vtk.vtkMarchingCubes()
    contour.SetInputData(image)
    contour.SetValue(0, 0.5)
    clean = vtk.vtkCleanPolyData()
    clean.SetInputConnection(contour.GetOutputPort())
    clean.Update()
    return clean.GetOutput()


def piece_at(surface: vtk.vtkPolyData, place: np.ndarray) -> vtk.vtkPolyData:
    """The connected piece of a surface that is nearest to a place."""
    pieces = vtk.vtkPolyDataConnectivityFilter()
    pieces.SetInputData(surface)
    pieces.SetExtractionModeToClosestPointRegion()
    pieces.SetClosestPoint(*place)
    clean = vtk.vtkCleanPolyData()
    clean.SetInputConnection(pieces.GetOutputPort())
    clean.Update()
    return clean.GetOutput()


if __name__ == "__main__":
    main(*sys.argv[1:3])
