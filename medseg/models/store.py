"""Where models are found: by their folder, by their name if they come with medseg, by alias in a registry."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from medseg.core.errors import StoreError
from medseg.models.bundle import LISTING
from medseg.models.inference.ensemble import ENSEMBLE, Model, load_folder
from medseg.models.registry.registry import Registry


def shipped_models() -> tuple[str, ...]:
    """Names of the models that come with medseg, in alphabetical order."""
    folder = Path(str(files("medseg.shipped_models")))
    return tuple(sorted(entry.name for entry in folder.iterdir() if (entry / LISTING).is_file()))


def find_model(name_or_path: str | Path) -> Path:
    """The folder of a bundle or ensemble at a path, of a shipped name, or of champion@FOLDER, FOLDER a registry.

    In place of champion may stand any alias, a number, or the first digits of a hash. Raises StoreError where there is
    none of these.
    """
    path = Path(name_or_path)
    if (path / LISTING).is_file() or (path / ENSEMBLE).is_file():
        return path
    if str(name_or_path) in shipped_models():
        return Path(str(files("medseg.shipped_models"))) / str(name_or_path)
    alias, at, place = str(name_or_path).partition("@")
    if at and place:
        registry = Registry(Path(place))
        return registry.folder_of(registry.version(alias))
    shipped = ", ".join(shipped_models())
    raise StoreError(
        f"{name_or_path} is not a model bundle: it has no {LISTING}, and no ensemble: no {ENSEMBLE}. "
        "Give the folder `model` of a run folder of `medseg train`, champion@FOLDER for the champion of a registry, or "
        f"the name of a shipped model: {shipped}."
    )


def load_model(name_or_path: str | Path) -> Model:
    """The model that `find_model` finds. Raises StoreError where it is missing or altered."""
    return load_folder(find_model(name_or_path))
