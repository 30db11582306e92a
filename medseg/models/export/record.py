"""What an exported model says of itself: the same facts in every format."""

from __future__ import annotations

import json

from medseg.core.report import NOT_FOR_DIAGNOSIS
from medseg.models.bundle import ModelBundle
from medseg.models.spec import ModelSpec, to_toml


def export_record(bundle: ModelBundle) -> dict[str, str]:
    """Which bundle it is, how scans are prepared for it (the whole spec), and what its channels and classes mean.

    `medseg.classes` is a JSON list in order of the network's outputs; `mask_value` is what medseg writes for the class.
    """
    classes = [{"name": "background", "mask_value": 0}] + [
        {"name": label.name, "mask_value": label.index, "code": f"{label.code.scheme} {label.code.value}"}
        for label in bundle.spec.task.labels
    ]
    channels = [channel.model_dump(mode="json") for channel in bundle.spec.task.channels]
    return {
        "medseg.bundle": bundle.name,
        "medseg.bundle_sha256": bundle.sha256,
        "medseg.version": bundle.provenance.medseg_version,
        "medseg.spec_toml": to_toml(bundle.spec),
        "medseg.channels": json.dumps(channels),
        "medseg.classes": json.dumps(classes),
        "medseg.use": NOT_FOR_DIAGNOSIS,
    }


def not_carried(spec: ModelSpec) -> tuple[str, ...]:
    """What the bundle does that an exported network does not, a sentence each; empty where nothing is lost."""
    notes = []
    if spec.window.mirror_axes:
        axes = ", ".join("ijk"[axis] for axis in spec.window.mirror_axes)
        notes.append(f"medseg also looks at each window mirrored along {axes} and averages; the export does not.")
    if spec.refinement:
        steps = ", ".join(step.kind for step in spec.refinement)
        notes.append(f"medseg refines the probabilities afterwards ({steps}); the export does not.")
    return tuple(notes)
