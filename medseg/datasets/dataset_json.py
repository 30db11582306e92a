"""dataset.json: the folder of the Medical Segmentation Decathlon and of nnU-Net, read as a task and its cases.

    Decathlon   modality {"0": "CT"}, labels {"0": "background", "1": "liver"}, training [{"image": ..., "label": ...}]
    nnU-Net     channel_names {"0": "CT"}, labels {"background": 0, "liver": 1}, file_ending; images of a case are
                imagesTr/<case>_0000, <case>_0001 ... by channel, its mask is labelsTr/<case>

nnU-Net's regions (a label made of several indices) become the task's regions, over the labels that their indices are;
its label "ignore" becomes the value of voxels that nobody judged. Both are told in notes too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medseg.core.errors import InputError
from medseg.core.study import Modality
from medseg.core.task import Channel, Task, first_problem
from medseg.datasets.label_meaning import read_label_meaning
from medseg.datasets.manifest import CaseRow, DataFile, RelativePath

READ_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
"""What file_ending may be."""

_MODALITIES: tuple[tuple[str, Modality], ...] = (
    (r"ct\b|cta", "CT"),
    (r"pet|pt\b|suv", "PT"),
    (r"mr|t1|t2|flair|adc|dwi|swi|pd\b", "MR"),
)
"""What the name of a channel tells of its modality; what fits none is OT."""


class _TrainingPair(BaseModel):
    image: str
    label: str


class _ListedCase(BaseModel):
    images: list[str]
    label: str


class _DatasetJson(BaseModel):
    """The parts of dataset.json that medseg uses; both kinds carry others, which are left alone."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    modality: dict[str, str] | None = None
    channel_names: dict[str, str] | None = None
    labels: dict[str, Any] = Field(min_length=1)
    training: list[_TrainingPair] | None = None
    test: list[str | dict[str, str]] = []
    file_ending: str = ".nii.gz"
    dataset: dict[str, _ListedCase] | None = None


def read_dataset_json(folder: Path, task: Task | None = None) -> tuple[Task, tuple[CaseRow, ...], tuple[str, ...]]:
    """The task, the cases (without folds) and the notes of the folder that holds dataset.json.

    A given `task` takes the place of the one the file describes; its channels must be as many. Raises InputError when
    the file is not valid or holds no cases.
    """
    path = folder / "dataset.json"
    try:
        described = _DatasetJson.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    except ValidationError as error:
        raise InputError(f"{path} is not a dataset.json of the Decathlon or nnU-Net: {first_problem(error)}") from error
    channels = _channels(described, path)
    meaning = read_label_meaning(described.labels, path)
    if task is None:
        task = meaning.task(described.name or folder.resolve().name, channels)
    elif len(task.channels) != len(channels):
        raise InputError(
            f"{path} has {len(channels)} channels and the task {task.name} has {len(task.channels)}. "
            "Choose the task that the data was made for."
        )
    elif meaning.ignored is not None and task.ignored_index is None:
        task = task.model_copy(update={"ignored_index": meaning.ignored})
    columns = [channel.name for channel in task.channels]
    if described.training is not None:
        rows = _decathlon_rows(described, columns, path)
    elif described.dataset is not None:
        rows = _listed_rows(described.dataset, columns, path)
    else:
        rows = _nnunet_rows(folder, described.file_ending, columns)
    if not rows:
        raise InputError(f"{path} lists no cases and there are none in {folder / 'imagesTr'}")
    return task, rows, meaning.notes


def _channels(described: _DatasetJson, path: Path) -> list[Channel]:
    names = described.channel_names or described.modality
    if not names:
        raise InputError(f"{path} names no channels: it has neither channel_names nor modality")
    try:
        ordered = [names[key] for key in sorted(names, key=int)]
    except ValueError as error:
        raise InputError(f"{path} numbers its channels with {', '.join(names)}; numbers from 0 are meant") from error
    return [Channel(name=_column(name, ordered), modality=_modality(name)) for name in ordered]


