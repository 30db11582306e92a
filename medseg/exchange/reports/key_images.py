"""Key images: for each finding a picture of its slice with the outline and the numbers, for an archive's viewer."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medseg.core.findings import Finding
from medseg.core.label_map import LabelMap
from medseg.core.report import NOT_FOR_DIAGNOSIS, Report
from medseg.core.volume import Volume
from medseg.exchange.reports.page import write
from medseg.exchange.reports.pdf import finding_name, measured_in_words
from medseg.imaging.pictures import slices
from medseg.imaging.pictures.overlay import OverlayStyle, overlay

MOST_PICTURES = 12
"""Findings with a picture of their own; all others stand in the report."""

SIDE_PIXELS = 640
_DPI = 80


def key_images(report: Report, volume: Volume, label_map: LabelMap) -> NDArray[np.uint8]:
    """RGB pictures (frame, rows, columns, 3): an axial slice through each of the first findings, counted ones first.

    Where nothing was found, one picture of the middle of the scan that says so. The patient is not named in them.
    Raises GeometryError where scan and mask are on different grids.
    """
    label_map.geometry.require_same(volume.geometry, "the mask and the scan of the key images")
    screen, labels = slices.for_screen(volume), slices.mask_for_screen(label_map)
    window = report.task.window or slices.percentile_window(volume)
    counted = [finding for finding in report.findings if finding.label.is_counted]
    ordered = [*counted, *(finding for finding in report.findings if not finding.label.is_counted)]
    shown: list[Finding | None] = [None] if not ordered else [*ordered[:MOST_PICTURES]]
    pictures = []
    for finding in shown:
        middle = tuple(n // 2 for n in volume.geometry.shape)
        at = (middle[0], middle[1], middle[2]) if finding is None else finding.index
        depth = slices.to_screen_index(volume.geometry, at)[2]
        grey = slices.grey(screen.values("axial", depth), window)
        style = OverlayStyle(opacity=0.0)
        rgb = overlay(grey, slices.picture(labels, "axial", depth), label_map.schema, style)
        title = "Nothing was found" if finding is None else finding_name(finding)
        words = "" if finding is None else measured_in_words(finding)
        aspect = slices.pixel_mm(screen.geometry, "axial")
        pictures.append(_drawn(rgb, aspect[0] / aspect[1], title, words, slices.edges(screen.geometry, "axial")))
    return np.stack(pictures)


def _drawn(rgb: NDArray[np.uint8], aspect: float, title: str, words: str, edges: slices.Edges) -> NDArray[np.uint8]:
    figure = Figure(figsize=(SIDE_PIXELS / _DPI, SIDE_PIXELS / _DPI), dpi=_DPI, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.12, 0.96, 0.81))
    axes.imshow(rgb, aspect=aspect, interpolation="nearest")
    axes.set_axis_off()
    write(figure, 0.02, 0.985, title, size=13, weight="bold", color="white")
    write(figure, 0.98, 0.985, NOT_FOR_DIAGNOSIS, size=10, color="#ff8a80", ha="right")
    write(figure, 0.02, 0.10, words, size=10, color="white", wrap=True)
    for x, y, letters in ((0.02, 0.5, edges.left), (0.98, 0.5, edges.right), (0.5, 0.97, edges.top),
                          (0.5, 0.03, edges.bottom)):  # fmt: skip
        axes.text(x, y, letters, transform=axes.transAxes, color="#ffd54f", size=11, ha="center", va="center")
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3].copy()
