"""What kind of target each label is, and what follows: losses, sampling. Pure rules, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from medseg.core.errors import PlanError
from medseg.core.geometry import Shape, Spacing
from medseg.core.task import Task
from medseg.training.losses.centreline_dice import CentrelineDiceConfig
from medseg.training.losses.weighted_sum import LossConfig
from medseg.training.planning.fingerprint import CaseFacts, Fingerprint
from medseg.training.planning.label_facts import LabelFacts
from medseg.training.planning.ladder import LossName, choose_losses

TargetKind = Literal["blob", "tube", "tiny"]
"""Something to be covered; something thin to be kept whole; something to be found at all."""

DEFAULT_LOSSES: tuple[LossName, ...] = ("dice", "focal")

TUBULAR = 0.4
"""Filamentarity from which a structure is a tube: in an atlas of the abdomen arteries, veins, ureters and ribs lie
mostly above, compact organs below. A straight tube reaches it at a length of some six diameters."""

THIN_VOXELS = 4.0
"""Radius up to which a tube can be broken by a voxel or two; overlap keeps a wider one whole."""

TINY_VOXELS = 64
"""4 x 4 x 4: halved twice, as every network here does, less than one voxel of it is left."""

SHARE_OF_EMPTY_BATCHES = 0.05
"""So many batches may hold no label: there is no overlap to learn from in them."""

LEAST_FOREGROUND, MOST_FOREGROUND = 0.66, 0.8
"""Bounds of the part of patches that is put on a label: a fifth at least shows what is not to be found."""

TRUNK = 1.5
"""The widest part of a tree of tubes in its mean radius by volume."""

FEWEST_ITERATIONS, MOST_ITERATIONS = 2, 8
"""Of the soft skeleton: each costs time in every step."""


def kind_of_target(facts: Sequence[LabelFacts], spacing_mm: Spacing) -> TargetKind | None:
    """The kind of a label from its facts in the cases that have it, at the planned spacing; None without a case."""
    if not facts:
        return None
    typical_ml = [fact.typical_component_ml for fact in facts if fact.typical_component_ml is not None]
    if float(np.median(typical_ml)) * 1000 / math.prod(spacing_mm) < TINY_VOXELS:
        return "tiny"
    tubularity = _median([fact.tubularity for fact in facts])
    planarity = _median([fact.planarity for fact in facts])
    if tubularity >= max(TUBULAR, planarity) and _radius_voxels(facts, spacing_mm) <= THIN_VOXELS:
        return "tube"
    return "blob"


def kinds_of_targets(task: Task, fingerprint: Fingerprint, spacing_mm: Spacing) -> dict[str, TargetKind | None]:
    """The kind of each label of the task, by name; None for one that no case has any of."""
    return {
        label.name: kind_of_target(fingerprint.facts_of_label(number), spacing_mm)
        for number, label in enumerate(task.labels)
    }


def choose_target_losses(
    task: Task, fingerprint: Fingerprint, spacing_mm: Spacing, wanted: Sequence[LossName] = ()
) -> tuple[LossConfig, ...]:
    """The losses that were named, or those for the kinds of target: Dice and focal, centreline Dice for thin tubes.

    Centreline Dice that the planner adds looks at the tubes alone; what else there is has no centreline to keep.
    Dice, pooled over the batch, asks the same of a small label as of a large one, and focal looks away from the many
    voxels that are easy: both serve tiny targets too. Raises PlanError where no case has any foreground, which every
    loss needs, or where the losses named cannot train a network.
    """
    kinds = kinds_of_targets(task, fingerprint, spacing_mm)
    if not any(kinds.values()):
        raise PlanError(
            f"none of the {len(fingerprint.cases)} cases holds a single voxel of {', '.join(kinds)}: every loss needs "
            "foreground to learn from. Do the values of the masks mean this task's labels?"
        )
    iterations = choose_skeleton_iterations(task, fingerprint, spacing_mm)
    tubes = tuple((number,) for number, kind in enumerate(kinds.values(), start=1) if kind == "tube")
    if not wanted:
        losses = choose_losses(DEFAULT_LOSSES, spacing_mm, task.overlap_classes)
        return (*losses, CentrelineDiceConfig(iterations=iterations, regions=tubes)) if tubes else losses
    return tuple(
        loss.model_copy(update={"iterations": iterations}) if isinstance(loss, CentrelineDiceConfig) else loss
        for loss in choose_losses(wanted, spacing_mm, task.overlap_classes)
    )


def choose_skeleton_iterations(task: Task, fingerprint: Fingerprint, spacing_mm: Spacing) -> int:
    """Erosions of the soft skeleton: as many as the widest thin tube has voxels of radius (Shit et al. 2021).

    Where nothing is a tube, the fewest.
    """
    radii = [
        _radius_voxels(facts, spacing_mm)
        for number in range(len(task.labels))
        if kind_of_target(facts := fingerprint.facts_of_label(number), spacing_mm) == "tube"
    ]
    return min(MOST_ITERATIONS, max([FEWEST_ITERATIONS, *(math.ceil(TRUNK * radius) for radius in radii)]))


def choose_foreground_fraction(fingerprint: Fingerprint, spacing_mm: Spacing, patch: Shape, batch_size: int) -> float:
    """The part of patches put on a label, so that all but a few batches hold one; two thirds at least.

    A patch put anywhere may show a label by chance, with probability p (the mean over the cases): a batch of b patches
    is empty with ((1 - f) (1 - p)) ** b.
    """
    with_labels = [case for case in fingerprint.cases if case.foreground_box is not None]
    by_chance = float(np.mean([chance_of_foreground(case, spacing_mm, patch) for case in with_labels] or [0.0]))
    if by_chance >= 1:
        return LEAST_FOREGROUND
    needed = 1 - float(SHARE_OF_EMPTY_BATCHES ** (1 / batch_size)) / (1 - by_chance)
    return round(min(MOST_FOREGROUND, max(LEAST_FOREGROUND, needed)), 2)


def chance_of_foreground(case: CaseFacts, spacing_mm: Spacing, patch: Shape) -> float:
    """How likely a patch put anywhere in the scan overlaps the box around its labels, along all axes; 0 without any."""
    if case.foreground_box is None:
        return 0.0
    chance = 1.0
    for axis in range(3):
        scale = case.spacing_mm[axis] / spacing_mm[axis]
        first, beyond = (case.foreground_box[end][axis] * scale for end in (0, 1))
        room = max(0.0, case.shape[axis] * scale - patch[axis])
        if room > 0:
            # The patch begins somewhere in [0, room] and overlaps from (first - patch) to the box's end.
            chance *= max(0.0, min(room, beyond) - max(0.0, first - patch[axis])) / room
    return chance


def _radius_voxels(facts: Sequence[LabelFacts], spacing_mm: Spacing) -> float:
    return _median([fact.tube_radius_mm for fact in facts]) / min(spacing_mm)


def _median(values: Sequence[float | None]) -> float:
    """The median of what is known; 0 where nothing is."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else 0.0
