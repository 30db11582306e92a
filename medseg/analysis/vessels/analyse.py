"""From a vessel map to the graded list of blockages: the whole chain in one call."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.filters import apply_hysteresis_threshold

from medseg.analysis.vessels.findings.assessability import LEAST_CONTRAST_TO_NOISE, why_not
from medseg.analysis.vessels.findings.blockage_mask import blockage_mask
from medseg.analysis.vessels.findings.dips import CLOSED_LENGTH_MM, CLOSED_MM, Dip, find_dips
from medseg.analysis.vessels.findings.grading import CadRads, study_cad_rads
from medseg.analysis.vessels.findings.report import (
    Blockage,
    BranchReport,
    Confidence,
    Kind,
    Source,
    VesselKind,
    VesselReport,
)
from medseg.analysis.vessels.findings.segments import Ostia, coronary_segments, unseen_ostia
from medseg.analysis.vessels.findings.uncertainty import diameter_interval, percent_interval
from medseg.analysis.vessels.lumen.levels import SoftMap, contrast_to_noise
from medseg.analysis.vessels.lumen.profiles import Lumens, measure_lumens
from medseg.analysis.vessels.lumen.veins import open_lumens, with_holes_filled
from medseg.analysis.vessels.tree.branches import VesselTree, tree_of
from medseg.analysis.vessels.tree.bridging import END_COSINE, VEIN_END_COSINE, bridge_gaps
from medseg.analysis.vessels.tree.faint import follow_ends
from medseg.analysis.vessels.tree.skeleton import skeleton_graph
from medseg.core.errors import InputError
from medseg.core.volume import Volume

UNGRADED = (
    "calibres were taken from a hard mask: a narrow lumen looks narrower than it is, so no category is given. "
    "Give the image."
)

DEFECT: Kind = "filling defect"
DEFECT_WIDTH = 0.8
"""A vein at a clot is at least this share as wide as beside it; a narrowed one is not."""

SEVERE_PERCENT = 70
"""What CAD-RADS 4B counts in three vessels."""

OPEN_SHARE = 0.5
"""What is painted of a clot is where less than this is open."""

SURE, LIKELY = 0.5, 0.25
"""A vessel is where the map is above SURE, and goes on from there while it is above LIKELY."""

LEAST_PIECE_MM3 = 6.0
LEAST_SOFT_SHARE = 0.02
"""A map is soft where at least this share of its vessel voxels lies strictly between 0 and 1."""

LEAST_PERCENT = 20.0
"""Shallower dips are not listed. CAD-RADS names 25 % and more; the margin is what the measurement may miss."""

CONFIDENT_LENGTH_MM, CONFIDENT_DIAMETER_MM, CONFIDENT_FORK_MM = 3.0, 2.0, 5.0
"""On real, healthy vessels, false blockages are short, thin, or beside a fork."""

CONFIDENT_MISFIT = 0.06
"""Made round vessels misfit by 1 to 3 % of the contrast, drawn flat ones by 6 to 11."""


@dataclass(frozen=True)
class VesselAnalysis:
    """The report, and what it was made from: the tree, the lumens, and the mask (i, j, k) of the blockages.

    The mask holds each blockage's number over its length: the lumen that is left and the lumen that is lost.
    """

    report: VesselReport
    tree: VesselTree
    lumens: Lumens
    blockages: NDArray[np.uint16]


def analyse_vessels(
    vessel: Volume,
    image: Volume | None = None,
    *,
    point_spread_mm: float | None = None,
    prefer_image: bool = False,
    of_network: bool = False,
    kind: VesselKind = "artery",
    ostia: Ostia | None = None,
) -> VesselAnalysis:
    """The vessels of a scan: tree, lumen and blockages.

    `vessel` is a map of probabilities 0 to 1, or a hard mask of 0 and 1. Calibres come from the probabilities; from the
    `image` where the map is hard or `prefer_image` is set; from a hard mask alone only roughly: every blockage is then
    for review, and nothing is graded. A map `of_network` is believed less where it tells lumen from calcium: what is
    brighter than any lumen is none, and what is no brighter is one in its gaps. Without `point_spread_mm` the blur is
    estimated from the wide vessels. In a "vein" clots are looked for too: holes in the lumen count as vein that is not
    open. With the `ostia` of both coronary arteries their segments are named.

    An empty or unusable map gives a report that says why; it invents no percentage. Raises InputError when the map is
    not between 0 and 1, GeometryError when map and image are on different grids.
    """
    soft = np.asarray(vessel.array, dtype=np.float32)
    if soft.size and (not np.isfinite(soft).all() or soft.min() < 0 or soft.max() > 1):
        raise InputError(
            f"a vessel map holds probabilities between 0 and 1, got {soft.min():g} to {soft.max():g}. "
            "Give a mask of one label, or divide by the label's number."
        )
    if image is not None:
        image.geometry.require_same(vessel.geometry, "the image and the vessel map")
    source = _source(soft, image, prefer_image)
    whole = with_holes_filled(soft) if kind == "vein" else soft
    mask = _mask(whole)
    graph = skeleton_graph(mask, vessel.geometry, LEAST_PIECE_MM3)
    follow_ends(graph, whole, mask, vessel.geometry)
    bridge_gaps(graph, VEIN_END_COSINE if kind == "vein" else END_COSINE)
    tree = tree_of(graph, min(vessel.geometry.spacing_mm))
    if not tree.branches:
        why = "there is no vessel in the map: it is empty, or holds only specks"
        return _nothing(source, kind, soft.shape, why)
    measured = SoftMap(soft, vessel.geometry)
    if source == "image" and image is not None:
        measured = SoftMap(np.asarray(image.array, dtype=np.float32), vessel.geometry, is_image=True)
        ratio = contrast_to_noise(tree, measured)
        if ratio < LEAST_CONTRAST_TO_NOISE:
            why = f"the image has no contrast: the vessels stand out by {ratio:.1f} standard deviations of its noise"
            return _nothing(source, kind, soft.shape, why)
    if kind == "vein":
        outer = measure_lumens(tree, SoftMap(whole, vessel.geometry), point_spread_mm)
        return _reported(source, kind, vessel, tree, *open_lumens(tree, outer, measured))
    is_soft = measured.is_image and _is_soft(soft)
    told = soft if is_soft else None
    lumens = measure_lumens(tree, measured, point_spread_mm, told, mask, of_network=of_network)
    analysis = _reported(source, kind, vessel, tree, lumens, lumens)
    return analysis if ostia is None else _with_segments(analysis, ostia)


def _source(soft: NDArray[np.float32], image: Volume | None, prefer_image: bool) -> Source:
    if image is not None and prefer_image:
        return "image"
    if _is_soft(soft):
        return "probabilities"
    return "image" if image is not None else "mask"


def _is_soft(soft: NDArray[np.float32]) -> bool:
    """Whether a map holds probabilities rather than a mask."""
    is_vessel = soft > 0
    between = int((is_vessel & (soft < 1)).sum())
    return between > LEAST_SOFT_SHARE * max(int(is_vessel.sum()), 1)


def _mask(soft: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where vessel is, on the map's grid; only the box around it is searched."""
    boxes = find_objects((soft > LIKELY).astype(np.uint8))
    mask = np.zeros(soft.shape, dtype=bool)
    if boxes and boxes[0] is not None:
        mask[boxes[0]] = apply_hysteresis_threshold(soft[boxes[0]], LIKELY, SURE)
    return mask


