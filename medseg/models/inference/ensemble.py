"""Several models as one: their class probabilities averaged within each window, and the folder that keeps them.

    NAME/
      ensemble.json    format version, each member's folder and content hash, the sha256 of scores.json
      scores.json      what is known of it, on which cases; may be missing
      fold_0/          a model bundle
      fold_1/          ...

The ensemble's identity is the hash of ensemble.json's lists: another member, or another score, is another ensemble.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from medseg.core.atomic import whole_folder
from medseg.core.errors import StoreError
from medseg.core.task import first_problem
from medseg.models.bundle import LARGEST_TEXT_BYTES, SCORES, ModelBundle, Scores, load_bundle, save_bundle
from medseg.models.quality.control import QualityControl
from medseg.models.spec import ModelSpec

ENSEMBLE = "ensemble.json"

SHARED_FIELDS = ("task", "preparation", "window", "refinement")
"""What all members have in common, so that one window of a prepared scan can be shown to each; networks may differ."""

FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]

LONGEST_SHOWN = 80
"""Values of a field that differs are named in the message where they are no longer than this."""


class _Listing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    members: dict[FolderName, str] = Field(min_length=1)
    scores_sha256: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Models that answer together; `sha256` is the identity, members stand in the order of their folders' names."""

    name: str
    sha256: str
    members: tuple[ModelBundle, ...]
    scores: Scores | None

    @property
    def spec(self) -> ModelSpec:
        """What the members share; its network is the first member's."""
        return self.members[0].spec


Model = ModelBundle | Ensemble
"""Whatever can be given as `--model`."""


def members_of(model: Model) -> tuple[ModelBundle, ...]:
    """The bundles whose answers are averaged; a bundle stands for itself."""
    return model.members if isinstance(model, Ensemble) else (model,)


def control_of(model: Model) -> QualityControl | None:
    """The quality control by which the model's results are judged; an ensemble has none."""
    return model.quality if isinstance(model, ModelBundle) else None


def make_ensemble(name: str, members: Mapping[str, ModelBundle], scores: Scores | None = None) -> Ensemble:
    """The ensemble of bundles, each under the name of its folder; the order in which they are given does not matter.

    Raises StoreError where there is none, where one is there twice, or where two cannot be run together.
    """
    ordered = dict(sorted(members.items()))
    listing = _listing_of(ordered, scores)
    _require_alike(ordered)
    return Ensemble(name, _identity(listing), tuple(ordered.values()), scores)


def save_ensemble(folder: Path, members: Mapping[str, ModelBundle], scores: Scores | None = None) -> Ensemble:
    """The ensemble written to the folder, whole or not at all; an older one there is replaced.

    Raises StoreError as `make_ensemble` does.
    """
    listing = _listing_of(members, scores)  # checks the names before folders are made of them
    with whole_folder(folder) as unfinished:
        saved = {
            name: save_bundle(
                unfinished / name, member.spec, member.weights, member.provenance, member.scores, member.quality
            )
            for name, member in ((name, members[name]) for name in listing.members)
        }
        ensemble = make_ensemble(folder.name, saved, scores)
        (unfinished / ENSEMBLE).write_text(_listing_of(saved, scores).model_dump_json(indent=1), encoding="utf-8")
        if scores is not None:
            (unfinished / SCORES).write_bytes(_scores_bytes(scores))
    return ensemble


def load_ensemble(folder: Path) -> Ensemble:
    """The ensemble in a folder. Raises StoreError where it or a member is missing, strange, or not as it was saved."""
    listing = _read_listing(folder)
    members: dict[str, ModelBundle] = {}
    for name, expected in sorted(listing.members.items()):
        path = folder / name
        if path.is_symlink() or not path.is_dir():
            raise StoreError(f"the ensemble {folder} lacks its member {name}. Copy it again from where it was made.")
        members[name] = load_bundle(path)
        if members[name].sha256 != expected:
            raise StoreError(
                f"the ensemble {folder} has been altered: its member {name} is the model {members[name].sha256[:12]}, "
                f"not {expected[:12]} as listed. Copy the ensemble again from where it was made."
            )
    _require_alike(members)
    scores = _read_scores(folder, listing.scores_sha256)
    return Ensemble(folder.resolve().name, _identity(listing), tuple(members.values()), scores)


