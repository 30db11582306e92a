"""What a person should know of a plan before training by it: sentences, from plan and fingerprint."""

from __future__ import annotations

import math

from medseg.training.planning.fingerprint import Fingerprint
from medseg.training.planning.plan import Plan
from medseg.training.planning.targets import TINY_VOXELS, kinds_of_targets

LEAST_VIEW = 0.25
"""A patch that covers less of the median scan than this sees a place without its surroundings: nnU-Net then plans a
cascade, a coarse network before the fine one (Isensee et al. 2021)."""


def advice(plan: Plan, fingerprint: Fingerprint) -> tuple[str, ...]:
    """One sentence or two for each thing that the rules could not settle; empty where there is none."""
    spacing_mm = plan.model.preparation.spacing_mm
    kinds = kinds_of_targets(plan.model.task, fingerprint, spacing_mm)
    absent = [name for name, kind in kinds.items() if kind is None]
    tiny = [name for name, kind in kinds.items() if kind == "tiny"]
    sentences = []
    view = view_of_patch(plan, fingerprint)
    if view < LEAST_VIEW:
        coarser = " x ".join(f"{length * (LEAST_VIEW / view) ** (1 / 3):.2g}" for length in spacing_mm)
        sentences.append(
            f"The patch covers {100 * view:.0f} % of the median scan. Where a label is told by its surroundings, plan "
            f"a coarser spacing: at {coarser} mm the same patch covers {100 * LEAST_VIEW:.0f} %."
        )
    if absent:
        sentences.append(f"No case holds any {_listed(absent)}: the model will never find it.")
    if tiny:
        sentences.append(
            f"{_listed(tiny)} is tiny: most of it lies in pieces of fewer than {TINY_VOXELS} voxels at this spacing. "
            "A finer spacing keeps more of it, where the scans have it."
        )
    return tuple(sentences)


def view_of_patch(plan: Plan, fingerprint: Fingerprint) -> float:
    """The part of the median scan that a patch covers, from 0 to 1."""
    scan = fingerprint.median_shape(plan.model.preparation.spacing_mm)
    return math.prod(min(1.0, side / n) for side, n in zip(plan.model.window.patch, scan, strict=True))


def _listed(names: list[str]) -> str:
    return " and ".join(name.replace("_", " ") for name in names)
