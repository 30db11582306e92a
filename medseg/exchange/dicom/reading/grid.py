"""Stack: frames sorted by where they lie, on one grid; refused where no grid holds them all (PS3.3 C.7.6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.exchange.dicom.patient_axes import affine_ras
from medseg.exchange.dicom.reading.image_file import Frame

POSITION_TOLERANCE_MM = 0.1
"""How far a slice may lie from its place on the grid: coarsely rounded positions pass, a shifted slice does not."""

POSITION_TOLERANCE_OF_SPACING = 0.1
"""... and never more than this part of the slice spacing."""

ROUNDING_MM = 0.002
"""Positions written with two decimals are this exact; always allowed."""

SAME_PLACE_MM = 0.01
"""Two frames nearer than this along the normal lie at one position."""

DIRECTION_TOLERANCE = 5e-4
"""Largest difference between the direction cosines of two slices of one grid: 0.03 degrees."""

SPACING_TOLERANCE = 2e-4
"""Largest relative difference between the pixel spacings of two slices: 0.1 mm over a field of view of 500 mm."""

MOST_INTERPOLATED = 1.0
"""Missing slices for each slice that is there, up to which gaps may be interpolated."""

MOST_TILT_DEGREES = 45.0
"""Gantries tilt by up to 30 degrees; slices that run away at more than this are no stack."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames in order along k; `indices` are their slice numbers, with holes where slices are missing."""

    frames: tuple[Frame, ...]
    indices: tuple[int, ...]
    geometry: Geometry
    warnings: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[int, ...]:
        """Slice numbers for which there is no frame."""
        return tuple(sorted(set(range(self.geometry.shape[2])) - set(self.indices)))


def places_mm(frames: list[Frame]) -> NDArray[np.float64]:
    """Distance of each frame along the normal of the first one."""
    normal = frames[0].plane.normal
    return np.array([frame.plane.position @ normal for frame in frames])


def stack(frames: list[Frame], *, allow_gaps: bool) -> Stack:
    """The frames on one grid, i along a row, j along a column, k along the normal.

    A gantry tilt is kept as shear. Raises InputError for frames of other directions, spacings or sizes, two at one
    position, irregular positions, and, unless `allow_gaps`, missing slices.
    """
    require_alike(frames)
    order = np.argsort(places_mm(frames), kind="stable")
    ordered = [frames[index] for index in order]
    first = ordered[0]
    if len(ordered) == 1:
        return _single(first)
    _require_distinct(ordered)
    indices = _slice_numbers(ordered, allow_gaps)
    positions = np.array([frame.plane.position for frame in ordered])
    step = (positions[-1] - positions[0]) / indices[-1]
    _require_on_line(ordered, positions, indices, step)
    geometry = _geometry(first, positions[0], step, indices[-1] + 1)
    return Stack(tuple(ordered), tuple(indices), geometry, _spacing_warning(ordered, step))


def require_alike(frames: list[Frame]) -> None:
    """Refuse frames that differ from the most of them in size, direction or spacing, naming the first such frame."""
    reference = _commonest(frames)
    for frame in frames:
        plane, other = frame.plane, reference.plane
        if not frame.has_same_look(reference):
            raise InputError(
                f"{frame.name} has {frame.file.columns} x {frame.file.rows} pixels where {reference.name} has "
                f"{reference.file.columns} x {reference.file.rows}: these are not slices of one volume"
            )
        turned = max(np.abs(plane.row - other.row).max(), np.abs(plane.column - other.column).max())
        if turned > DIRECTION_TOLERANCE:
            degrees = np.degrees(2 * np.arcsin(min(1.0, float(np.linalg.norm(plane.normal - other.normal)) / 2)))
            raise InputError(
                f"{frame.name} is turned against {reference.name} (by {degrees:.2f} degrees between their planes): "
                "a series of mixed orientations is no volume. Give the folder of one of them."
            )
        for mine, theirs in (
            (plane.row_spacing_mm, other.row_spacing_mm),
            (plane.column_spacing_mm, other.column_spacing_mm),
        ):
            if abs(mine - theirs) > SPACING_TOLERANCE * theirs:
                raise InputError(
                    f"{frame.name} has a pixel spacing of {mine:g} mm where {reference.name} has {theirs:g} mm: "
                    "these are not slices of one volume"
                )


def _commonest(frames: list[Frame]) -> Frame:
    """A frame that looks like as many others as possible, so that the odd one out is the one that gets named."""
    counts: dict[tuple[object, ...], list[Frame]] = {}
    for frame in frames:
        plane = frame.plane
        key = (
            frame.file.rows, frame.file.columns, round(plane.row_spacing_mm, 4), round(plane.column_spacing_mm, 4),
            *np.round(plane.row, 3), *np.round(plane.column, 3),
        )  # fmt: skip
        counts.setdefault(key, []).append(frame)
    return max(counts.values(), key=len)[0]


def _single(frame: Frame) -> Stack:
    thickness = frame.plane.thickness_mm
    warning = f"there is one slice only, {frame.name}; " + (
        f"its thickness of {thickness:g} mm is taken as the slice spacing"
        if thickness
        else "it does not say its thickness, and 1 mm is taken as the slice spacing"
    )
    geometry = _geometry(frame, frame.plane.position, frame.plane.normal * (thickness or 1.0), 1)
    return Stack((frame,), (0,), geometry, (warning,))