def load_folder(folder: Path) -> Model:
    """The bundle or ensemble in a folder. Raises StoreError where it is neither, or altered."""
    return load_ensemble(folder) if (folder / ENSEMBLE).is_file() else load_bundle(folder)


class MeanNetwork(nn.Module):
    """Networks as one, whose softmax is the mean of theirs: one window's sum is kept, however many they are."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The logarithm (batch, class, i, j, k) float32 of the mean probabilities, as the one head."""
        answers = (network(images)[0].float().softmax(dim=1) for network in self.networks)
        total = next(answers)
        for probabilities in answers:
            total += probabilities
        return [torch.log(total / len(self.networks))]


def _require_alike(members: Mapping[str, ModelBundle]) -> None:
    """Raise StoreError where a member is there twice, or cannot be shown the windows of the first."""
    (first_name, first), *others = members.items()
    seen = {first.sha256: first_name}
    for name, other in others:
        if other.sha256 in seen:
            raise StoreError(
                f"{seen[other.sha256]} and {name} are the same model; it would count twice. Leave out one."
            )
        seen[other.sha256] = name
        for field in SHARED_FIELDS:
            if getattr(first.spec, field) != getattr(other.spec, field):
                raise StoreError(
                    f"the models {first_name} and {name} cannot answer together: their {field} differs"
                    f"{_where(first.spec, other.spec, field)}. Take models that were trained from one plan."
                )


def _where(first: ModelSpec, other: ModelSpec, field: str) -> str:
    """The first part of the field that differs, with both values where they are short; empty for a list of steps."""
    mine, theirs = (spec.model_dump(mode="json")[field] for spec in (first, other))
    if not isinstance(mine, dict):
        return ""
    part = next(key for key in mine if mine[key] != theirs[key])
    shown = f" ({mine[part]} and {theirs[part]})"
    return f" in {part}" + (shown if len(shown) < LONGEST_SHOWN else "")


def _listing_of(members: Mapping[str, ModelBundle], scores: Scores | None) -> _Listing:
    try:
        return _Listing(
            members={name: member.sha256 for name, member in sorted(members.items())},
            scores_sha256=hashlib.sha256(_scores_bytes(scores)).hexdigest() if scores is not None else None,
        )
    except ValidationError as error:
        raise StoreError(f"an ensemble is a model bundle or more, each in a folder: {first_problem(error)}") from error


def _scores_bytes(scores: Scores) -> bytes:
    return scores.model_dump_json(indent=1).encode()


def _identity(listing: _Listing) -> str:
    return hashlib.sha256(json.dumps(listing.model_dump(), sort_keys=True).encode()).hexdigest()


def _read_listing(folder: Path) -> _Listing:
    path = folder / ENSEMBLE
    if not path.is_file():
        raise StoreError(f"{folder} is not an ensemble: it has no {ENSEMBLE}. `medseg cross-validate` writes one.")
    if path.stat().st_size > LARGEST_TEXT_BYTES:
        raise StoreError(f"{path} is too large to be an ensemble's listing")
    try:
        return _Listing.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StoreError(f"{path} is not an ensemble this medseg knows: {first_problem(error)}") from error


def _read_scores(folder: Path, expected_sha256: str | None) -> Scores | None:
    if expected_sha256 is None:
        return None
    path = folder / SCORES
    if path.is_symlink() or not path.is_file():
        raise StoreError(f"the ensemble {folder} lacks its file {SCORES}. Copy it again from where it was made.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != expected_sha256:
        raise StoreError(f"the ensemble {folder} has been altered: {SCORES} is not as it was saved. Copy it again.")
    try:
        return Scores.model_validate_json(data)
    except ValidationError as error:
        raise StoreError(f"the scores of the ensemble {folder} cannot be read: {first_problem(error)}") from error
