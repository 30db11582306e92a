"""From a scan as stored to the array a network sees, and the exact way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import IGNORED_CLASS, LabelSchema
from medseg.core.volume import Volume
from medseg.imaging.preparing.normalize import NormalizationConfig
from medseg.imaging.preparing.planes import PreparedPlanes, parts, planes_of
from medseg.imaging.preparing.restore import KeptScores, label_values, restore_labels
from medseg.imaging.resample import resample_label_map, resample_volume

PositiveMm = Annotated[float, Field(gt=0)]

SAME_SPACING_RATIO = 0.01
"""A scan whose spacing is within one per cent of the wanted one is not resampled: interpolation would only blur it."""

MAX_PREPARED_VOXELS = 2**31
"""A scan that would grow beyond this is refused before any memory is taken: its header or the plan must be wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a network sees: `array` is (channel, i, j, k) float32 on `geometry`; `scan_geometry` is the scan's own."""

    array: NDArray[np.float32]
    geometry: Geometry
    scan_geometry: Geometry

    def restore(self, scores: NDArray[np.float32], schema: LabelSchema, kept: KeptScores | None = None) -> LabelMap:
        """The mask on the scan's own grid, from class scores (class, i, j, k) on the prepared grid."""
        array = restore_labels(scores, self.geometry, self.scan_geometry, label_values(schema), kept)
        return LabelMap(array, self.scan_geometry, schema)


class Preparation(BaseModel):
    """How scans are brought to a network: axes towards RAS, to one spacing, each channel on its scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spacing_mm: tuple[PositiveMm, PositiveMm, PositiveMm]
    normalization: tuple[NormalizationConfig, ...] = Field(min_length=1)
    interpolation: Literal["linear", "cubic"] = "linear"
    """How images are brought onto the spacing; cubic splines, without `anti_alias`, are nnU-Net's way."""

    anti_alias: bool = True
    """Whether images are blurred to the resolution of a much coarser grid before they are brought onto it."""

    def geometry(self, scan: Geometry) -> Geometry:
        """The grid on which a scan of that geometry is prepared.

        Raises InputError when it would be absurdly large: the scan's spacing is then most likely wrong.
        """
        turned = scan.reoriented(scan.reorientation_to("RAS"))
        if turned.is_sheared:
            turned = turned.right_angled()
        ratios = np.asarray(turned.spacing_mm) / np.asarray(self.spacing_mm)
        if np.abs(ratios - 1).max() < SAME_SPACING_RATIO:
            return turned
        voxels = float(np.prod(np.asarray(turned.shape) * ratios))
        if voxels > MAX_PREPARED_VOXELS:
            raise InputError(
                f"at the model's spacing of {self.spacing_mm} mm this scan would have {voxels:.2g} voxels; "
                f"it covers {[round(n * s) for n, s in zip(turned.shape, turned.spacing_mm, strict=True)]} mm. "
                "Is its spacing right?"
            )
        return turned.with_spacing(self.spacing_mm)

    def apply(self, images: Mapping[str, Volume]) -> Prepared:
        """The images, in the order given, as one array.

        Raises InputError for a wrong number of channels, GeometryError when they lie on different grids.
        """
        volumes, scan = self._checked(images)
        target = self.geometry(scan)
        array = np.empty((len(volumes), *target.shape), dtype=np.float32)
        for index, (volume, normalization) in enumerate(zip(volumes, self.normalization, strict=True)):
            array[index] = self._resample(volume, target).array
            normalize = normalization.fit(array[index, start:stop] for start, stop in parts(target.shape))
            for start, stop in parts(target.shape):
                array[index, start:stop] = normalize(array[index, start:stop])
        return Prepared(array, target, scan)

    def planes(self, images: Mapping[str, Volume]) -> PreparedPlanes:
        """The same numbers as `apply` gives, made when they are asked for. Raises what `apply` raises.

        A normalisation by the scan's own statistics looks through the scan once before.
        """
        volumes, scan = self._checked(images)
        target = self.geometry(scan)
        normalize = tuple(
            normalization.fit(
                np.asarray(self._resample(volume, planes_of(target, start, stop)).array)
                for start, stop in parts(target.shape)
            )
            for volume, normalization in zip(volumes, self.normalization, strict=True)
        )
        return PreparedPlanes(volumes, normalize, target, scan, self._resample)

    def apply_to_labels(self, label_map: LabelMap) -> NDArray[np.unsignedinteger[Any]]:
        """The mask's class numbers (i, j, k) uint8 on the prepared grid: 0 for background, n for the n-th label.

        Voxels that nobody judged are IGNORED_CLASS.
        """
        prepared = resample_label_map(label_map, self.geometry(label_map.geometry)).array
        schema = label_map.schema
        classes = np.zeros(max(*schema.indices, schema.ignored or 0) + 1, dtype=np.uint8)
        classes[list(schema.indices)] = np.arange(len(schema.indices))
        if schema.ignored is not None:
            classes[schema.ignored] = IGNORED_CLASS
        return np.asarray(classes[prepared])

    def _resample(self, volume: Volume, target: Geometry) -> Volume:
        order = 3 if self.interpolation == "cubic" else 1
        return resample_volume(volume, target, order=order, anti_alias=self.anti_alias)

    def _checked(self, images: Mapping[str, Volume]) -> tuple[tuple[Volume, ...], Geometry]:
        if len(images) != len(self.normalization):
            raise InputError(f"the model takes {len(self.normalization)} channels, got {len(images)}: {list(images)}")
        (first_name, first), *others = images.items()
        for name, volume in others:
            first.geometry.require_same(volume.geometry, f"the channels {first_name} and {name}")
        return tuple(images.values()), first.geometry