def _require_distinct(ordered: list[Frame]) -> None:
    places = places_mm(ordered)
    if places[-1] - places[0] < SAME_PLACE_MM:
        raise InputError(
            f"all {len(ordered)} images, {ordered[0].name} to {ordered[-1].name}, lie at one position: "
            "they make no volume. Export the series again."
        )
    for before, after, distance in zip(ordered, ordered[1:], np.diff(places), strict=False):
        if distance < SAME_PLACE_MM:
            raise InputError(
                f"{before.name} and {after.name} lie at one position ({distance:.4f} mm apart) and nothing in their "
                "headers tells their phases apart. Remove one of them, or export the series again."
            )


def _slice_numbers(ordered: list[Frame], allow_gaps: bool) -> list[int]:
    """The slice number of each frame, counted in the series' own spacing; refused where the distances fit none."""
    distances = np.diff(places_mm(ordered))
    spacing = _spacing_mm(distances)
    allowed = 2 * tolerance_mm(spacing)  # a distance has two ends
    steps = np.rint(distances / spacing).astype(int)
    for position, distance in enumerate(distances):
        off = abs(distance - max(1, steps[position]) * spacing)
        if off > allowed:
            raise InputError(
                f"the slices are not evenly spaced: {ordered[position].name} and {ordered[position + 1].name} lie "
                f"{distance:.3f} mm apart where {spacing:.3f} mm are usual. Export the series again, evenly spaced."
            )
    lost = int((steps - 1).sum())
    if lost > len(ordered) * MOST_INTERPOLATED and allow_gaps:
        raise InputError(
            f"{lost} slices are missing and {len(ordered)} are there: too many to interpolate. Send the series again."
        )
    if lost and not allow_gaps:
        wide = int(np.argmax(steps > 1))
        raise InputError(
            f"{lost} slice{'s are' if lost > 1 else ' is'} missing: there is a gap of {distances[wide]:.3f} mm between "
            f"{ordered[wide].name} and {ordered[wide + 1].name} (spacing {spacing:.3f} mm). "
            "Send the series again, or pass --allow-gaps to interpolate."
        )
    return [0, *np.cumsum(steps).tolist()]


def _spacing_mm(distances: NDArray[np.float64]) -> float:
    """The slice spacing: the usual distance, or, where most slices are missing, the shortest if the others fit it."""
    usual = float(np.median(distances))
    shortest = float(distances.min())
    shortest = float(np.median(distances[distances <= shortest + 2 * tolerance_mm(shortest)]))
    for spacing in (usual, shortest):
        steps = np.maximum(1, np.rint(distances / spacing))
        if (np.abs(distances - steps * spacing) <= 2 * tolerance_mm(spacing)).all():
            return spacing
    return usual


def tolerance_mm(spacing_mm: float) -> float:
    """How far a slice may lie from its place on a grid of this slice spacing."""
    return min(POSITION_TOLERANCE_MM, POSITION_TOLERANCE_OF_SPACING * spacing_mm) + ROUNDING_MM


def _require_on_line(
    ordered: list[Frame], positions: NDArray[np.float64], indices: list[int], step: NDArray[np.float64]
) -> None:
    normal = ordered[0].plane.normal
    spacing = float(step @ normal)
    expected = positions[0] + np.outer(indices, step)
    off = np.linalg.norm(positions - expected, axis=1)
    worst = int(np.argmax(off))
    if off[worst] > tolerance_mm(spacing):
        raise InputError(
            f"{ordered[worst].name} lies {off[worst]:.3f} mm from its place on the line from {ordered[0].name} to "
            f"{ordered[-1].name}; up to {tolerance_mm(spacing):.3f} mm are allowed. Export the series again."
        )
    tilt = float(np.degrees(np.arccos(min(1.0, spacing / float(np.linalg.norm(step))))))
    if tilt > MOST_TILT_DEGREES:
        raise InputError(
            f"the slices from {ordered[0].name} to {ordered[-1].name} run away sideways at {tilt:.0f} degrees; "
            f"a gantry tilts by up to {MOST_TILT_DEGREES:.0f}. Export the series again."
        )


def _geometry(frame: Frame, origin: NDArray[np.float64], step: NDArray[np.float64], count: int) -> Geometry:
    plane = frame.plane
    # PixelSpacing is the distance between rows, then between columns (PS3.3 10.7.1.3): i runs along a row
    columns = np.column_stack([plane.row * plane.column_spacing_mm, plane.column * plane.row_spacing_mm, step])
    frame_of_reference = frame.file.said("FrameOfReferenceUID") or None
    return Geometry((frame.file.columns, frame.file.rows, count), affine_ras(columns, origin), frame_of_reference)


def _spacing_warning(ordered: list[Frame], step: NDArray[np.float64]) -> tuple[str, ...]:
    thickness = ordered[0].plane.thickness_mm
    spacing = float(step @ ordered[0].plane.normal)
    if thickness is None or spacing < 1.6 * thickness:
        return ()
    warning = (
        f"slices of {thickness:g} mm thickness lie {spacing:.3g} mm apart: there is unseen tissue between them, "
        "or every other slice is missing"
    )
    return (warning,)