def _column(name: str, names: list[str]) -> str:
    """The channel's name as a column of cases.csv; one that would stand for another column gets a leading word."""
    column = re.sub(r"[^A-Za-z0-9_-]+", "_", name.strip()) or "channel"
    reserved = column.lower() in ("case", "subject", "fold", "label") or column.lower().startswith("sha256")
    twin = names.count(name) > 1
    return f"channel_{names.index(name)}_{column}" if reserved or twin else column


def _modality(name: str) -> Modality:
    lowered = name.lower().replace("_", " ")
    return next((modality for pattern, modality in _MODALITIES if re.match(pattern, lowered)), "OT")


def _decathlon_rows(described: _DatasetJson, columns: list[str], path: Path) -> tuple[CaseRow, ...]:
    """The listed cases. The Decathlon stores several channels in one four-dimensional file: its case has one path."""
    rows = []
    for pair in described.training or ():
        image, label = _relative(pair.image, path), _relative(pair.label, path)
        rows.append(CaseRow(_case_of(image), _case_of(image), None, {columns[0]: DataFile(image)}, DataFile(label)))
    for test in described.test:
        image = _relative(test if isinstance(test, str) else test.get("image", ""), path)
        rows.append(CaseRow(_case_of(image), _case_of(image), None, {columns[0]: DataFile(image)}))
    return tuple(rows)


def _listed_rows(listed: dict[str, _ListedCase], columns: list[str], path: Path) -> tuple[CaseRow, ...]:
    """The cases that an nnU-Net v2 file names one by one under "dataset"; they must lie inside the folder."""
    rows = []
    for case, files in sorted(listed.items()):
        if len(files.images) != len(columns):
            raise InputError(
                f"{path} lists {len(files.images)} images of case {case}; one for each of {', '.join(columns)} is meant"
            )
        images = {name: DataFile(_relative(image, path)) for name, image in zip(columns, files.images, strict=True)}
        rows.append(CaseRow(case, case, None, images, DataFile(_relative(files.label, path))))
    return tuple(rows)


def _nnunet_rows(folder: Path, ending: str, columns: list[str]) -> tuple[CaseRow, ...]:
    """The cases found in the folders. Raises InputError for a file format that holds no volume with a grid."""
    if ending.lower() not in READ_ENDINGS:
        raise InputError(
            f"{folder / 'dataset.json'} has the file_ending {ending!r}; medseg reads {', '.join(READ_ENDINGS)}. "
            "Convert the images: pictures such as PNG and TIFF say nothing of spacing and orientation."
        )
    rows = []
    for images, labels in (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs")):
        found: dict[str, dict[str, DataFile]] = {}
        for name in _names(folder / images, ending):
            match = re.fullmatch(r"(.+)_(\d{4})", name.removesuffix(ending))
            if match is None or int(match[2]) >= len(columns):
                raise InputError(
                    f"{folder / images / name} is not named like an nnU-Net image: <case>_0000{ending} to "
                    f"<case>_{len(columns) - 1:04d}{ending} are meant, one for each channel of dataset.json"
                )
            found.setdefault(match[1], {})[columns[int(match[2])]] = DataFile(f"{images}/{name}")
        masks = set(_names(folder / labels, ending))
        for case, channels in sorted(found.items()):
            mask = f"{case}{ending}"
            rows.append(CaseRow(case, case, None, channels, DataFile(f"{labels}/{mask}") if mask in masks else None))
    return tuple(rows)


def _names(folder: Path, ending: str) -> Iterable[str]:
    if not folder.is_dir():
        return ()
    return sorted(
        path.name for path in folder.iterdir() if path.name.endswith(ending) and not path.name.startswith(".")
    )


class _Checked(BaseModel):
    path: RelativePath


def _relative(name: str, path: Path) -> str:
    """The listed path without its leading "./". Raises InputError when it leads out of the folder."""
    try:
        return _Checked(path=PurePosixPath(name).as_posix()).path
    except ValidationError as error:
        raise InputError(f"{path} lists the file {name!r}, which is not inside the data folder") from error


def _case_of(image: str) -> str:
    return re.sub(r"(_0000)?(\.nii)?\.[A-Za-z0-9]+$", "", PurePosixPath(image).name)