def _nothing(source: Source, kind: VesselKind, shape: tuple[int, ...], why: str) -> VesselAnalysis:
    """The analysis that says why there is none; a tree whose lumens were not measured is left out."""
    tree = VesselTree(())
    report = VesselReport(source=source, vessels=kind, cad_rads="N" if kind == "artery" else None, not_assessable=why)
    return VesselAnalysis(report, tree, Lumens((), 0.0, None, is_told_by_map=False), np.zeros(shape, dtype=np.uint16))


def _reported(
    source: Source, kind: VesselKind, vessel: Volume, tree: VesselTree, lumens: Lumens, outer: Lumens
) -> VesselAnalysis:
    """The report; `outer` are the vessels with their clots filled, which say what can be assessed."""
    branches = tuple(_branch_report(tree, outer, index, vessel) for index in range(len(tree.branches)))
    assessable = {branch.index for branch in branches if branch.not_assessable is None}
    dips = [
        dip
        for dip in find_dips(tree, lumens.profiles, outer.profiles if kind == "vein" else None)
        if 100 * dip.depth >= LEAST_PERCENT and dip.branch in assessable
    ]
    dips.sort(key=lambda dip: -dip.depth)
    spacing_mm = float(np.mean(vessel.geometry.spacing_mm))
    is_graded = kind == "artery" and source != "mask"
    blockages = tuple(
        _blockage(number, dip, source, lumens, spacing_mm).model_copy(update={"is_graded": is_graded})
        for number, dip in enumerate(dips, start=1)
    )
    warnings = [UNGRADED] if source == "mask" else []
    skipped = len(branches) - len(assessable)
    if skipped:
        warnings.append(f"{skipped} of {len(branches)} branches could not be assessed")
    report = VesselReport(
        source=source,
        branches=branches,
        blockages=blockages,
        vessels=kind,
        cad_rads=_cad_rads(kind, blockages, may_grade=bool(assessable) and source != "mask"),
        point_spread_mm=lumens.point_spread_mm,
        calcium_ml=None if lumens.calcium is None else float(lumens.calcium.sum()) * vessel.geometry.voxel_volume_ml,
        not_assessable=None if assessable else "no branch could be assessed: " + str(branches[0].not_assessable),
        warnings=tuple(warnings),
    )
    painted = blockage_mask(dips, outer, vessel.geometry)
    if kind == "vein":
        painted[(vessel.array > OPEN_SHARE) & np.isin(painted, [b.number for b in blockages if b.kind == DEFECT])] = 0
    return VesselAnalysis(report, tree, lumens, painted)


