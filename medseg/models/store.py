"""Where models are found: a bundle or an ensemble by its folder, or one that comes with medseg by its name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from medseg.core.errors import StoreError
from medseg.models.bundle import LISTING, load_bundle
from medseg.models.ensemble import ENSEMBLE, Model, load_ensemble


def shipped_models() -> tuple[str, ...]:
    """Names of the models that come with medseg, in alphabetical order."""
    folder = Path(str(files("medseg.shipped_models")))
    return tuple(sorted(entry.name for entry in folder.iterdir() if (entry / LISTING).is_file()))


def find_model(name_or_path: str | Path) -> Path:
    """The folder of a bundle or ensemble at a path, or of a shipped name. Raises StoreError where there is neither."""
    path = Path(name_or_path)
    if (path / LISTING).is_file() or (path / ENSEMBLE).is_file():
        return path
    if str(name_or_path) in shipped_models():
        return Path(str(files("medseg.shipped_models"))) / str(name_or_path)
    shipped = ", ".join(shipped_models())
    raise StoreError(
        f"{name_or_path} is not a model bundle: it has no {LISTING}, and no ensemble: no {ENSEMBLE}. "
        f"Give the folder `model` of a run folder of `medseg train`, or the name of a shipped model: {shipped}."
    )


def load_model(name_or_path: str | Path) -> Model:
    """The bundle or ensemble at a path or of a shipped name. Raises StoreError where it is missing or altered."""
    folder = find_model(name_or_path)
    return load_ensemble(folder) if (folder / ENSEMBLE).is_file() else load_bundle(folder)
