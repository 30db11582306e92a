"""What became of each lesion between two scans: the same, merged, split, new or vanished, and how fast it grew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.analysis.quantification.lesions import Instance, find_instances
from medseg.core.errors import InputError
from medseg.core.findings import Finding
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import Task
from medseg.imaging.regions.components import Component
from medseg.imaging.registration import Alignment

ChangeKind = Literal["matched", "merged", "split", "regrouped", "new", "vanished"]
"""One to one; several priors in one; one prior in several; several in several; none before; none now."""

SAME_PLACE_MM = 5.0
"""Lesions that do not overlap but lie no further apart than this may be the same: what registration is off by."""

LEAST_SHARE = 0.1
"""Two lesions overlap when they share at least this much of the smaller; less is a touch at the rim."""


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One scan's mask and the findings that were measured in it; empty where date or patient are not known."""

    label_map: LabelMap
    findings: tuple[Finding, ...]
    when: date | None = None
    patient_id: str = ""


@dataclass(frozen=True, slots=True)
class LesionChange:
    """What became of one lesion, or of several that merged or split, with its sizes then and now.

    `prior` and `current` hold the instance numbers. Volumes in ml and longest axial diameters in mm are sums over the
    lesions on each side, as RECIST 1.1 adds up the parts of a lesion that split; 0 where there are none.
    """

    label: str
    kind: ChangeKind
    prior: tuple[int, ...]
    current: tuple[int, ...]
    prior_ml: float
    current_ml: float
    prior_longest_mm: float
    current_longest_mm: float
    days: int | None = None

    @property
    def volume_change_percent(self) -> float | None:
        """Change of the volume in percent of the prior one; None for a new lesion."""
        return 100 * (self.current_ml / self.prior_ml - 1) if self.prior_ml > 0 else None

    @property
    def doubling_time_days(self) -> float | None:
        """Days in which the volume doubles at the rate seen; negative where it halves, infinite where it stands still.

        None where a date is not known, no day lies between, or the lesion is not there on both.
        """
        if not self.days or self.prior_ml <= 0 or self.current_ml <= 0:
            return None
        growth = math.log(self.current_ml / self.prior_ml)
        return self.days * math.log(2) / growth if growth else math.inf


def compare_visits(
    prior: Visit, current: Visit, task: Task, alignment: Alignment | None = None
) -> tuple[LesionChange, ...]:
    """What became of every counted lesion, in order of the labels and then of the current and prior numbers.

    The prior's lesions are moved by the alignment; without one both masks must be on one grid. Lesions that overlap
    belong together. One left over on each side belong together where they lie within 5 mm, nearest first.
    Raises InputError where the patients differ or a mask's labels are not the task's, GeometryError where the grids
    differ.
    """
    if prior.patient_id and current.patient_id and prior.patient_id != current.patient_id:
        raise InputError(
            f"the prior scan is of patient {prior.patient_id}, the current one of {current.patient_id}. "
            "Choose two scans of one patient."
        )
    for visit, what in ((prior, "prior"), (current, "current")):
        if visit.label_map.schema != task.label_schema:
            raise InputError(
                f"the {what} mask's labels {[label.name for label in visit.label_map.schema.labels]} are not those of "
                f"task {task.name}, {[label.name for label in task.labels]}. Compare masks of one task."
            )
    if alignment is None:
        current.label_map.geometry.require_same(prior.label_map.geometry, "the current and the prior mask")
    days = (current.when - prior.when).days if current.when and prior.when else None
    before, after = find_instances(prior.label_map, task), find_instances(current.label_map, task)
    changes: list[LesionChange] = []
    for label in task.labels:
        if not label.is_counted:
            continue
        old = [instance for instance in before if instance.label == label]
        new = [instance for instance in after if instance.label == label]
        numbers = _numbered(old, prior.label_map.geometry)
        moved = numbers if alignment is None else alignment.on_current(numbers)
        for priors, currents in link_lesions(moved, len(old), [i.component for i in new], current.label_map.geometry):
            then, now = _sizes(prior, label.name, priors), _sizes(current, label.name, currents)
            kind = _kind(priors, currents)
            changes.append(LesionChange(label.name, kind, priors, currents, then[0], now[0], then[1], now[1], days))
    return tuple(changes)