def _with_segments(analysis: VesselAnalysis, ostia: Ostia) -> VesselAnalysis:
    """The analysis with named branches, and with what CAD-RADS says of the left main and of three vessels."""
    report = analysis.report
    segments = coronary_segments(analysis.tree, ostia)
    branches = tuple(
        branch.model_copy(update={"segment": segments[branch.index].name}) if branch.index in segments else branch
        for branch in report.branches
    )
    worst: dict[str, float] = {}
    for blockage in report.blockages:
        if blockage.branch in segments:
            vessel = segments[blockage.branch].vessel
            worst[vessel] = max(worst.get(vessel, 0.0), blockage.diameter_percent)
    category = report.cad_rads
    if category not in (None, "N"):
        category = study_cad_rads(
            [blockage.cad_rads for blockage in report.blockages if blockage.cad_rads],
            left_main_percent=worst.get("left main"),
            severe_vessels=sum(round(worst.get(vessel, 0.0)) >= SEVERE_PERCENT for vessel in ("LAD", "LCx", "RCA")),
        )
    warnings = (*report.warnings, *unseen_ostia(analysis.tree, ostia))
    named = report.model_copy(update={"branches": branches, "cad_rads": category, "warnings": warnings})
    return replace(analysis, report=named)


def _cad_rads(kind: VesselKind, blockages: tuple[Blockage, ...], *, may_grade: bool) -> CadRads | None:
    if kind == "vein":
        return None
    return study_cad_rads([one.cad_rads for one in blockages if one.cad_rads]) if may_grade else "N"


