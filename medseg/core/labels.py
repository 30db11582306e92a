"""LabelSchema: what the integers of a mask mean, with standard codes and display colours."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Colour = tuple[
    Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]
]

LabelKind = Literal["organ", "lesion", "vessel", "blockage"]
"""Whether a label is one structure, or something of which a scan may hold several that are counted one by one."""


IGNORED_CLASS = 255
"""The class number, in training, of a voxel whose truth is not known; so a task has at most 254 labels."""


class Code(BaseModel):
    """A coded concept (DICOM PS3.3 section 8): value, scheme designator (SCT, RADLEX, DCM, UCUM, 99MEDSEG), meaning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: str = Field(min_length=1, max_length=16)
    scheme: str = Field(min_length=1, max_length=16)
    meaning: str = Field(min_length=1, max_length=64)


class Label(BaseModel):
    """One structure in a mask.

    `category` says what kind of property it is, `code` which one, and `modifier` which part or side of it where the
    code alone does not tell (DICOM PS3.3 C.8.20.2: segmented property category, type, and type modifier).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=1, le=65535)
    name: str = Field(min_length=1)
    code: Code
    category: Code
    colour: Colour
    kind: LabelKind = "organ"
    modifier: Code | None = None

    @property
    def is_counted(self) -> bool:
        """Whether each connected piece is a finding of its own."""
        return self.kind in ("lesion", "blockage")


class LabelSchema(BaseModel):
    """The labels of a mask, in order of index; 0 is always background and is not listed.

    `ignored` is the value of voxels in a reference that nobody judged: neither background nor any label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[Label, ...] = Field(min_length=1)
    ignored: int | None = Field(default=None, ge=1, le=65535)

    @model_validator(mode="after")
    def _ignored_is_no_label(self) -> Self:
        if self.ignored in self.indices:
            raise ValueError(f"{self.ignored} cannot be both a label and the value of voxels that nobody judged")
        return self

    @model_validator(mode="after")
    def _indices_and_names_are_unique(self) -> Self:
        for what in ("index", "name"):
            seen = [getattr(label, what) for label in self.labels]
            twice = sorted({value for value in seen if seen.count(value) > 1})
            if twice:
                raise ValueError(f"label {what} used more than once: {', '.join(map(str, twice))}")
        return self

    @property
    def indices(self) -> tuple[int, ...]:
        """Every index a predicted mask may hold, 0 first."""
        return (0, *(label.index for label in self.labels))

    def __getitem__(self, index: int) -> Label:
        """The label of that index; KeyError where the schema has none."""
        for label in self.labels:
            if label.index == index:
                return label
        raise KeyError(index)

    def named(self, name: str) -> Label:
        """The label of that name; KeyError where the schema has none."""
        for label in self.labels:
            if label.name == name:
                return label
        raise KeyError(name)
