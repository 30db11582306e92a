"""A study on the screen: its voxels, labels and findings as the browser is given them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.viewer.second_reading import is_second_reading
from medseg.core.errors import InputError
from medseg.core.geometry import Shape
from medseg.core.label_map import LabelMap
from medseg.core.task import Window
from medseg.imaging.pictures.slices import SCREEN_AXES, ScreenVolume, mask_for_screen, percentile_window
from medseg.review.records import mask_sha256
from medseg.workflows.results.open_study import OpenedStudy, measured
from medseg.workflows.results.open_uncertainty import uncertainty

MOST_VOXELS = 220_000_000
"""What a browser tab holds with room to spare, two bytes a voxel and one for the mask; a larger scan is thinned."""


_GZIP_LEVEL = 1


StudyKey = tuple[str, str]
"""What an opened study is kept under: the id it was opened with and, of a second reading, whose it is."""


@dataclass(frozen=True, slots=True, eq=False)
class StudyOnScreen:
    """An opened study with its voxels in display order; `mask_gzip` is the mask's labels (k, j, i), gzipped.

    `has_findings` is false while the findings are still those of the mask before. `files` changes when the files of
    the study do, `mask_sha256` when a correction is saved.
    """

    key: StudyKey
    opened: OpenedStudy
    as_segmented: OpenedStudy
    screen: ScreenVolume
    window: Window
    mask_gzip: bytes | None
    mask_sha256: str | None
    bytes_per_label: int
    files: str
    has_findings: bool = True

    @property
    def is_second_reading(self) -> bool:
        """Whether it is read without a look at what others drew."""
        return is_second_reading(self.key[0])

    def model_labels(self) -> NDArray[np.unsignedinteger[Any]]:
        """The labels (k, j, i) that the model gave, before any correction, as they are shown."""
        if self.as_segmented.label_map is None:
            raise InputError("this study has no mask that can be shown")
        return shown_labels(self.as_segmented.label_map)


def thinning(shape: Shape) -> int:
    """Every how many-th voxel within a slice is shown so that a scan of this shape fits a browser tab; 1 for most."""
    step = 1
    while np.prod(shape, dtype=np.int64) / step**2 > MOST_VOXELS:
        step += 1
    return step


def put_on_screen(
    key: StudyKey, opened: OpenedStudy, as_segmented: OpenedStudy, screen: ScreenVolume, window: Window, files: str
) -> StudyOnScreen:
    """A study with its voxels and labels in display order, made ready for the browser."""
    labels = None if opened.label_map is None else shown_labels(opened.label_map)
    return StudyOnScreen(
        key=key,
        opened=opened,
        as_segmented=as_segmented,
        screen=screen,
        window=window,
        mask_gzip=None if labels is None else gzip.compress(labels.tobytes(), _GZIP_LEVEL, mtime=0),
        mask_sha256=None if opened.label_map is None else mask_sha256(opened.label_map),
        bytes_per_label=1 if labels is None else labels.dtype.itemsize,
        files=files,
    )


def shown_labels(label_map: LabelMap) -> NDArray[np.unsignedinteger[Any]]:
    """The labels (k, j, i) as the scan is shown."""
    step = thinning(label_map.geometry.shape)
    return np.ascontiguousarray(mask_for_screen(label_map)[:, ::step, ::step])


def uncertainty_on_screen(study: StudyOnScreen, maps: Sequence[Path]) -> NDArray[np.uint8]:
    """How unsure the model was, 0 to 255, (k, j, i) as the scan is shown."""
    geometry = study.opened.volume.geometry
    turn = geometry.reorientation_to(SCREEN_AXES)
    step = thinning(geometry.shape)
    values = turn.apply(uncertainty(maps, geometry)).transpose(2, 1, 0)
    return np.ascontiguousarray(values[:, ::step, ::step])


def with_findings(study: StudyOnScreen) -> StudyOnScreen:
    """The study with findings that are measured on the mask that is shown."""
    if study.has_findings:
        return study
    return replace(study, opened=measured(study.opened), has_findings=True)


def first_window(opened: OpenedStudy) -> Window:
    """The grey range a study opens with: its task's, soft tissue for other CT, else from its own values."""
    if opened.report is not None and opened.report.task.window is not None:
        return opened.report.task.window
    if opened.volume.unit == "HU":
        return Window(centre=40.0, width=400.0)
    return percentile_window(opened.volume)
