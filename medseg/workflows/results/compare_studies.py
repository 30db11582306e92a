"""A study beside an earlier one of the same patient: what became of each lesion, and where it lies in both."""

from __future__ import annotations

from dataclasses import dataclass

from medseg.analysis.quantification.change import LesionChange, compare_visits
from medseg.core.errors import InputError
from medseg.imaging.registration import align
from medseg.workflows.results.follow_up import visit_of
from medseg.workflows.results.open_study import OpenedStudy

__all__ = ["Compared", "LesionChange", "compare_studies"]


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of each lesion, and how far the prior scan had to be moved onto the current one, on the mean."""

    changes: tuple[LesionChange, ...]
    moved_mm: float


def compare_studies(current: OpenedStudy, prior: OpenedStudy) -> Compared:
    """The changes from the prior to the current study, as their masks are now; the prior is moved rigidly.

    Raises InputError where they are of different patients or tasks, or one has no mask, or they show too little in
    common.
    """
    task = current.report.task if current.report is not None else None
    if task is None or prior.report is None:
        raise InputError("both studies must be segmented before they can be compared lesion by lesion")
    if task.labels != prior.report.task.labels:
        raise InputError(
            f"the studies were segmented for different tasks ({task.name}, {prior.report.task.name}), "
            "so their lesions cannot be matched. Segment both with one model."
        )
    visits = visit_of(prior), visit_of(current)
    alignment = align(current.volume, prior.volume, is_deformable=False)
    return Compared(compare_visits(*visits, task, alignment), alignment.moved_mm)
