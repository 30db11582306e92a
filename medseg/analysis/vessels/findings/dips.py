"""Blockages of a branch: where its lumen is narrower than the healthy vessel before and after it.

A narrowing recovers. A step down that does not recover is a side branch or a taper, and the tail of a loose end is the
end; neither is counted. The healthy radius at a blockage is taken between the levels before and after it. A root may
be narrow where it begins, at its ostium: there only the vessel behind can be healthy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, median_filter

from medseg.analysis.vessels.lumen.profiles import LumenProfile
from medseg.analysis.vessels.tree.branches import VesselBranch, VesselTree

LEAST_DEPTH = 0.17
"""Shallower dips of the diameter are irregularity, not disease: CAD-RADS starts to name a stenosis at 25 %."""

EDGE_DEPTH = 0.07
"""Where a blockage begins and ends."""

LEAST_LENGTH_MM = 1.5
"""A shorter dip is noise: plaque is longer, and the blur would spread it further."""

WINDOW_MM = 24.0
"""How far to look for the recovery before and after: longer than a lesion of 20 mm."""

SHOULDER_MM = 6.0
"""Over which length next to a blockage the healthy level is taken."""

SHOULDER_PERCENTILE = 60.0
ONE_LESION_DIAMETERS = 3.0
"""Dips less than this many reference diameters apart are one lesion (the rule of the SYNTAX score)."""

OSTIAL_DEPTH = 0.3
"""A root that has lost this share of its diameter where it begins is a finding; one side tells less than two do."""

OSTIAL_MM = 12.0
"""By so far from its start a root has widened to its healthy level, or it is no ostial narrowing but a widening."""

CLOSED_MM = 0.18
"""A fitted radius below this is no lumen: nothing narrower can be told from none under a clinical blur."""

CLOSED_LENGTH_MM = 1.5
"""A shorter closed stretch may as well be a very tight lumen: it is called 'subtotal or occluded'."""


@dataclass(frozen=True)
class Dip:
    """A stretch of a branch (in mm along the lumen) below its healthy level, and how deep it is at its tightest.

    `wall_mm` is the vessel's own radius there, which a clot in it leaves as it is; for arteries it is the lumen's.
    `before_mm` and `after_mm` are the healthy radii on both sides, None where there is no vessel to take one from, and
    `beside_misfit` is how badly a round lumen fits there.
    """

    branch: int
    start_mm: float
    stop_mm: float
    position_mm: float
    radius_mm: float
    reference_mm: float
    before_mm: float | None
    after_mm: float | None
    closed_mm: float
    gap_mm: float
    misfit: float
    is_calcified: bool
    fork_mm: float | None
    wall_mm: float
    beside_misfit: float
    dips: int = 1

    @property
    def depth(self) -> float:
        """Lost share of the diameter, 0 to 1."""
        return float(np.clip(1 - self.radius_mm / self.reference_mm, 0.0, 1.0))

    @property
    def length_mm(self) -> float:
        return self.stop_mm - self.start_mm


@dataclass(frozen=True)
class _Lumen:
    """A branch's trusted samples, and the levels its neighbours suggest beyond its two ends."""

    branch: int
    arc_mm: NDArray[np.float64]
    radius_mm: NDArray[np.float64]
    wall_mm: NDArray[np.float64]
    is_gap: NDArray[np.bool_]
    misfit: NDArray[np.float64]
    is_calcified: NDArray[np.bool_]
    before_mm: float | None
    after_mm: float | None
    start_fork_mm: float | None
    stop_fork_mm: float | None

    def part(self, samples: slice) -> _Lumen:
        """The same with some of the samples."""
        names = ("arc_mm", "radius_mm", "wall_mm", "is_gap", "misfit", "is_calcified")
        return replace(self, **{name: getattr(self, name)[samples] for name in names})


def find_dips(
    tree: VesselTree, profiles: tuple[LumenProfile, ...], walls: tuple[LumenProfile, ...] | None = None
) -> tuple[Dip, ...]:
    """The dips of every branch that recover on both sides, nearby ones made one, in the order of the branches.

    `walls` are the vessels with their clots filled, where those differ from the open lumens.
    """
    found: list[Dip] = []
    for branch in tree.branches:
        lumen = _trusted(tree, profiles, walls, branch)
        if lumen is not None:
            found += _merged(lumen, _with_ostial(lumen, _dips(lumen)))
    return tuple(found)


