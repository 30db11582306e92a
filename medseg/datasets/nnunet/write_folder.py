"""A data set as the folder of raw data that nnU-Net v2 trains on, to run it side by side.

    Dataset101_Name/
      dataset.json, splits_final.json, subjects.csv
      imagesTr/<case>_0000.nii.gz ...   labelsTr/<case>.nii.gz     the cases in folds
      imagesTs/ ...                     labelsTs/ ...              those kept for the test

Masks hold 1, 2, 3 ... in order of the task's labels, then the ignored value, since nnU-Net takes no gaps.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.core.atomic import require_output_folder, whole_folder
from medseg.core.errors import InputError
from medseg.core.labels import LabelSchema
from medseg.core.task import Channel, Task
from medseg.datasets.label_meaning import IGNORE
from medseg.datasets.manifest import CaseRow, DataFile, Manifest
from medseg.datasets.nnunet.splits import FILE, write_splits
from medseg.exchange.nifti import write_nifti
from medseg.exchange.read import read_label_map
from medseg.exchange.read_channel import read_channel

NAME = re.compile(r"Dataset\d{3}_\w+")
"""nnU-Net finds a data set by its number, 001 to 999, and takes folders of this form only."""

ENDING = ".nii.gz"

OnCase = Callable[[int, int], None]
"""Called with how many of how many cases are done."""


def write_nnunet_folder(manifest: Manifest, folder: Path, on_case: OnCase | None = None) -> int:
    """How many cases were written; the folder appears whole or not at all, and takes the place of an older one.

    Images that are .nii.gz are copied byte by byte, others are converted; DICOM CT is in HU, PET in SUV. Links are
    followed inside the data folder only. Raises InputError where the name is none that nnU-Net finds, other files stand
    there, a case lacks a file or has a name that is no file's, a link leads out, or a file cannot be read.
    """
    _require_usable(manifest, folder)
    with whole_folder(folder) as unfinished:
        for done, row in enumerate(manifest.rows, start=1):
            _write_case(manifest, row, unfinished)
            if on_case:
                on_case(done, len(manifest.rows))
        description = _description(manifest)
        (unfinished / "dataset.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
        write_splits(manifest.rows, unfinished / FILE)
        _write_subjects(manifest.rows, unfinished / "subjects.csv")
    return len(manifest.rows)


def _require_usable(manifest: Manifest, folder: Path) -> None:
    if not NAME.fullmatch(folder.name):
        raise InputError(
            f"nnU-Net would not find {folder.name}: it takes folders named Dataset, three digits, _ and a name. "
            f"Call it Dataset101_{re.sub(r'[^A-Za-z0-9]', '', manifest.facts.name.title()) or 'Mine'}, for one."
        )
    require_output_folder(folder, own="dataset.json")
    if not manifest.rows:
        raise InputError(f"data set {manifest.facts.name} has no cases to export")
    needed = [channel.name for channel in manifest.task.channels]
    for row in manifest.rows:
        lacking = [name for name in needed if name not in row.channels]
        if lacking or (row.label is None and row.fold is not None):
            raise InputError(f"case {row.case} has no file for {', '.join(lacking) or 'its mask'}; nnU-Net needs it")
        if not re.fullmatch(r"\w[\w.-]*", row.case):
            raise InputError(f"case {row.case!r} cannot be a part of a file's name: letters, digits, _, . and - can")


def _write_case(manifest: Manifest, row: CaseRow, folder: Path) -> None:
    part = "Ts" if row.fold is None else "Tr"
    for number, channel in enumerate(manifest.task.channels):
        source = _inside(manifest, row.channels[channel.name], row.case)
        target = folder / f"images{part}" / f"{row.case}_{number:04d}{ENDING}"
        target.parent.mkdir(exist_ok=True)
        _write_image(source, channel, target)
    if row.label is not None:
        schema = manifest.task.label_schema
        label_map = read_label_map(_inside(manifest, row.label, row.case), schema)
        target = folder / f"labels{part}" / f"{row.case}{ENDING}"
        target.parent.mkdir(exist_ok=True)
        write_nifti(_consecutive(schema)[label_map.array], label_map.geometry, target)


def _write_image(source: Path, channel: Channel, target: Path) -> None:
    if source.name.lower().endswith(ENDING):
        shutil.copyfile(source, target)
    else:
        volume = read_channel(source, channel).volume
        write_nifti(np.asarray(volume.array, dtype=np.float32), volume.geometry, target)


def _inside(manifest: Manifest, file: DataFile, case: str) -> Path:
    """Where the file really lies. Raises InputError where it is missing, or a link leads out of the data folder."""
    path = manifest.path(file)
    if not path.exists():
        raise InputError(f"case {case} names {path}, which does not exist. Fetch the data set, or correct the path.")
    whole = path.resolve()
    if not whole.is_relative_to(manifest.data_folder.resolve()):
        raise InputError(
            f"{path} of case {case} is a link that leads out of the data folder, to {whole}. It is not followed; put "
            "the file itself there."
        )
    return whole


def _consecutive(schema: LabelSchema) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """For each value of a mask the value that nnU-Net gets."""
    values = [*schema.indices, *([schema.ignored] if schema.ignored is not None else [])]
    table = np.zeros(max(values) + 1, dtype=np.uint8)
    table[values] = np.arange(len(values))
    return table


def _description(manifest: Manifest) -> dict[str, Any]:
    task, facts = manifest.task, manifest.facts
    labels = ["background", *(label.name for label in task.labels)] + [IGNORE] * (task.ignored_index is not None)
    return {
        "name": facts.name,
        "description": facts.title,
        "licence": facts.licence,
        "reference": "; ".join(facts.citation),
        "channel_names": {str(number): _channel_name(channel) for number, channel in enumerate(task.channels)},
        "labels": {name: value for value, name in enumerate(labels)},
        "numTraining": sum(row.fold is not None for row in manifest.rows),
        "file_ending": ENDING,
        "medseg_mask_values": _mask_values(task),
    }


def _channel_name(channel: Channel) -> str:
    """nnU-Net normalises a channel called CT by the whole data set's intensities, and any other scan by scan."""
    return "CT" if channel.modality == "CT" else channel.name


def _mask_values(task: Task) -> dict[str, int]:
    """What the labels were in medseg's masks, for people; nnU-Net does not read it."""
    return {label.name: label.index for label in task.labels}


def _write_subjects(rows: Sequence[CaseRow], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", "subject"])
        writer.writerows([row.case, row.subject] for row in rows)
