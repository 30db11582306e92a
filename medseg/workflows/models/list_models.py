"""Which models can be run here: those that come with medseg and those below a folder, with what is known of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from medseg.core.errors import StoreError
from medseg.models.bundle import LISTING, Score
from medseg.models.inference.ensemble import ENSEMBLE, Ensemble, Model, members_of
from medseg.models.registry.registry import CHAMPION, Registry, is_registry
from medseg.models.store import find_model, load_model, shipped_models

DEEPEST = 4
"""Folders below the chosen one in which models are looked for; a run's model lies two deep."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model: its place, its identity, what it is for, and what it reached; `problem` says why it cannot be run.

    `is_champion` says that a registry of the folder takes it for its champion.
    """

    name: str
    path: Path
    sha256: str = ""
    task: str = ""
    channels: tuple[str, ...] = ()
    modality: str = ""
    labels: tuple[str, ...] = ()
    network: str = ""
    created: datetime | None = None
    dataset: str = ""
    licence: str = ""
    training_cases: int = 0
    parent_sha256: str = ""
    scores: tuple[Score, ...] = ()
    scored_on: str = ""
    card: str = ""
    is_shipped: bool = False
    is_champion: bool = False
    problem: str = ""


def list_models(folder: Path | None = None) -> tuple[ModelEntry, ...]:
    """The shipped models, then those below the folder in order of their places; each once, by its identity.

    An alias of a registry is listed in any case: who asks for the champion must find it, whatever else it is called.
    """
    found = [_entry(find_model(name), name, is_shipped=True) for name in shipped_models()]
    aliases: set[str] = set()
    if folder is not None:
        for path in sorted(_places(folder, DEEPEST)):
            if is_registry(path):
                found += [_entry(place, name, is_shipped=False) for name, place in _registered(path, folder)]
                aliases |= {f"{name}{_at(path, folder)}" for name in Registry(path).aliases()}
            else:
                found.append(_entry(path, _name(path, folder), is_shipped=False))
    shown, known = [], set()
    for entry in found:
        identity = entry.sha256 or str(entry.path)
        if identity not in known or entry.name in aliases:
            shown.append(entry)
        known.add(identity)
    champions = {entry.sha256 for entry in found if entry.name.split("@")[0] == CHAMPION and entry.sha256}
    return tuple(replace(entry, is_champion=entry.sha256 in champions) for entry in shown)


def model_named(name: str, folder: Path | None = None) -> ModelEntry:
    """The model of that name. Raises StoreError where there is none, or it cannot be run."""
    for entry in list_models(folder):
        if entry.name == name:
            if entry.problem:
                raise StoreError(entry.problem)
            return entry
    raise StoreError(f"there is no model {name!r} here; reload the page to see those that there are")


def _places(folder: Path, depth: int) -> list[Path]:
    if (folder / LISTING).is_file() or (folder / ENSEMBLE).is_file() or is_registry(folder):
        return [folder]
    if depth == 0 or not folder.is_dir():
        return []
    try:
        children = [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except FileNotFoundError:  # somebody has just removed it
        return []
    return [place for child in children for place in _places(child, depth - 1)]


def _registered(registry: Path, folder: Path) -> list[tuple[str, Path]]:
    """The models of a registry by their aliases, then by their numbers: champion@REGISTRY, 3@REGISTRY."""
    models = Registry(registry)
    at = _at(registry, folder)
    names = [*models.aliases(), *(str(version.number) for version in reversed(models.versions()))]
    return [(f"{name}{at}", place) for name in names if (place := _place_in(models, name)) is not None]


def _at(registry: Path, folder: Path) -> str:
    return "" if registry == folder else f"@{registry.relative_to(folder).as_posix()}"


def _place_in(registry: Registry, name: str) -> Path | None:
    try:
        return registry.folder_of(registry.version(name))
    except StoreError:  # it cannot be run, and others can
        return None


def _name(path: Path, folder: Path) -> str:
    """A run's model is called after the run."""
    relative = path.relative_to(folder) if path != folder else Path(path.name)
    return (relative.parent if relative.name == "model" and len(relative.parts) > 1 else relative).as_posix()


def _entry(path: Path, name: str, *, is_shipped: bool) -> ModelEntry:
    listing = path / ENSEMBLE if (path / ENSEMBLE).is_file() else path / LISTING
    return _read(path, name, is_shipped, listing.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: Path, name: str, is_shipped: bool, _written_ns: int) -> ModelEntry:
    try:
        model = load_model(path)
    except StoreError as error:
        return ModelEntry(name, path, is_shipped=is_shipped, problem=str(error))
    return _described(model, path, name, is_shipped=is_shipped)


def _described(model: Model, path: Path, name: str, *, is_shipped: bool) -> ModelEntry:
    task, members = model.spec.task, members_of(model)
    origin = members[0].provenance
    networks = ", ".join(sorted({member.spec.network.kind for member in members}))
    return ModelEntry(
        name=name,
        path=path,
        sha256=model.sha256,
        task=task.title,
        channels=tuple(channel.name for channel in task.channels),
        modality=", ".join(channel.modality for channel in task.channels),
        labels=tuple(label.name for label in task.labels),
        network=f"{len(members)} x {networks}" if isinstance(model, Ensemble) else networks,
        created=origin.created,
        dataset=origin.dataset,
        licence=origin.dataset_licence,
        training_cases=len(origin.case_sha256),
        parent_sha256=origin.parent_sha256 or "",
        scores=model.scores.scores if model.scores else (),
        scored_on=f"{model.scores.dataset}, {model.scores.split}" if model.scores else "",
        card=_card(path),
        is_shipped=is_shipped,
    )


def _card(path: Path) -> str:
    file = path / "card.md"
    return file.read_text(encoding="utf-8") if file.is_file() else ""