def _trusted(
    tree: VesselTree, profiles: tuple[LumenProfile, ...], walls: tuple[LumenProfile, ...] | None, branch: VesselBranch
) -> _Lumen | None:
    """The samples of a branch outside its forks, where a section would cut two vessels; None where few are left."""
    profile = profiles[branch.index]
    arc = profile.arc_mm
    children = tree.children(branch.index)
    siblings = [other for other in tree.branches if other.start_node == branch.start_node]
    has_start_fork = branch.parent is not None or len(siblings) > 1
    first = 0.0
    if branch.parent is not None:
        parent = profiles[branch.parent]
        first = 1.05 * _end_level(parent)
    elif has_start_fork:
        first = 1.05 * float(np.median(profile.radius_mm))
    has_stop_fork = not tree.is_loose(branch.stop_node)
    last = arc[-1] - (0.8 * _end_level(profile) if has_stop_fork else 0.0)
    keep = (arc >= first) & (arc <= last)
    if keep.sum() < 5:
        return None
    smooth = median_filter(profile.radius_mm, size=3, mode="nearest")
    levels = [_start_level(profiles[child], _end_level(profile)) for child in children]
    after = max((level for level in levels if level is not None), default=None)
    return _Lumen(
        branch.index,
        arc[keep],
        smooth[keep],
        smooth[keep] if walls is None else walls[branch.index].radius_mm[keep],
        branch.is_gap[keep],
        profile.misfit[keep],
        profile.has_calcium[keep],
        _level(smooth[keep][arc[keep] <= first + 15.0]) if has_start_fork else None,
        after,
        0.0 if has_start_fork else None,
        float(arc[-1]) if has_stop_fork else None,
    )


def _level(radii: NDArray[np.float64], percentile: float = 80.0) -> float | None:
    return float(np.percentile(radii, percentile)) if len(radii) >= 3 else None


def _end_level(profile: LumenProfile) -> float:
    """The healthy radius towards a branch's end, its last millimetre (the fork) left out."""
    arc = profile.arc_mm
    tail = profile.radius_mm[(arc >= arc[-1] - 12.0) & (arc <= arc[-1] - 1.0)]
    return float(np.percentile(tail, 75)) if len(tail) else float(np.median(profile.radius_mm))


def _start_level(profile: LumenProfile, fork_mm: float) -> float | None:
    """The healthy radius of a child behind the fork."""
    arc = profile.arc_mm
    return _level(profile.radius_mm[(arc >= 1.2 * fork_mm) & (arc <= 1.2 * fork_mm + 10.0)])


