"""A trained model as a folder: weights, specification, provenance, scores. No pickle, no code, nothing executable.

    NAME/
      bundle.json           format version, name, and the sha256 of every other file
      weights.safetensors   the network's parameters
      spec.toml             ModelSpec
      provenance.json       where it comes from
      scores.json           what it reached, on which cases; may be missing
      quality.json          how far its results can be trusted; may be missing

The bundle's identity is the hash of bundle.json's list of hashes: change a byte anywhere and it is another model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from medseg.core.atomic import whole_folder
from medseg.core.errors import PlanError, StoreError
from medseg.core.task import first_problem
from medseg.models.quality.control import QualityControl
from medseg.models.spec import ModelSpec, from_toml, to_toml

WEIGHTS, SPEC, PROVENANCE, SCORES = "weights.safetensors", "spec.toml", "provenance.json", "scores.json"
QUALITY = "quality.json"
LISTING = "bundle.json"
LARGEST_TEXT_BYTES = 64 * 2**20


class Provenance(BaseModel):
    """Where a model comes from; `case_sha256` names each training case by the hash of what was learned from it.

    `parent_sha256` is the identity of the bundle that it was fine-tuned from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    created: datetime
    medseg_version: str
    torch_version: str
    machine: str
    dataset: str
    dataset_licence: str = ""
    dataset_citation: tuple[str, ...] = ()
    dataset_notes: tuple[str, ...] = ()
    """What to know of the data, as its manifest says it."""
    plan_toml: str
    parent_sha256: str | None = None
    seed: int
    epochs: int
    training_s: float
    case_sha256: dict[str, str]


class Score(BaseModel):
    """The mean of one metric of one label over test cases, with its 95 % interval; unit 1 for ratios."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    label: str
    unit: str
    mean: float
    interval: tuple[float, float]
    cases: int


class Scores(BaseModel):
    """What a model reached, and on which cases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    split: str
    scores: tuple[Score, ...]


class _Listing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str
    sha256: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class ModelBundle:
    """A model ready to be run; `sha256` is its identity."""

    name: str
    sha256: str
    spec: ModelSpec
    weights: dict[str, Tensor]
    provenance: Provenance
    scores: Scores | None
    quality: QualityControl | None = None


def save_bundle(
    folder: Path,
    spec: ModelSpec,
    weights: dict[str, Tensor],
    provenance: Provenance,
    scores: Scores | None,
    quality: QualityControl | None = None,
) -> ModelBundle:
    """The bundle written to the folder, whole or not at all; an older bundle there is replaced."""
    contents = {
        WEIGHTS: safetensors.torch.save({name: tensor.contiguous() for name, tensor in weights.items()}),
        SPEC: to_toml(spec).encode(),
        PROVENANCE: provenance.model_dump_json(indent=1, exclude_none=True).encode(),
    }
    if scores is not None:
        contents[SCORES] = scores.model_dump_json(indent=1).encode()
    if quality is not None:
        contents[QUALITY] = quality.model_dump_json(indent=1).encode()
    listing = _Listing(name=folder.name, sha256={name: _sha256(data) for name, data in sorted(contents.items())})
    with whole_folder(folder) as unfinished:
        for name, data in contents.items():
            (unfinished / name).write_bytes(data)
        (unfinished / LISTING).write_text(listing.model_dump_json(indent=1))
    return ModelBundle(folder.name, _identity(listing), spec, weights, provenance, scores, quality)


def load_bundle(folder: Path) -> ModelBundle:
    """The bundle in a folder. Raises StoreError where it is missing, from another format, or not as it was saved."""
    listing = _read_listing(folder)
    contents: dict[str, bytes] = {}
    for name, expected in listing.sha256.items():
        if name not in (WEIGHTS, SPEC, PROVENANCE, SCORES, QUALITY):
            raise StoreError(f"the bundle {folder} lists an unknown file {name!r}; it may be from a newer medseg")
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise StoreError(
                f"the bundle {folder} lacks its file {name}. Copy the bundle again from where it was made."
            )
        contents[name] = path.read_bytes()
        if _sha256(contents[name]) != expected:
            raise StoreError(
                f"the bundle {folder} has been altered: {name} does not have the hash it was saved with. "
                "Copy the bundle again from where it was made."
            )
    try:
        return ModelBundle(
            name=listing.name,
            sha256=_identity(listing),
            spec=from_toml(ModelSpec, contents[SPEC].decode(), str(folder / SPEC)),
            weights=safetensors.torch.load(contents[WEIGHTS]),
            provenance=Provenance.model_validate_json(contents[PROVENANCE]),
            scores=Scores.model_validate_json(contents[SCORES]) if SCORES in contents else None,
            quality=QualityControl.model_validate_json(contents[QUALITY]) if QUALITY in contents else None,
        )
    except KeyError as error:
        raise StoreError(f"the bundle {folder} does not list its file {error.args[0]}") from error
    except (PlanError, ValidationError, UnicodeDecodeError, safetensors.SafetensorError) as error:
        reason = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise StoreError(f"the bundle {folder} cannot be read: {reason}") from error


def _read_listing(folder: Path) -> _Listing:
    path = folder / LISTING
    if not path.is_file():
        raise StoreError(
            f"{folder} is not a model bundle: it has no {LISTING}. "
            "A bundle is the folder `model` that `medseg train` writes into its run folder."
        )
    if path.stat().st_size > LARGEST_TEXT_BYTES:
        raise StoreError(f"{path} is too large to be a bundle's listing")
    try:
        return _Listing.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StoreError(f"{path} is not a bundle listing this medseg knows: {first_problem(error)}") from error


def _identity(listing: _Listing) -> str:
    return _sha256(json.dumps(listing.sha256, sort_keys=True).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
