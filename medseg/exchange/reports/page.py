"""What all printed pages share: their size, text in any characters, thin rules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.transforms import Bbox

from medseg.core.report import NOT_FOR_DIAGNOSIS

A4_INCHES = (8.27, 11.69)


def write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Put text on a page, its upper edge at y; nothing in it is taken for mathematics."""
    figure.text(x, y, printable(text), va="top", parse_math=False, **style)


def rule(figure: Figure, y: float) -> None:
    """Draw a thin line across a page."""
    axes = figure.add_axes((0.06, y, 0.88, 0.0005))
    axes.set_facecolor("0.6")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def heading(figure: Figure, title: str, left: Sequence[str], right: Sequence[str]) -> None:
    """Put the head on a page: what it is not for, its title, and small lines on both sides; it ends at 0.915."""
    write(figure, 0.94, 0.985, NOT_FOR_DIAGNOSIS, size=9, weight="bold", color="#b00020", ha="right")
    write(figure, 0.06, 0.968, title, size=13, weight="bold")
    for number, (first, second) in enumerate(zip(left, right, strict=True)):
        style = {"size": 8.5 if number == 0 else 7.5, "color": "0" if number == 0 else "0.35"}
        write(figure, 0.06, 0.946 - 0.0145 * number, first, **style)
        write(figure, 0.94, 0.946 - 0.0145 * number, second, size=7.5, color="0.35", ha="right")
    rule(figure, 0.915)


def paragraph(figure: Figure, x: float, y: float, text: str, *, width: int = 130) -> float:
    """Put small text on a page in lines of at most `width` characters; returns where the next line begins."""
    for line in wrap(text, width) or [""]:
        write(figure, x, y, line, size=7.5)
        y -= 0.0135
    return y


def table(
    figure: Figure, headings: Sequence[str], rows: Sequence[Sequence[str]], top: float, *, colours: Sequence[Any] = ()
) -> float:
    """Put a table on a page, each column as wide as its longest text; returns where it ends.

    The first column stands to the left, in a colour a row where given, the numbers to the right.
    """
    height = 0.0165 * (len(rows) + 1)
    axes = figure.add_axes((0.06, top - height, 0.88, height))
    axes.set_axis_off()
    texts = [[printable(cell) for cell in row] for row in rows]
    lengths = [2 + max(len(row[n]) for row in [list(headings), *texts]) for n in range(len(headings))]
    lengths[0] += 2  # it is bold
    widths = [length / sum(lengths) for length in lengths]
    drawn = axes.table(
        cellText=texts, colLabels=list(headings), colWidths=widths, cellLoc="right", colLoc="right", bbox=Bbox.unit()
    )
    drawn.auto_set_font_size(False)
    size = min(7.5, 7.5 * 128 / sum(lengths))
    for (row, column), cell in drawn.get_celld().items():
        cell.get_text().set_parse_math(False)
        cell.get_text().set_fontsize(size)
        cell.PAD = 0.05
        cell.set_linewidth(0.3)
        cell.set_edgecolor("0.75")
        if column == 0:
            cell.get_text().set_horizontalalignment("left")
        if row == 0:
            cell.set_facecolor("0.93")
        elif column == 0 and colours:
            cell.get_text().set_color(colours[row - 1])
            cell.get_text().set_fontweight("bold")
    return top - height


def printable(text: str) -> str:
    """The text with a question mark for each character that the page's font lacks, as in a name in kanji."""
    return "".join(character if ord(character) in _glyphs() else "?" for character in text)


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(np.fromiter(get_font(findfont(FontProperties())).get_charmap(), dtype=np.int64).tolist())
