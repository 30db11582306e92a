"""The quality control of a challenger, and what of the champion's a promotion would lose."""

from __future__ import annotations

from pathlib import Path

from medseg.core.errors import InputError, StoreError
from medseg.datasets.manifest import Manifest
from medseg.models.bundle import LISTING, ModelBundle, load_bundle
from medseg.models.inference.device import DeviceName
from medseg.models.inference.ensemble import Model, control_of
from medseg.models.registry.registry import CHAMPION, Registry
from medseg.workflows.models.qualify_model import qualify_model
from medseg.workflows.progress import Progress
from medseg.workflows.retraining.selection import VALIDATION_FOLD

_MEND = "`medseg models qualify` makes one to judge and promote instead."


def qualified(run: Path, manifest: Manifest, device: DeviceName, progress: Progress) -> tuple[Path, ModelBundle, str]:
    """The folder and bundle of a run's model with quality control from its validation side, as RUN/qualified/model.

    Where there are too few scans for one it is RUN/model as it was trained, and the sentence says why; else that is
    empty.
    """
    folder = run / "qualified" / "model"
    if (folder / LISTING).is_file():
        return folder, load_bundle(folder), ""
    try:
        made = qualify_model(run / "model", manifest, VALIDATION_FOLD, folder, device=device, progress=progress)
    except InputError as error:
        return run / "model", load_bundle(run / "model"), f"the challenger has no quality control: {error}"
    return folder, made, ""


def lost_by_promotion(registry: Registry, name: str) -> tuple[str, ...]:
    """A sentence where the champion of a registry has quality control that a version lacks.

    Nothing where there is no champion that can be loaded. Raises StoreError where there is no such version.
    """
    challenger = registry.load(name)
    try:
        return lost_control(registry.load(CHAMPION), challenger)
    except StoreError:
        return ()


def lost_control(champion: Model, challenger: Model) -> tuple[str, ...]:
    """A sentence where results of the challenger would no longer be judged as those of the champion are."""
    had, has = control_of(champion), control_of(challenger)
    if had is not None and has is None:
        lost = "calibrated probabilities, predicted Dice and input gate"
        return (f"the champion has quality control and this model has none: results would lack {lost}. {_MEND}",)
    if had is not None and has is not None and had.predictor is not None and has.predictor is None:
        return (f"the champion predicts the Dice of its results and this model does not. {_MEND}",)
    return ()