def _branch_report(tree: VesselTree, lumens: Lumens, index: int, vessel: Volume) -> BranchReport:
    branch, lumen = tree.branches[index], lumens.profiles[index]
    return BranchReport(
        index=index,
        parent=branch.parent,
        generation=branch.generation,
        length_mm=branch.length_mm,
        tortuosity=branch.tortuosity if np.isfinite(branch.tortuosity) else None,
        mean_diameter_mm=2 * float(lumen.radius_mm.mean()),
        minimal_diameter_mm=2 * float(lumen.radius_mm.min()),
        not_assessable=why_not(branch, lumen, vessel.geometry),
    )


def _blockage(number: int, dip: Dip, source: Source, lumens: Lumens, spacing_mm: float) -> Blockage:
    lumen = lumens.profiles[dip.branch]
    x, y, z = (float(np.interp(dip.position_mm, lumen.arc_mm, lumen.points_mm[:, axis])) for axis in range(3))
    measured = "image and mask" if source == "image" and not lumens.is_told_by_map else source
    confidence, reasons = _confidence(dip, measured)
    kind = _kind(dip)
    minimal_mm, percent = (0.0, 100.0) if kind == "occlusion" else (2 * dip.radius_mm, 100 * dip.depth)
    return Blockage(
        number=number,
        branch=dip.branch,
        kind=kind,
        centre_mm=(x, y, z),
        position_mm=dip.position_mm,
        start_mm=dip.start_mm,
        stop_mm=dip.stop_mm,
        minimal_diameter_mm=minimal_mm,
        reference_diameter_mm=2 * dip.reference_mm,
        before_diameter_mm=None if dip.before_mm is None else 2 * dip.before_mm,
        after_diameter_mm=None if dip.after_mm is None else 2 * dip.after_mm,
        diameter_percent=percent,
        interval=percent_interval(percent, 2 * dip.reference_mm, spacing_mm, measured, dip.is_calcified),
        diameter_interval_mm=diameter_interval(percent, minimal_mm, spacing_mm, measured, dip.is_calcified),
        gap_mm=dip.gap_mm,
        is_calcified=dip.is_calcified,
        narrowings=dip.dips,
        fork_mm=dip.fork_mm,
        confidence=confidence,
        reasons=reasons,
    )


def _kind(dip: Dip) -> Kind:
    """A long closed stretch is an occlusion; a short one may be a lumen too tight to see.

    A lumen that is lost while the vessel stays wide is taken by something in it.
    """
    if dip.radius_mm >= CLOSED_MM:
        return DEFECT if dip.wall_mm > DEFECT_WIDTH * dip.reference_mm else "stenosis"
    return "occlusion" if dip.closed_mm >= CLOSED_LENGTH_MM else "subtotal or occluded"


def _confidence(dip: Dip, source: str) -> tuple[Confidence, tuple[str, ...]]:
    reasons = []
    if source == "mask":
        reasons.append("measured on a hard mask")
    if dip.length_mm < CONFIDENT_LENGTH_MM:
        reasons.append(f"short ({dip.length_mm:.1f} mm)")
    if 2 * dip.reference_mm < CONFIDENT_DIAMETER_MM:
        reasons.append(f"in a thin vessel ({2 * dip.reference_mm:.1f} mm)")
    if dip.fork_mm is not None and dip.fork_mm < CONFIDENT_FORK_MM:
        reasons.append(f"beside a fork ({dip.fork_mm:.1f} mm)")
    if dip.before_mm is None or dip.after_mm is None:
        reasons.append("healthy vessel is seen on one side only")
    if dip.beside_misfit > CONFIDENT_MISFIT:
        reasons.append(f"the vessel beside it is not round (misfit {100 * dip.beside_misfit:.0f} % of the contrast)")
    if dip.gap_mm > 0:
        reasons.append(f"across a gap of {dip.gap_mm:.1f} mm in the vessel map")
    if source == "image and mask" and dip.is_calcified:
        reasons.append("calcified: the lumen beside calcium is hard to see")
    return ("review" if reasons else "confident"), tuple(reasons)
