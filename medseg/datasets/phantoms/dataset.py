"""The data set that comes with medseg: made CT studies to train on, and held-out ones as a scanner sends them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medseg.core.atomic import require_output_folder, whole_folder
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.study import Series, Study
from medseg.core.task import load_task
from medseg.datasets.manifest import MANIFEST, CaseRow, DataFile, DataSet, Manifest, read_manifest, write_manifest
from medseg.datasets.phantoms.study import TASK, PhantomStudy, make_study, phantom_grid
from medseg.exchange.dicom.writing.series import write_series
from medseg.exchange.nifti import write_nifti

NAME = "phantoms"
FOLDS = 5


@dataclass(frozen=True)
class HeldOutStudy:
    """A study kept for the test: its DICOM folder, its reference mask and its truth."""

    name: str
    dicom: Path
    label: Path
    truth: Path


def write_dataset(
    folder: Path,
    *,
    cases: int = 20,
    held_out: int = 2,
    seed: int = 0,
    on_study: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write a made data set and return its manifest; the folder appears whole or not at all.

    `cases` studies as NIfTI are dealt into five folds (fold 0 of the default is 4 of 20); `held_out` more are the test
    cases, written as NIfTI and as a DICOM series. Another seed makes other patients, with other names. The folder holds
    manifest.toml, cases.csv, images/, labels/, truth/*.json (PhantomTruth) and dicom/<case>/. `on_study` hears how many
    studies of how many are written.

    Raises InputError when the numbers are too small or the folder cannot be written.
    """
    if cases < FOLDS or held_out < 0:
        raise InputError(f"a made data set has at least {FOLDS} cases, one a fold; got {cases} and {held_out} held out")
    require_output_folder(folder, own=MANIFEST)
    total = cases + held_out
    with whole_folder(folder) as unfinished:
        rows: list[CaseRow] = []
        for number in range(total):
            own_seed = 1000 * seed + number
            name = f"phantom_{own_seed:03d}"
            is_held_out = number >= cases
            made = make_study(own_seed, _grid(number, is_held_out))
            rows.append(_write_study(made, name, None if is_held_out else number % FOLDS, unfinished))
            if is_held_out:
                write_series(made.volume, _dicom(unfinished, name), _series(name))
            if on_study is not None:
                on_study(number + 1, total)
        write_manifest(Manifest(_facts(cases, held_out, seed), load_task(TASK), tuple(rows), unfinished), unfinished)
    return read_manifest(folder, folder)


def held_out_studies(manifest: Manifest) -> tuple[HeldOutStudy, ...]:
    """The test cases of a made data set."""
    root = manifest.data_folder
    return tuple(
        HeldOutStudy(case.name, _dicom(root, case.name), _label(root, case.name), _truth(root, case.name))
        for case in manifest.test
    )


def _write_study(made: PhantomStudy, name: str, fold: int | None, root: Path) -> CaseRow:
    image, label, truth = _image(root, name), _label(root, name), _truth(root, name)
    write_nifti(made.volume.array, made.volume.geometry, image)
    write_nifti(made.label_map.array, made.label_map.geometry, label)
    truth.parent.mkdir(exist_ok=True)
    truth.write_text(made.truth.model_dump_json(), encoding="utf-8")
    return CaseRow(name, name, fold, {"CT": listed(image, root)}, listed(label, root))


def listed(path: Path, root: Path) -> DataFile:
    """A file of a data set with its sha256, by its path below the root."""
    with path.open("rb") as file:
        return DataFile(path.relative_to(root).as_posix(), hashlib.file_digest(file, "sha256").hexdigest())


def _grid(number: int, is_held_out: bool) -> Geometry:
    """Scans come stored in many ways: most upright, one in four flipped, one in four tilted.

    Held-out studies are written as DICOM, whose slices always run along their normal: LPS, then a tilted RAS.
    """
    tilt = (6.0, -4.0, 8.0)
    if is_held_out:
        return phantom_grid() if number % 2 == 0 else phantom_grid(axis_codes="RAS", rotation_deg=tilt)
    return (
        phantom_grid(),
        phantom_grid(axis_codes="RAS"),
        phantom_grid(),
        phantom_grid(rotation_deg=tilt),
    )[number % 4]


def _facts(cases: int, held_out: int, seed: int) -> DataSet:
    return DataSet(
        name=NAME,
        title="Made CT studies with truth by formula",
        task=TASK,
        licence="CC0-1.0",
        licence_address="https://creativecommons.org/publicdomain/zero/1.0/",
        notes=(f"{cases} cases and {held_out} held out, made by medseg from seed {seed}; no patient is in them",),
    )


def _series(name: str) -> Series:
    study = Study(patient_id=name, patient_name=name, date="20260101", description="Made study, no patient")
    return Series(study, "CT", description="Made CT", body_part="ABDOMEN")


def _image(root: Path, name: str) -> Path:
    return root / "images" / f"{name}.nii.gz"


def _label(root: Path, name: str) -> Path:
    return root / "labels" / f"{name}.nii.gz"


def _truth(root: Path, name: str) -> Path:
    return root / "truth" / f"{name}.json"


def _dicom(root: Path, name: str) -> Path:
    return root / "dicom" / name
