"""How a tumour responds to treatment by RECIST 1.1 (Eisenhauer et al. 2009, doi:10.1016/j.ejca.2008.10.026).

The rules are applied to diameters that were measured, and to what a reader says of non-target lesions: whether these
progress unequivocally is a judgement, not a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medseg.core.course import NonTargetResponse, OverallResponse, Response, TargetResponse
from medseg.core.errors import InputError

PARTIAL_PERCENT = -30.0
PROGRESS_PERCENT = 20.0
PROGRESS_MM = 5.0
MEASURABLE_MM = 10.0
MEASURABLE_NODE_MM = 15.0
NORMAL_NODE_MM = 10.0
MOST_TARGETS = 5
MOST_TARGETS_AN_ORGAN = 2

_ROUNDING = 1e-9
"""30 % less of 100 mm is 70 mm, whatever the last bits of the floating-point numbers say."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target lesion: its diameter in mm at each time point, the baseline first.

    The longest axial diameter, or the short axis of a lymph node. 0 where it is gone, None where it could not be
    evaluated.
    """

    name: str
    organ: str
    diameters_mm: tuple[float | None, ...]
    is_node: bool = False


def is_measurable(diameter_mm: float, *, is_node: bool = False, slice_mm: float = 5.0) -> bool:
    """Whether a lesion may be a target: 10 mm long, or two slices where these are thicker than 5 mm; nodes 15 mm."""
    if is_node:
        return diameter_mm >= MEASURABLE_NODE_MM
    return diameter_mm >= (2 * slice_mm if slice_mm > 5 else MEASURABLE_MM)


def choose_targets(targets: Sequence[Target], *, slice_mm: float = 5.0) -> tuple[Target, ...]:
    """The target lesions: the largest measurable ones at the baseline, at most five and at most two an organ."""
    measurable = [t for t in targets if is_measurable(t.diameters_mm[0] or 0.0, is_node=t.is_node, slice_mm=slice_mm)]
    measurable.sort(key=lambda target: -(target.diameters_mm[0] or 0.0))
    chosen: list[Target] = []
    for target in measurable:
        same_organ = sum(other.organ == target.organ for other in chosen)
        if len(chosen) < MOST_TARGETS and same_organ < MOST_TARGETS_AN_ORGAN:
            chosen.append(target)
    return tuple(chosen)


def target_response(targets: Sequence[Target], visit: int) -> Response:
    """The response of the target lesions at a time point (1 is the first after the baseline).

    Progression is asked first (a lesion that comes back after all were gone is one, however small), then complete and
    partial response. Where a lesion could not be evaluated the
    response is NE, unless those that could have grown enough to be progression already.
    Raises InputError where there are no targets, no such time point, or no full baseline.
    """
    if not targets or any(len(t.diameters_mm) != len(targets[0].diameters_mm) for t in targets):
        raise InputError("a response needs at least one target lesion, each with a diameter at every time point")
    if not 1 <= visit < len(targets[0].diameters_mm):
        raise InputError(f"there is no time point {visit} after the baseline; there are {len(targets[0].diameters_mm)}")
    baseline_mm = _sum_mm(targets, 0)
    if baseline_mm is None or baseline_mm <= 0:
        raise InputError("every target lesion has a diameter above 0 mm at the baseline")
    earlier = [total for n in range(visit) if (total := _sum_mm(targets, n)) is not None]
    nadir_mm = min(earlier)
    known_mm = sum(t.diameters_mm[visit] or 0.0 for t in targets)
    sum_mm = _sum_mm(targets, visit)
    category, rule = _decide(targets, visit, baseline_mm, nadir_mm, known_mm)
    return Response(category, rule, baseline_mm, nadir_mm, sum_mm)


def overall_response(
    target: TargetResponse | None, non_target: NonTargetResponse | None, *, has_new_lesions: bool
) -> tuple[OverallResponse, str]:
    """The response at a time point and the rule that decided it (tables 1 and 2 of RECIST 1.1).

    `target` or `non_target` is None where the patient has no such lesions.
    Raises InputError where there are neither.
    """
    if target is None and non_target is None:
        raise InputError("a response needs target or non-target lesions at the baseline")
    if has_new_lesions:
        return "PD", "a new lesion is progression"
    if target == "PD":
        return "PD", "progression of the target lesions"
    if non_target == "PD":
        return "PD", "unequivocal progression of the non-target lesions"
    if target is None:
        return (non_target or "NE"), "only non-target lesions: their response stands"
    if target == "CR" and non_target in ("CR", None):
        return "CR", "all lesions are gone and no node is enlarged"
    if target == "CR":
        return "PR", f"the target lesions are gone, but the non-target lesions are {non_target}"
    return target, "the target lesions decide, since no other lesion progresses"


def _decide(
    targets: Sequence[Target], visit: int, baseline_mm: float, nadir_mm: float, known_mm: float
) -> tuple[TargetResponse, str]:
    grown_mm = known_mm - nadir_mm
    needed_mm = nadir_mm * PROGRESS_PERCENT / 100
    if grown_mm >= PROGRESS_MM - _ROUNDING and grown_mm >= needed_mm - _ROUNDING:
        return "PD", (
            f"the sum grew by {grown_mm:.1f} mm from its smallest of {nadir_mm:.1f} mm: at least 20 % and at least 5 mm"
        )
    was_complete = any(all(_is_gone(target, earlier) for target in targets) for earlier in range(1, visit))
    back = [target.name for target in targets if not _is_gone(target, visit) and target.diameters_mm[visit] is not None]
    if was_complete and back:
        return "PD", f"back after a complete response: {', '.join(back)}"
    missing = [target.name for target in targets if target.diameters_mm[visit] is None]
    if missing:
        return "NE", f"not evaluated: {', '.join(missing)}"
    if all(_is_gone(target, visit) for target in targets):
        return "CR", "every target lesion is gone, and every node is below 10 mm in its short axis"
    change = _percent(known_mm, baseline_mm)
    if change <= PARTIAL_PERCENT + _ROUNDING:
        return "PR", f"the sum shrank by {-change:.0f} % from the baseline of {baseline_mm:.1f} mm: at least 30 %"
    reason = (
        "less than 20 % above its smallest" if grown_mm < needed_mm - _ROUNDING else "less than 5 mm above its smallest"
    )
    return "SD", f"the sum is neither 30 % below the baseline nor grown enough: it is {reason}"


def _is_gone(target: Target, visit: int) -> bool:
    diameter_mm = target.diameters_mm[visit]
    if diameter_mm is None:
        return False
    return diameter_mm < NORMAL_NODE_MM if target.is_node else diameter_mm == 0


def _sum_mm(targets: Sequence[Target], visit: int) -> float | None:
    """The sum of diameters at a time point; None where one could not be evaluated."""
    total = 0.0
    for target in targets:
        diameter_mm = target.diameters_mm[visit]
        if diameter_mm is None:
            return None
        total += diameter_mm
    return total


def _percent(value: float, reference: float) -> float:
    return 100 * (value - reference) / reference
