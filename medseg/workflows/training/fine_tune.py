"""Start a training from a bundle's weights: the plan that fits them, and the checkpoint that it goes on from.

A run folder that was started so also holds

    parent.json     the bundle, and which tensors it could not give
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medseg.core.atomic import whole_file
from medseg.core.errors import PlanError
from medseg.models.bundle import ModelBundle, load_bundle
from medseg.models.store import find_model
from medseg.training.cases import PreparedCase
from medseg.training.checkpoint import save_checkpoint
from medseg.training.fine_tune import first_checkpoint, inherit, require_same_network
from medseg.training.planning.ladder import Choice, choice_of
from medseg.training.planning.plan import Plan
from medseg.workflows.progress import Progress


@dataclass(frozen=True, slots=True, eq=False)
class FineTuning:
    """A training that starts from a bundle's weights, by a plan that is given or made."""

    parent: ModelBundle
    wanted: Plan | Choice | None = None

    @property
    def asked(self) -> Plan | Choice:
        """The plan that was given, starting from the parent, or the parent's network with the losses that were named.

        Raises PlanError where the plan is for another network, or starts from another parent.
        """
        if not isinstance(self.wanted, Plan):
            return replace(choice_of(self.parent.spec.network, ()), losses=self.wanted.losses if self.wanted else ())
        require_same_network(self.wanted, self.parent)
        start = self.wanted.training.parent_sha256
        if start not in (None, self.parent.sha256):
            raise PlanError(
                f"the plan starts from the bundle {start}, --from names {self.parent.name} ({self.parent.sha256}). "
                "Name the plan's own, or take its parent_sha256 out."
            )
        training = self.wanted.training.model_copy(update={"parent_sha256": self.parent.sha256})
        return self.wanted.model_copy(update={"training": training})

    def require_start_of(self, plan: Plan, run_folder: Path) -> None:
        """Raise PlanError where the plan of a run folder starts from anything but the parent."""
        start = plan.training.parent_sha256
        if start != self.parent.sha256:
            named = f"from the bundle {start[:12]}" if start else "from fresh weights"
            raise PlanError(
                f"the run in {run_folder} starts {named}, --from names {self.parent.name} ({self.parent.sha256[:12]}). "
                "Take another run folder, or leave out --from to go on with that run."
            )


def fine_tuning(bundle: str | Path, wanted: Plan | Choice | None = None) -> FineTuning:
    """Fine-tuning of a bundle: a folder or a shipped name. Raises StoreError where there is none."""
    return FineTuning(load_bundle(find_model(bundle)), wanted)


def require_parent(wanted: object, run_folder: Path) -> ModelBundle:
    """The bundle that a run starts from. Raises PlanError where it was not named again before the first checkpoint."""
    if not isinstance(wanted, FineTuning):
        raise PlanError(
            f"the plan in {run_folder} starts from the weights of a bundle (parent_sha256). Name it again with --from."
        )
    return wanted.parent


def begin_from(
    parent: ModelBundle, plan: Plan, training: Sequence[PreparedCase], run_folder: Path, progress: Progress
) -> None:
    """Write the checkpoint that the training starts from, and parent.json beside it; tell what starts fresh."""
    inherited = inherit(plan, parent)
    count = len(inherited.weights)
    facts = {"name": parent.name, "sha256": parent.sha256, "tensors": count, "fresh": list(inherited.fresh)}
    with whole_file(run_folder / "parent.json") as unfinished:
        unfinished.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    save_checkpoint(first_checkpoint(plan, training, inherited.weights), run_folder / "checkpoint.safetensors")
    note = f"fresh: {', '.join(inherited.fresh)}" if inherited.fresh else ""
    progress(f"Taking over the weights of {parent.name}", count - len(inherited.fresh), count, note)