def link_lesions(
    prior_numbers: NDArray[np.uint16], prior_count: int, current: Sequence[Component], geometry: Geometry
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Which lesions belong together: pairs of prior and current numbers, each lesion in exactly one pair.

    `prior_numbers` numbers the prior's lesions from 1 on the current grid; one that the move has put outside the scan
    has no voxel there and belongs to none.
    """
    shares = _shares(prior_numbers, prior_count, current)
    linked = shares >= LEAST_SHARE
    lone_prior = [n for n in range(prior_count) if not linked[n].any()]
    lone_current = [n for n in range(len(current)) if not linked[:, n].any()]
    for one, other in _near_pairs(prior_numbers, lone_prior, lone_current, current, geometry):
        linked[one, other] = True
    return _groups(linked)


def _shares(prior_numbers: NDArray[np.uint16], prior_count: int, current: Sequence[Component]) -> NDArray[np.float64]:
    """How much of the smaller of each prior and current lesion both share: (prior, current), 0 to 1."""
    sizes = np.bincount(prior_numbers.ravel(), minlength=prior_count + 1)[1 : prior_count + 1]
    common = np.zeros((prior_count, len(current)))
    for number, lesion in enumerate(current):
        inside = prior_numbers[lesion.box][lesion.mask]
        common[:, number] = np.bincount(inside, minlength=prior_count + 1)[1 : prior_count + 1]
    smaller = np.minimum(sizes[:, None], np.array([lesion.voxel_count for lesion in current])[None, :])
    return np.asarray(np.divide(common, smaller, out=np.zeros_like(common), where=smaller > 0))


def _near_pairs(
    prior_numbers: NDArray[np.uint16],
    lone_prior: list[int],
    lone_current: list[int],
    current: Sequence[Component],
    geometry: Geometry,
) -> list[tuple[int, int]]:
    """Pairs of lone lesions that lie within 5 mm, nearest first, each lesion once."""
    if not lone_prior or not lone_current:
        return []
    # Distances to the lone priors are sought only around each lone current lesion.
    reach = np.ceil(SAME_PLACE_MM * np.linalg.norm(np.linalg.inv(geometry.affine[:3, :3]), axis=1)).astype(int)
    lone = np.array([n + 1 for n in lone_prior])
    found: list[tuple[float, int, int]] = []
    for number in lone_current:
        lesion = current[number]
        box = tuple(
            slice(max(0, side.start - int(r)), side.stop + int(r)) for side, r in zip(lesion.box, reach, strict=True)
        )
        around = prior_numbers[box]
        own = np.zeros(around.shape, dtype=bool)
        own[tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(lesion.box, box, strict=True))] = (
            lesion.mask
        )
        far_mm = ndimage.distance_transform_edt(~own, sampling=geometry.spacing_mm)
        for other in np.intersect1d(around, lone):
            apart_mm = float(far_mm[around == other].min())
            if apart_mm <= SAME_PLACE_MM:
                found.append((apart_mm, int(other) - 1, number))
    pairs: list[tuple[int, int]] = []
    for _, one, other in sorted(found):
        if all(one != first and other != second for first, second in pairs):
            pairs.append((one, other))
    return pairs


def _groups(linked: NDArray[np.bool_]) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """The connected groups of a table of links, as numbers from 1; current ones in order, then what vanished."""
    priors, currents = linked.shape
    groups: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    seen: set[int] = set()
    for start in range(currents):
        if start in seen:
            continue
        rows: set[int] = set()
        columns = {start}
        while True:
            more_rows = {int(n) for n in np.flatnonzero(linked[:, sorted(columns)].any(axis=1))}
            more_columns = columns | {int(n) for n in np.flatnonzero(linked[sorted(more_rows)].any(axis=0))}
            if more_rows == rows and more_columns == columns:
                break
            rows, columns = more_rows, more_columns
        seen |= columns
        groups.append((tuple(n + 1 for n in sorted(rows)), tuple(n + 1 for n in sorted(columns))))
    groups.extend(((n + 1,), ()) for n in range(priors) if not linked[n].any())
    return tuple(groups)


def _kind(priors: tuple[int, ...], currents: tuple[int, ...]) -> ChangeKind:
    if not priors:
        return "new"
    if not currents:
        return "vanished"
    if len(priors) > 1:
        return "merged" if len(currents) == 1 else "regrouped"
    return "matched" if len(currents) == 1 else "split"


def _numbered(instances: Sequence[Instance], geometry: Geometry) -> NDArray[np.uint16]:
    numbers = np.zeros(geometry.shape, dtype=np.uint16)
    for instance in instances:
        numbers[instance.component.box][instance.component.mask] = instance.number
    return numbers


def _sizes(visit: Visit, label: str, numbers: tuple[int, ...]) -> tuple[float, float]:
    """Volume in ml and longest axial diameter in mm, summed over findings of these numbers."""
    chosen = [f for f in visit.findings if f.label.name == label and f.instance in numbers]
    if len(chosen) != len(numbers):
        raise InputError(
            f"findings of {label} are missing: {len(chosen)} of {numbers}. Measure mask and findings alike."
        )
    volume_ml = sum(finding.value("volume") or 0.0 for finding in chosen)
    return volume_ml, sum(finding.value("longest_axial_diameter") or 0.0 for finding in chosen)
