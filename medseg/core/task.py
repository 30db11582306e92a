"""Task: one clinical question, as data: what goes in, which labels come out, what is measured.

A task is one TOML file; those that medseg ships lie in `medseg/tasks/`.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medseg.core.errors import InputError
from medseg.core.labels import IGNORED_CLASS, Label, LabelSchema
from medseg.core.study import Modality

MeasurementKind = Literal["volume", "diameters", "shape", "intensity", "uptake", "blockages"]
"""What is measured of a finding: ml; mm in the axial plane and in space; surface and sphericity; mean, SD and maximum;
SUVpeak, metabolic volume and total lesion glycolysis of PET; and blockages of the vessels, each a finding."""


BodyRegion = Literal["head", "neck", "chest", "abdomen", "pelvis", "arm", "leg"]
"""A part of the body as fields of view are named; the spine is where its vertebrae are."""


class Channel(BaseModel):
    """One image that goes into the network, and the modality it must have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    modality: Modality


class Window(BaseModel):
    """The grey range an image is first shown in, in the unit of its voxels (PS3.3 C.11.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    centre: float
    width: float = Field(gt=0)


class Region(BaseModel):
    """Several labels seen as one structure, as a whole tumour is its parts; regions may overlap."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    labels: tuple[str, ...] = Field(min_length=1)


class Task(BaseModel):
    """A clinical question: its channels, its labels, and what is measured of each finding.

    `window` is None where a fixed grey range means nothing (MR): the scan's percentiles serve. Connected pieces of a
    counted label that are smaller than `min_finding_ml` are not findings. Where `split_depth_mm` is given, touching
    findings are parted at a neck that is narrower than both by that much; left out, what touches is one finding, which
    is safer for lobed tumours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = Field(min_length=1)
    channels: tuple[Channel, ...] = Field(min_length=1)
    labels: tuple[Label, ...] = Field(min_length=1, max_length=IGNORED_CLASS - 1)
    ignored_index: int | None = Field(default=None, ge=1, le=65535)
    """The value of voxels in reference masks that nobody judged: nothing is learned from them, nothing scored there."""
    body_regions: tuple[BodyRegion, ...] = ()
    """The fields of view that may show the labels, a neighbour's too where scans go beyond theirs; empty: any."""
    regions: tuple[Region, ...] = ()
    """What overlap is trained and scored for where labels are parts of larger structures, as in BraTS."""
    measurements: tuple[MeasurementKind, ...] = ("volume",)
    window: Window | None = None
    min_finding_ml: float = Field(default=0.0, ge=0)
    split_depth_mm: float | None = Field(default=None, gt=0)
    surface_tolerance_mm: float = Field(default=2.0, gt=0)
    """Two outlines no further apart than this count as agreeing: about what two experts differ by."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [channel.name for channel in self.channels]
        if len(set(names)) != len(names):
            raise ValueError(f"channel name used more than once: {', '.join(names)}")
        LabelSchema(labels=self.labels, ignored=self.ignored_index)
        return self

    @model_validator(mode="after")
    def _regions_are_of_labels(self) -> Self:
        labels = [label.name for label in self.labels]
        names = labels + [region.name for region in self.regions]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{name!r} names more than one label or region; a region of one label needs its own name")
        for region in self.regions:
            for name in region.labels:
                if name not in labels:
                    raise ValueError(f"region {region.name!r} names {name!r}; the labels are {', '.join(labels)}")
                if region.labels.count(name) > 1:
                    raise ValueError(f"region {region.name!r} names the label {name!r} more than once")
        return self

    @property
    def overlap_classes(self) -> tuple[tuple[int, ...], ...] | None:
        """The class numbers of each structure whose overlap counts: the regions, and labels that none of them names.

        A class number counts the labels from 1, whatever their index. None without regions: each label by itself.
        """
        if not self.regions:
            return None
        number = {label.name: n for n, label in enumerate(self.labels, start=1)}
        named = {name for region in self.regions for name in region.labels}
        alone = [(n,) for name, n in number.items() if name not in named]
        return (*(tuple(sorted(number[name] for name in region.labels)) for region in self.regions), *alone)

    @property
    def label_schema(self) -> LabelSchema:
        """The labels as the schema of the task's masks."""
        return LabelSchema(labels=self.labels, ignored=self.ignored_index)


def shipped_tasks() -> tuple[str, ...]:
    """Names of the tasks that come with medseg, in alphabetical order."""
    return tuple(
        sorted(entry.name[: -len(".toml")] for entry in files("medseg.tasks").iterdir() if entry.name.endswith(".toml"))
    )


def load_task(name_or_path: str | Path) -> Task:
    """The task of a shipped name, or of a TOML file. Raises InputError where there is none or it is not valid."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(f"task file {path} does not exist")
        return parse_task(path.read_text(encoding="utf-8"), str(path))
    if str(name_or_path) not in shipped_tasks():
        raise InputError(
            f"there is no task {str(name_or_path)!r}; medseg ships {', '.join(shipped_tasks())}. "
            "A task of your own is a .toml file: give its path."
        )
    text = files("medseg.tasks").joinpath(f"{name_or_path}.toml").read_text(encoding="utf-8")
    return parse_task(text, f"task {name_or_path}")


def parse_task(text: str, source: str) -> Task:
    """The task written in a TOML text; `source` names it in errors. Raises InputError where it is not valid."""
    try:
        return Task.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source} is not TOML: {error}") from error
    except ValidationError as error:
        raise InputError(f"{source} is not a valid task: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """The first thing pydantic found wrong, for people: "labels.0.colour: Input should be ..., got ..."."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    # What a validator of medseg's own says names what it got; so does a key that should not be there.
    is_told = problem["type"] in ("value_error", "extra_forbidden") or not isinstance(
        problem["input"], str | int | float
    )
    got = "" if is_told else f", got {problem['input']!r}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where + ': ' if where else ''}{problem['msg']}{got}{more}"