def _dips(lumen: _Lumen) -> list[Dip]:
    """Stretches below the lower of the highest levels before and after: what lies in a valley."""
    radius = lumen.radius_mm
    step = float(np.median(np.diff(lumen.arc_mm)))
    window = max(3, round(WINDOW_MM / step))
    padded = np.concatenate([np.full(window, lumen.before_mm or 0.0), radius, np.full(window, lumen.after_mm or 0.0)])
    # a trailing maximum looks back `window` samples, a leading one ahead
    behind = maximum_filter1d(padded, window + 1, origin=window // 2, mode="nearest")[window:-window]
    ahead = maximum_filter1d(padded, window + 1, origin=-((window + 1) // 2), mode="nearest")[window:-window]
    level = np.minimum(behind, ahead)
    depth = 1 - radius / np.maximum(level, 1e-6)
    dips = []
    for start, stop in _runs(depth > EDGE_DEPTH):
        if depth[start:stop].max() >= LEAST_DEPTH and (stop - start) * step >= LEAST_LENGTH_MM:
            dips += _measured_dips(lumen, slice(start, stop))
    return dips


def _measured_dips(lumen: _Lumen, run: slice) -> list[Dip]:
    """The dip of a run of samples; none where it is too shallow after all."""
    dip = _measured(lumen, run.start, run.stop)
    return [dip] if dip is not None and dip.depth >= LEAST_DEPTH else []


def _with_ostial(lumen: _Lumen, dips: list[Dip]) -> list[Dip]:
    """The dips and the ostial narrowing of a root; of a vessel without forks either end may be the ostium."""
    if lumen.start_fork_mm is not None:
        return dips
    arc, radius = lumen.arc_mm, lumen.radius_mm
    found = list(dips)
    narrow = _ostial_samples(arc - arc[0], radius)
    if len(narrow) and not any(dip.start_mm <= arc[narrow[-1]] for dip in dips):
        found += _measured_dips(lumen.part(slice(narrow[0], None)), slice(0, len(narrow)))
    narrow = _ostial_samples(arc[-1] - arc[::-1], radius[::-1]) if lumen.stop_fork_mm is None else narrow[:0]
    if len(narrow) and not any(dip.stop_mm >= arc[-1 - narrow[-1]] for dip in dips):
        part = lumen.part(slice(0, len(arc) - narrow[0]))
        found += _measured_dips(part, slice(len(part.arc_mm) - len(narrow), len(part.arc_mm)))
    return sorted(found, key=lambda dip: dip.start_mm)


def _ostial_samples(from_end_mm: NDArray[np.float64], radius_mm: NDArray[np.float64]) -> NDArray[np.intp]:
    """The samples near an end that are narrower than the vessel behind them; none where it does not widen soon.

    Over about a radius the centreline may leave a vessel through its side, and the sections show less and less of it.
    """
    healthy = _level(radius_mm[(from_end_mm > OSTIAL_MM) & (from_end_mm <= OSTIAL_MM + SHOULDER_MM)])
    if healthy is None:
        return np.arange(0)
    count = int(np.argmin(radius_mm < (1 - EDGE_DEPTH) * healthy))
    narrow = np.arange(count)
    clear = narrow[from_end_mm[:count] >= healthy]
    is_lesion = len(clear) > 0 and radius_mm[clear].min() < (1 - OSTIAL_DEPTH) * healthy
    return narrow[from_end_mm[:count] >= healthy / 2] if is_lesion and from_end_mm[count] <= OSTIAL_MM else narrow[:0]


def _runs(inside: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open index ranges of the stretches that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _measured(lumen: _Lumen, start: int, stop: int, dips: int = 1) -> Dip | None:
    """A dip from sample to sample with its reference; None where neither side shows an open vessel."""
    arc, radius = lumen.arc_mm, lumen.radius_mm
    is_before = (arc < arc[start]) & (arc >= arc[start] - SHOULDER_MM)
    is_after = (arc > arc[stop - 1]) & (arc <= arc[stop - 1] + SHOULDER_MM)
    before = _level(radius[is_before], SHOULDER_PERCENTILE)
    after = _level(radius[is_after], SHOULDER_PERCENTILE)
    tightest = start + int(np.argmin(radius[start:stop]))
    reference = _reference(lumen, before, after, arc[start], arc[stop - 1], arc[tightest])
    if not reference:
        return None
    inside = slice(start, stop)
    step = float(np.median(np.diff(arc)))
    forks = [abs(float(arc[tightest]) - fork) for fork in (lumen.start_fork_mm, lumen.stop_fork_mm) if fork is not None]
    return Dip(
        branch=lumen.branch,
        start_mm=float(arc[start]),
        stop_mm=float(arc[stop - 1]),
        position_mm=float(arc[tightest]),
        radius_mm=float(radius[tightest]),
        reference_mm=reference,
        before_mm=before,
        after_mm=after,
        closed_mm=float((radius[inside] < CLOSED_MM).sum()) * step,
        gap_mm=float(lumen.is_gap[inside].sum()) * step,
        misfit=float(np.median(lumen.misfit[inside])),
        is_calcified=bool(lumen.is_calcified[inside].mean() > 0.15),
        fork_mm=min(forks) if forks else None,
        wall_mm=float(lumen.wall_mm[tightest]),
        beside_misfit=float(np.median(lumen.misfit[is_before | is_after])),
        dips=dips,
    )


def _reference(
    lumen: _Lumen, before: float | None, after: float | None, start_mm: float, stop_mm: float, at_mm: float
) -> float | None:
    """The healthy radius at a place in a dip: on the line between the levels of both sides, or that of the one side."""
    if before is not None and after is not None:
        share = (at_mm - start_mm + SHOULDER_MM / 2) / (stop_mm - start_mm + SHOULDER_MM)
        return (1 - share) * before + share * after
    if before is not None:
        return before if lumen.after_mm is None else max(lumen.after_mm, 0.95 * before)
    return after


def _merged(lumen: _Lumen, dips: list[Dip]) -> list[Dip]:
    """Dips with those closer than the SYNTAX distance made one, measured anew against the outer levels."""
    merged: list[Dip] = []
    for dip in dips:
        last = merged[-1] if merged else None
        # a dip's edge is where 7 % are lost: its soft ends reach about a seventh of its length further
        slack = 0.15 * (dip.length_mm + last.length_mm) if last else 0.0
        if last is None or dip.start_mm - last.stop_mm - slack >= ONE_LESION_DIAMETERS * 2 * dip.reference_mm:
            merged.append(dip)
            continue
        start = int(np.searchsorted(lumen.arc_mm, last.start_mm))
        stop = int(np.searchsorted(lumen.arc_mm, dip.stop_mm)) + 1
        together = _measured(lumen, start, stop, last.dips + dip.dips)
        merged[-1] = together if together is not None else max(last, dip, key=lambda dip: dip.depth)
    return merged
