"""Manifest: what a data set is, whose it is, and which of its files are trained and tested on; never its pixels.

A manifest is a folder of two files, `data_manifests/<name>/` for those that medseg ships:

    manifest.toml   title, task, licence, citation, source, and the folder that the data fills inside a data root
    cases.csv       one row a case: case, subject, fold, a column a channel, label, and a sha256 column for each file

The header of cases.csv for a task with the channels FLAIR and T1 is

    case,subject,fold,FLAIR,T1,label,sha256_FLAIR,sha256_T1,sha256_label

Paths are relative to the data's folder and use forward slashes. `fold` counts from 0; "test" keeps a case out of all
folds. `label` is empty where there is no reference mask. A checksum that nobody has published is "unknown".
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.core.study import Case
from medseg.core.task import Task, first_problem, load_task
from medseg.datasets.splits import require_whole_subjects

TEST_FOLD = "test"
"""What stands in the fold column of a case that is in no fold: it is kept for the final test."""

MANIFEST = "manifest.toml"
"""The file by which a folder is known to be a manifest."""

UNKNOWN = "unknown"
"""What stands for a checksum that nobody has published."""

Checksum = Annotated[str, Field(pattern=r"^([0-9a-f]{64}|unknown)$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


def _inside(path: str) -> str:
    """The path, after a check that it stays inside the folder it is relative to."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or ":" in path:
        raise ValueError(f"{path!r} must be a path inside the data folder, with forward slashes")
    return path


RelativePath = Annotated[str, Field(min_length=1), AfterValidator(_inside)]
Pattern = Annotated[RelativePath, Field(pattern=r"\{case\}")]


class Archive(BaseModel):
    """A file that the whole data set, or a part of it, is downloaded as.

    `md5` is given where the publisher names only that: it finds a broken download, though not a forged one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(pattern=r"^https?://")]
    sha256: Checksum = UNKNOWN
    md5: Md5 | None = None


class Source(BaseModel):
    """Where the data comes from.

    `archives` are downloaded and unpacked; `files_url` is the address below which each file of cases.csv lies. With
    neither, medseg cannot download the set, and `how_to_obtain` tells a person how to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: Annotated[str, Field(pattern=r"^https?://")] | None = None
    archives: tuple[Archive, ...] = ()
    files_url: Annotated[str, Field(pattern=r"^https?://.*/$")] | None = None
    how_to_obtain: str = ""


