"""Where voxels are: the only place in medseg that does arithmetic on affines.

Index axes are i, j, k; world axes are x, y, z in RAS+ millimetres (x grows to the patient's right, y to the front,
z to the head), as in NIfTI. DICOM's LPS+ coordinates are turned into RAS+ at the border, in `exchange.dicom`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.core.errors import GeometryError

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
PlaneName = Literal["axial", "coronal", "sagittal"]
ScalarT = TypeVar("ScalarT", bound=np.generic)

SAME_GRID_TOLERANCE_MM = 0.01
"""Two grids are the same when no corner voxel lies further apart than this; far below any clinical voxel."""

SHEAR_TOLERANCE = 1e-4
"""Largest cosine between two index axes of a grid that still counts as right-angled: 0.006 degrees."""

_WORLD_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True, slots=True)
class Reorientation:
    """Which source axis each new axis takes, and whether it runs backwards."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """The array's view in the new axis order; the last three axes are i, j, k."""
        leading = tuple(range(array.ndim - 3))
        offset = len(leading)
        turned = array.transpose(*leading, *(axis + offset for axis in self.axes))
        flipped = tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)
        return turned[(..., *flipped)]

    def inverse(self) -> Reorientation:
        """The reorientation that undoes this one."""
        i, j, k = (self.axes.index(axis) for axis in range(3))
        return Reorientation((i, j, k), (self.flips[i], self.flips[j], self.flips[k]))


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A voxel grid in the patient: its shape and the affine from index (i, j, k) to world RAS+ mm.

    Raises GeometryError when the affine is not finite, singular, or not an affine, or the shape is not positive.
    """

    shape: Shape
    affine: NDArray[np.float64]
    frame_of_reference: str | None = None

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"a grid has three positive dimensions, got {shape}")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4):
            raise GeometryError(f"an affine is 4 x 4, got {affine.shape}")
        if not np.isfinite(affine).all():
            raise GeometryError(f"the affine holds values that are not finite numbers: {affine.tolist()}")
        if not np.array_equal(affine[3], (0.0, 0.0, 0.0, 1.0)):
            raise GeometryError(f"the last row of an affine is 0 0 0 1, got {affine[3].tolist()}")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3])) < 1e-6 * float(np.prod(lengths)):
            raise GeometryError(
                f"the affine is singular: its axes are {lengths.tolist()} mm long and do not span a volume"
            )
        affine.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def from_spacing(cls, shape: Shape, spacing_mm: Spacing, origin_mm: Spacing = (0.0, 0.0, 0.0)) -> Geometry:
        """An RAS+ grid whose axes run along the world's. Raises GeometryError for a spacing that is not above 0."""
        _require_positive(spacing_mm)
        affine = np.diag((*spacing_mm, 1.0))
        affine[:3, 3] = origin_mm
        return cls(shape, affine)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return (
            self.shape == other.shape
            and np.array_equal(self.affine, other.affine)
            and self.frame_of_reference == other.frame_of_reference
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes(), self.frame_of_reference))

    @property
    def spacing_mm(self) -> Spacing:
        """Distance in mm between neighbouring voxel centres along i, j, k."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @property
    def directions(self) -> NDArray[np.float64]:
        """Unit vectors of i, j, k as columns, in RAS+."""
        return np.asarray(self.affine[:3, :3] / np.asarray(self.spacing_mm))

    @property
    def origin_mm(self) -> NDArray[np.float64]:
        """World position of the centre of voxel (0, 0, 0)."""
        return self.affine[:3, 3]

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """World position of the centre of the grid."""
        return self.world((np.asarray(self.shape) - 1) / 2)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres; right for sheared grids too."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def is_sheared(self) -> bool:
        """Whether the index axes are not at right angles (a CT gantry tilt)."""
        cosines = self.directions.T @ self.directions - np.eye(3)
        return bool(np.abs(cosines).max() > SHEAR_TOLERANCE)

    @property
    def axis_codes(self) -> str:
        """Where i, j, k point to, by the nearest anatomical axis: "RAS", "LPS", "SPL"..."""
        nearest = _nearest_world_axes(self.directions)
        return "".join(
            _WORLD_LETTERS[world][int(self.directions[world, axis] > 0)] for axis, world in enumerate(nearest)
        )

    def world(self, index: ArrayLike) -> NDArray[np.float64]:
        """World positions (..., 3) in RAS+ mm of index positions (..., 3)."""
        return np.asarray(np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3])

    def index(self, world_mm: ArrayLike) -> NDArray[np.float64]:
        """Fractional index positions (..., 3) of world positions (..., 3) in RAS+ mm."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(np.asarray(world_mm, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3])

    def contains(self, world_mm: ArrayLike) -> bool:
        """Whether a world position lies inside the voxels of this grid."""
        index = self.index(world_mm)
        return bool((index >= -0.5).all() and (index <= np.asarray(self.shape) - 0.5).all())

    def corners_mm(self) -> NDArray[np.float64]:
        """World positions (8, 3) of the centres of the eight corner voxels."""
        return self.world(list(product(*((0, n - 1) for n in self.shape))))

    def difference(self, other: Geometry, tolerance_mm: float = SAME_GRID_TOLERANCE_MM) -> str | None:
        """What sets the other grid apart, as a sentence with its numbers, or None when the two are the same grid.

        A frame of reference counts only where both grids name one.
        """
        if self.shape != other.shape:
            return f"the shapes differ: {self.shape} and {other.shape} voxels"
        if (
            self.frame_of_reference is not None
            and other.frame_of_reference is not None
            and self.frame_of_reference != other.frame_of_reference
        ):
            return f"the frames of reference differ: {self.frame_of_reference} and {other.frame_of_reference}"
        apart_mm = float(np.linalg.norm(self.corners_mm() - other.corners_mm(), axis=1).max())
        if apart_mm > tolerance_mm:
            return (
                f"the grids lie up to {apart_mm:.3f} mm apart "
                f"(axes {self.axis_codes} and {other.axis_codes}, "
                f"spacing {format_mm(self.spacing_mm)} and {format_mm(other.spacing_mm)})"
            )
        return None

    def require_same(self, other: Geometry, what: str) -> None:
        """Raise GeometryError, naming `what` was compared, unless the other grid is the same."""
        difference = self.difference(other)
        if difference is not None:
            raise GeometryError(f"{what} are on different grids: {difference}. Resample one onto the other's grid.")

    def reorientation_to(self, axis_codes: str) -> Reorientation:
        """The axis order and flips that bring this grid's axes nearest to `axis_codes`, such as "RAS"."""
        worlds = [_world_axis(letter) for letter in axis_codes]
        if sorted(worlds) != [0, 1, 2]:
            raise GeometryError(f"axis codes name each anatomical axis once, such as RAS or LPS; got {axis_codes!r}")
        nearest = _nearest_world_axes(self.directions)
        axes = [nearest.index(world) for world in worlds]
        flips = [self.axis_codes[axis] != letter for axis, letter in zip(axes, axis_codes, strict=True)]
        return Reorientation((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))

    def reoriented(self, reorientation: Reorientation) -> Geometry:
        """The same voxels in the same places, with axes permuted and flipped."""
        start = np.zeros(3)
        steps = np.zeros((3, 3))
        for new, (axis, flip) in enumerate(zip(reorientation.axes, reorientation.flips, strict=True)):
            steps[axis, new] = -1.0 if flip else 1.0
            start[axis] = self.shape[axis] - 1 if flip else 0
        affine = np.eye(4)
        affine[:3, :3] = self.affine[:3, :3] @ steps
        affine[:3, 3] = self.world(start)
        i, j, k = (self.shape[axis] for axis in reorientation.axes)
        return Geometry((i, j, k), affine, self.frame_of_reference)

    def cropped(self, start: Shape, shape: Shape) -> Geometry:
        """The grid of the box of `shape` voxels that begins at index `start` (which may lie outside)."""
        affine = self.affine.copy()
        affine[:3, 3] = self.world(start)
        return Geometry(shape, affine, self.frame_of_reference)

    def with_spacing(self, spacing_mm: Spacing) -> Geometry:
        """The grid of another spacing over the same field of view, its outer voxel faces centred on this one's.

        Raises GeometryError for a spacing that is not above 0.
        """
        _require_positive(spacing_mm)
        old = np.asarray(self.spacing_mm)
        new = np.asarray(spacing_mm, dtype=np.float64)
        shape = np.maximum(1, np.round(np.asarray(self.shape) * old / new)).astype(int)
        affine = self.affine.copy()
        affine[:3, :3] = self.directions * new
        middle = affine[:3, :3] @ ((shape - 1) / 2)
        affine[:3, 3] = self.centre_mm - middle
        return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine, self.frame_of_reference)

    def right_angled(self) -> Geometry:
        """The smallest grid with axes at right angles, nearest to this one's, that holds all voxels of a sheared grid.

        The axes are the closest rotation to the sheared ones (polar decomposition), so none is preferred.
        """
        left, _, right = np.linalg.svd(self.directions)
        directions = left @ right
        spacing = np.asarray(self.spacing_mm)
        along = self.corners_mm() @ directions
        low, high = along.min(axis=0), along.max(axis=0)
        shape = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
        affine = np.eye(4)
        affine[:3, :3] = directions * spacing
        affine[:3, 3] = directions @ low
        return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine, self.frame_of_reference)


def format_mm(spacing_mm: Spacing) -> str:
    """Lengths along three axes for people: "0.78 x 0.78 x 2.5 mm"."""
    return " x ".join(f"{length:.4g}" for length in spacing_mm) + " mm"


def _require_positive(spacing_mm: Spacing) -> None:
    if not all(np.isfinite(length) and length > 0 for length in spacing_mm):
        raise GeometryError(f"a spacing is above 0 mm along each axis, got {tuple(map(float, spacing_mm))} mm")


def _world_axis(letter: str) -> int:
    for world, letters in enumerate(_WORLD_LETTERS):
        if letter in letters:
            return world
    raise GeometryError(f"axis codes are made of the letters L R P A I S; got {letter!r}")


def _nearest_world_axes(directions: NDArray[np.float64]) -> tuple[int, ...]:
    """The world axis nearest to each index axis, each used once, so that the sum of |cosines| is largest."""
    alignment = np.abs(directions)
    return max(
        permutations(range(3)), key=lambda worlds: sum(alignment[world, axis] for axis, world in enumerate(worlds))
    )
