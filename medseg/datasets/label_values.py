"""A task for masks that come without one: names, codes and colours for bare numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from medseg.core.errors import InputError
from medseg.core.labels import Code, Label, LabelKind
from medseg.core.task import Channel, Task
from medseg.exchange.read import read_scan

LOCAL_SCHEME = "99MEDSEG"
"""Scheme of codes that medseg makes itself (PS3.3 8.2: private designators begin with 99)."""

ANATOMY = Code(value="91723000", scheme="SCT", meaning="Anatomical Structure")
ABNORMALITY = Code(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure")

LESION_WORDS = ("tumour", "tumor", "lesion", "cancer", "carcinoma", "cyst", "nodule", "metasta", "mass", "neoplasm")
VESSEL_WORDS = ("vessel", "artery", "arteries", "vein", "aorta", "coronar")
"""Words in a label's name by which its kind is guessed; task.toml may be edited where the guess is wrong."""

# Colours that people with any colour vision tell apart (Okabe and Ito), then lighter ones; they repeat after ten.
_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (153, 221, 255),
    (255, 170, 187),
    (187, 204, 51),
)


def task_of_labels(name: str, channels: Sequence[Channel], names: Mapping[int, str]) -> Task:
    """A task for labels of which only index and name are known; codes are medseg's own, made from the names.

    Raises InputError when there is no label.
    """
    if not names:
        raise InputError(f"{name} has no labels: its masks hold nothing but background, so there is nothing to segment")
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return Task(
        name=slug if slug[:1].isalpha() else f"task_{slug}",
        title=name,
        channels=tuple(channels),
        labels=tuple(_label(index, names[index], order) for order, index in enumerate(sorted(names))),
    )


def task_of_masks(name: str, masks: Iterable[Path]) -> Task:
    """A task with one channel and a label for every value that the masks hold, called label_1, label_2 ...

    Raises InputError when a mask cannot be read or holds fractions, or all are empty.
    """
    present: set[int] = set()
    for path in masks:
        array = read_scan(path).volume.array
        values = np.unique(array)
        if values[0] < 0 or values[-1] > 65535 or not np.array_equal(values, np.floor(values)):
            raise InputError(f"{path} is not a mask: it holds other values than whole numbers from 0 to 65535")
        present.update(int(value) for value in values)
    names = {value: f"label_{value}" for value in present - {0}}
    return task_of_labels(name, [Channel(name="image", modality="OT")], names)


def _label(index: int, name: str, order: int) -> Label:
    kind: LabelKind = "organ"
    lowered = name.lower()
    if any(word in lowered for word in LESION_WORDS):
        kind = "lesion"
    elif any(word in lowered for word in VESSEL_WORDS):
        kind = "vessel"
    value = hashlib.sha256(lowered.encode()).hexdigest()[:12]
    return Label(
        index=index,
        name=name,
        code=Code(value=value, scheme=LOCAL_SCHEME, meaning=name[:64]),
        category=ABNORMALITY if kind == "lesion" else ANATOMY,
        colour=_COLOURS[order % len(_COLOURS)],
        kind=kind,
    )
