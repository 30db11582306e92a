"""The card of a model: what it is for, what it learned from, what it reached, what it must not be used for."""

from __future__ import annotations

from medseg.core.geometry import format_mm
from medseg.core.report import NOT_FOR_DIAGNOSIS
from medseg.models.bundle import ModelBundle
from medseg.models.quality.dice_prediction import DicePredictor

SHOWN = {"dice": "Dice", "nsd": "NSD", "hd95_mm": "HD95", "volume_difference_ml": "volume difference"}


def model_card(bundle: ModelBundle) -> str:
    """The card as Markdown, after Mitchell et al. 2019 (Model Cards for Model Reporting)."""
    task, origin = bundle.spec.task, bundle.provenance
    channels = ", ".join(f"{channel.name} ({channel.modality})" for channel in task.channels)
    labels = "\n".join(
        f"| {label.index} | {label.name} | {label.code.meaning} ({label.code.scheme} {label.code.value})"
        f"{', ' + label.modifier.meaning if label.modifier else ''} |"
        for label in task.labels
    )
    return f"""# {bundle.name}

{task.title}. {NOT_FOR_DIAGNOSIS}

| | |
|---|---|
| takes | {channels} |
| works at | {format_mm(bundle.spec.preparation.spacing_mm)}, windows of {_times(bundle.spec.window.patch)} voxels |
| network | {bundle.spec.network.kind}, {sum(t.numel() for t in bundle.weights.values()) / 1e6:.1f} million parameters |
| content hash | `{bundle.sha256}` |{_parent(bundle)}
| made | {origin.created:%Y-%m-%d}, medseg {origin.medseg_version}, torch {origin.torch_version}, {origin.machine} |

## Labels

| index | label | code |
|---|---|---|
{labels}

## What it learned from

{len(origin.case_sha256)} cases of the data set {origin.dataset}, each named by its hash in `provenance.json`, in
{origin.epochs} epochs and {_time(origin.training_s)}, seed {origin.seed}. The plan is there too.
Licence of the data: {origin.dataset_licence or "not stated"}.
{"".join(f"{chr(10)}- {citation}" for citation in origin.dataset_citation)}
{_notes(bundle)}
## What it reached

{_scores(bundle)}

## How far a result can be trusted

{_quality(bundle)}

## Limits

It knows scans like those it learned from: other scanners, protocols, ages, diseases and fields of view were not
tested. Nobody has examined it for use on patients.
"""


def _time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _notes(bundle: ModelBundle) -> str:
    """What the data set's manifest says of the data, a paragraph; nothing where it says nothing."""
    notes = bundle.provenance.dataset_notes
    return "\nOf the data:\n" + "".join(f"\n- {note}" for note in notes) + "\n" if notes else ""


def _parent(bundle: ModelBundle) -> str:
    parent = bundle.provenance.parent_sha256
    return f"\n| fine-tuned from | `{parent}` |" if parent else ""


def _scores(bundle: ModelBundle) -> str:
    if bundle.scores is None:
        return "It was not evaluated."
    rows = "\n".join(
        f"| {score.label} | {SHOWN[score.metric]} | {score.mean:.3f}{'' if score.unit == '1' else ' ' + score.unit} "
        f"| {score.interval[0]:.3f} to {score.interval[1]:.3f} | {score.cases} |"
        for score in bundle.scores.scores
        if score.metric in SHOWN
    )
    return f"""On {bundle.scores.dataset}, {bundle.scores.split}; means with 95 % bootstrap intervals.

| label | measure | mean | 95 % interval | cases |
|---|---|---|---|---|
{rows}"""


def _quality(bundle: ModelBundle) -> str:
    known = bundle.quality
    if known is None:
        return """It has no quality control: probabilities are not calibrated, the Dice of a result is not predicted,
and a scan unlike those it learned from is not noticed."""
    return f"""Quality control was fitted on {known.fitted_on}, held out from training.

- Probabilities are calibrated by the temperature {known.temperature:.2f}.
- The input gate knows {known.gate.scans} scans and warns of one that is unlike them.
{_predicts(known.predictor)}"""


def _predicts(predictor: DicePredictor | None) -> str:
    if predictor is None:
        return "- The Dice of a result is not predicted: the held-out cases were too few."
    held = (
        "too few to halve and see how often that holds"
        if predictor.held is None
        else f"fitted on half of them, such intervals held the Dice of {predictor.held:.1%} of the other half"
    )
    within = f"within {predictor.half_width:.3f} in {predictor.coverage:.0%} of cases"
    return f"""- The Dice of a result is predicted {within}, by {predictor.cases} cases left out one at a time;
  {held}."""


def _times(sides: tuple[int, ...]) -> str:
    return " x ".join(map(str, sides))