class FilePatterns(BaseModel):
    """How the files of a data set are named: "imagesTr/{case}.nii.gz".

    {case} stands for the name of the case; any other word in braces for a part of the path that is the same in all
    files of one case. None stands for a slash.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: dict[str, Pattern]
    label: Pattern | None = None


class DataSet(BaseModel):
    """The facts of manifest.toml.

    `task` is the name of a shipped task or a .toml beside the manifest; `folder` the place of the data inside a data
    root; `files` how its files are arranged, so that cases.csv can be filled once the data is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    title: str = Field(min_length=1)
    task: str = Field(min_length=1)
    folder: RelativePath = "."
    licence: str = Field(min_length=1)
    licence_address: str = ""
    citation: tuple[str, ...] = ()
    attribution: str = ""
    notes: tuple[str, ...] = ()
    files: FilePatterns | None = None
    source: Source = Source()


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a case: its path below the data's folder, and the sha256 of its bytes or "unknown"."""

    path: str
    sha256: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One row of cases.csv; `fold` is None for a case that is kept for the final test."""

    case: str
    subject: str
    fold: int | None
    channels: dict[str, DataFile]
    label: DataFile | None = None

    @property
    def is_for_test(self) -> bool:
        """Whether it lies in the folder that the Decathlon and nnU-Net keep for the test."""
        return any(file.path.startswith("imagesTs/") for file in self.channels.values())

    @property
    def files(self) -> tuple[DataFile, ...]:
        """Every file of the case, the label last."""
        return (*self.channels.values(), *((self.label,) if self.label else ()))


@dataclass(frozen=True, slots=True)
class Manifest:
    """A data set in its place: its facts, its task, its rows, and the folder that their paths are relative to."""

    facts: DataSet
    task: Task
    rows: tuple[CaseRow, ...]
    data_folder: Path

    @property
    def cases(self) -> tuple[Case, ...]:
        """Every case, with whole paths, in the order of cases.csv."""
        return self._cases(self.rows)

    @property
    def folds(self) -> tuple[int, ...]:
        """The numbers of the folds, rising."""
        return tuple(sorted({row.fold for row in self.rows if row.fold is not None}))

    @property
    def in_folds(self) -> tuple[Case, ...]:
        """The cases of all folds together: every case but those kept for the final test."""
        return self._cases(row for row in self.rows if row.fold is not None)

    @property
    def test(self) -> tuple[Case, ...]:
        """The cases that are in no fold and are kept for the final test."""
        return self._cases(row for row in self.rows if row.fold is None)

    def training(self, fold: int) -> tuple[Case, ...]:
        """The cases to train on when `fold` is held out. Raises InputError when there is no such fold."""
        self._require_fold(fold)
        return self._cases(row for row in self.rows if row.fold is not None and row.fold != fold)

    def validation(self, fold: int) -> tuple[Case, ...]:
        """The cases of `fold`, held out from training. Raises InputError when there is no such fold."""
        self._require_fold(fold)
        return self._cases(row for row in self.rows if row.fold == fold)

    def path(self, file: DataFile) -> Path:
        """The whole path of a file of this data set."""
        return self.data_folder / file.path

    def missing_files(self) -> tuple[Path, ...]:
        """The files of the manifest that are not on the disk."""
        return tuple(path for row in self.rows for file in row.files if not (path := self.path(file)).is_file())

    def _require_fold(self, fold: int) -> None:
        if fold not in self.folds:
            listed = ", ".join(map(str, self.folds)) or "none: cases.csv assigns no folds"
            raise InputError(f"data set {self.facts.name} has no fold {fold}; it has {listed}")

    def _cases(self, rows: Iterable[CaseRow]) -> tuple[Case, ...]:
        return tuple(
            Case(
                name=row.case,
                subject=row.subject,
                channels={name: self.path(file) for name, file in row.channels.items()},
                label=self.path(row.label) if row.label else None,
            )
            for row in rows
        )


def read_manifest(folder: Path, data_root: Path) -> Manifest:
    """The manifest written in `folder`, its paths pointing below `data_root`. No data file is opened.

    Raises InputError when the manifest is missing or not valid, or when one subject stands in two folds.
    """
    facts = read_facts(folder)
    task = load_task(folder / facts.task if facts.task.endswith(".toml") else facts.task)
    path = folder / "cases.csv"
    if not path.is_file():
        raise InputError(f"there is no cases.csv in {folder}; a manifest is a folder of manifest.toml and cases.csv")
    rows = _parse_cases(path.read_text(encoding="utf-8"), [channel.name for channel in task.channels], str(path))
    return Manifest(facts, task, rows, data_root / facts.folder)


def read_facts(folder: Path) -> DataSet:
    """What `folder`/manifest.toml says. Raises InputError when it is missing or not valid."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"there is no manifest.toml in {folder}; give the folder of a manifest")
    try:
        return DataSet.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise InputError(f"{path} is not a valid manifest: {first_problem(error)}") from error


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write manifest.toml and cases.csv, and task.toml where the task is not a shipped one; each whole or not at all.

    Raises InputError when the folder may not be written, or a case lacks a channel.
    """
    facts = manifest.facts
    needed = [channel.name for channel in manifest.task.channels]
    for row in manifest.rows:
        lacking = [name for name in needed if name not in row.channels]
        if lacking:
            raise InputError(
                f"case {row.case} of {facts.name} has no file for {', '.join(lacking)}; a manifest lists whole cases. "
                "Add the file, or remove the case."
            )
    if facts.task.endswith(".toml"):
        _write_text(folder / facts.task, tomli_w.dumps(manifest.task.model_dump(mode="json", exclude_none=True)))
    _write_text(folder / "cases.csv", _format_cases(manifest.rows, needed))
    _write_text(folder / MANIFEST, tomli_w.dumps(facts.model_dump(mode="json", exclude_defaults=True)))


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _header(channels: list[str]) -> list[str]:
    files = [*channels, "label"]
    return ["case", "subject", "fold", *files, *(f"sha256_{name}" for name in files)]


def _format_cases(rows: Iterable[CaseRow], channels: list[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_header(channels))
    for row in rows:
        files = [*(row.channels[name] for name in channels), row.label or DataFile("", "")]
        fold = TEST_FOLD if row.fold is None else row.fold
        writer.writerow([row.case, row.subject, fold, *(f.path for f in files), *(f.sha256 for f in files)])
    return text.getvalue()


class _CaseLine(BaseModel):
    """One line of cases.csv as it is checked; a file is its path and its checksum."""

    case: str = Field(min_length=1)
    subject: str = Field(min_length=1)
    fold: Annotated[int, Field(ge=0)] | Literal["test"]
    channels: dict[str, tuple[RelativePath, Checksum]]
    label: tuple[RelativePath, Checksum] | None


def _parse_cases(text: str, channels: list[str], source: str) -> tuple[CaseRow, ...]:
    lines = csv.DictReader(io.StringIO(text))
    missing = [name for name in _header(channels) if name not in (lines.fieldnames or ())]
    if missing:
        raise InputError(
            f"{source} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"its first line should be {','.join(_header(channels))}"
        )
    rows: list[CaseRow] = []
    for number, line in enumerate(lines, start=2):
        try:
            rows.append(_parse_line(line, channels))
        except ValidationError as error:
            raise InputError(f"{source}, line {number}: {first_problem(error)}") from error
    twice = sorted(name for name in {row.case for row in rows} if sum(row.case == name for row in rows) > 1)
    if twice:
        raise InputError(f"{source} lists case {twice[0]} more than once; a case has one row")
    subject_of = {row.case: row.subject for row in rows}
    require_whole_subjects({row.case: row.fold for row in rows}, subject_of, source)
    return tuple(rows)


def _parse_line(line: dict[str, str], channels: list[str]) -> CaseRow:
    checked = _CaseLine.model_validate(
        {
            "case": line["case"],
            "subject": line["subject"],
            "fold": line["fold"],
            "channels": {name: (line[name], line[f"sha256_{name}"] or UNKNOWN) for name in channels},
            "label": (line["label"], line["sha256_label"] or UNKNOWN) if line["label"] else None,
        }
    )
    return CaseRow(
        case=checked.case,
        subject=checked.subject,
        fold=None if checked.fold == TEST_FOLD else int(checked.fold),
        channels={name: DataFile(*file) for name, file in checked.channels.items()},
        label=DataFile(*checked.label) if checked.label else None,
    )
