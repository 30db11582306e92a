"""What one retraining learns from: accepted corrections, and original cases replayed so that nothing is forgotten.

The selection is written once, in the run's folder, and followed from then on: a retraining that was killed goes on with
the very same cases.

    RUN/
      selection.json                 which cases, on which side, and what was left out and why
      corrections/images, /labels    the corrected scans and masks
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError, StoreError
from medseg.core.study import Case
from medseg.core.task import Task, first_problem
from medseg.datasets.manifest import CaseRow, DataFile, Manifest
from medseg.datasets.register.register import (
    Register,
    Side,
    begin_register,
    first_sides,
    held_register,
    read_register,
    share,
    write_register,
)
from medseg.datasets.register.voxel_print import voxel_print
from medseg.exchange.read_channel import read_channel
from medseg.exchange.write import write_label_map, write_volume
from medseg.models.bundle import ModelBundle
from medseg.workflows.progress import Progress
from medseg.workflows.retraining.corrections import AcceptedCorrection, accepted_corrections

REGISTER, SELECTION = "cases.json", "selection.json"
FEWEST_REPLAYED = 10
"""Original cases that are replayed however few corrections there are."""

VALIDATION_FOLD, _TRAINING_FOLD = 0, 1
"""Of the manifest that a selection makes."""


class SelectedCase(BaseModel):
    """A case of a retraining: its files, whose it is by hash, and the side on which it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["correction", "original"]
    side: Side
    subject_sha256: str
    channels: dict[str, Path]
    label: Path
    prints: tuple[str, ...]


class Selection(BaseModel):
    """What a retraining of a champion learns from; `left_out` maps studies to why they are not learned from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion_sha256: str
    cases: tuple[SelectedCase, ...]
    left_out: dict[str, str]
    ignored_index: int | None = None
    """The value of voxels in corrected masks that nobody judged; None where there are none."""

    @property
    def corrections(self) -> int:
        """How many corrections it holds, on either side."""
        return sum(case.kind == "correction" for case in self.cases)

    def manifest(self, original: Manifest) -> Manifest:
        """The data set to train on: fold 0 is validation, fold 1 training."""
        rows = tuple(
            CaseRow(
                case=case.name,
                subject=case.subject_sha256,
                fold=VALIDATION_FOLD if case.side == "validation" else _TRAINING_FOLD,
                channels={name: DataFile(str(path)) for name, path in case.channels.items()},
                label=DataFile(str(case.label)),
            )
            for case in self.cases
        )
        note = f"{self.corrections} of the cases are corrections by readers, the others original cases replayed"
        facts = original.facts.model_copy(update={"notes": (*original.facts.notes, note)})
        return Manifest(facts, self.task(original.task), rows, original.data_folder)

    def task(self, original: Task) -> Task:
        """The task as it is trained: with the value that voxels have which nobody judged."""
        ignored = original.ignored_index if self.ignored_index is None else self.ignored_index
        return original.model_copy(update={"ignored_index": ignored})


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a retraining finds its cases: folders of reviewed results, and the data set of the beginning."""

    results: tuple[Path, ...]
    original: Manifest
    replays_per_correction: float = 2.0


def open_register(folder: Path, original: Manifest, champion: ModelBundle, progress: Progress) -> Register:
    """The register of a registry of models; begun with the original data set where there is none yet.

    Raises InputError where the data set holds one patient under two names, or leaves nothing for the test.
    """
    path = folder / REGISTER
    if path.is_file():
        return read_register(path)
    cases = [case for case in original.cases if case.label is not None]
    subjects = {case.name: case.subject for case in cases}
    origin = champion.provenance
    names = set(origin.case_sha256) if origin.dataset == original.facts.name else set()
    learned = {subjects[name] for name in names & set(subjects)}
    for_test = {case.subject for case in original.test if case.label is not None}
    register = begin_register(first_sides(set(subjects.values()), learned, for_test), salt=secrets.token_hex(16))
    test: dict[str, tuple[str, ...]] = {}
    for done, case in enumerate(cases, start=1):
        prints = case_prints(case, original.task)
        register = register.entered(case.name, case.subject, prints)
        if register.side(case.subject) == "test":
            test[case.name] = prints
        progress("Registering cases", done, len(cases))
    register = register.model_copy(update={"test_prints": test})
    write_register(register, path)
    return register


def select(sources: Sources, champion: ModelBundle, registry: Path, run: Path, progress: Progress) -> Selection:
    """The selection of a run: the one that its folder holds, or a new one, after its patients were registered.

    Two runs of one registry select one after the other, so that each knows whom the other put on a side. Raises
    InputError where there is no accepted correction to learn from or the data set holds one patient under two names,
    StoreError where the run is of another champion.
    """
    with held_register(registry / REGISTER):
        if (run / SELECTION).is_file():
            return _read(run / SELECTION, champion)
        return _select(sources, champion, registry, run, progress)


def _select(sources: Sources, champion: ModelBundle, registry: Path, run: Path, progress: Progress) -> Selection:
    """A new selection of a run, by a register that nobody else changes meanwhile."""
    register = open_register(registry, sources.original, champion, progress)
    register = _with_newcomers(register, sources.original, progress)
    known = frozenset(register.side_of)
    corrected: list[SelectedCase] = []
    ignored: int | None = None
    left_out: dict[str, str] = {}
    for done, found in enumerate(accepted_corrections(sources.results, champion.spec.task), start=1):
        progress("Gathering corrections", done, done)
        if not isinstance(found, AcceptedCorrection):
            left_out[found.study] = found.reason
            continue
        try:
            register, case = _take(found, register, run, champion.spec.task)
        except InputError as error:
            left_out[found.study] = str(error)
            continue
        if case.name not in {one.name for one in corrected}:
            corrected.append(case)
            ignored = found.label_map.schema.ignored or ignored
    register, corrected = _with_one_for_training(register, corrected, known)
    if not any(case.side == "training" for case in corrected):
        reasons = [f"{study}: {reason}" for study, reason in list(left_out.items())[:5]]
        if corrected:
            reasons.append(
                f"{len(corrected)} of patients who are kept for validation for good. Correct a study of another patient"
            )
        raise InputError(f"there is no accepted correction to learn from. {'; '.join(reasons)}".strip())
    register, replayed = _replayed(sources, register, corrected)
    selection = Selection(
        champion_sha256=champion.sha256, cases=(*corrected, *replayed), left_out=left_out, ignored_index=ignored
    )
    register.require_no_test({case.name: case.prints for case in selection.cases})
    write_register(register, registry / REGISTER)
    with whole_file(run / SELECTION) as unfinished:
        unfinished.write_text(selection.model_dump_json(indent=1), encoding="utf-8")
    return selection


def _with_newcomers(register: Register, original: Manifest, progress: Progress) -> Register:
    """The register with the patients whom the data set gained since it was begun, before any of them is corrected.

    Raises InputError where one of their scans is registered under another subject.
    """
    of_newcomers = [
        case
        for case in original.cases
        if case.label is not None and register.subject_sha256(case.subject) not in register.side_of
    ]
    for done, case in enumerate(of_newcomers, start=1):
        register = register.entered(case.name, case.subject, case_prints(case, original.task))
        progress("Registering cases", done, len(of_newcomers))
    return register


def case_prints(case: Case, task: Task) -> tuple[str, ...]:
    """The print of each channel of a case."""
    return tuple(voxel_print(read_channel(case.channels[channel.name], channel).volume) for channel in task.channels)


def _take(found: AcceptedCorrection, register: Register, run: Path, task: Task) -> tuple[Register, SelectedCase]:
    """A correction put on its side, its scan and mask written into the run.

    A scan that names no patient is taken to be of whoever has the same voxels, or of somebody new. Raises InputError
    where the patient is kept for the test, or is there under another name.
    """
    name = f"correction_{found.scan_sha256[:16]}"
    if found.subject:
        subject_sha256 = register.subject_sha256(found.subject)
        register = register.entered(name, found.subject, found.prints)
    elif known := [one for one in found.prints if one in register.subject_of_print]:
        subject_sha256 = register.subject_of_print[known[0]]
    else:
        subject_sha256 = register.subject_sha256(found.prints[0])
        register = register.entered(name, found.prints[0], found.prints)
    side = register.side_of[subject_sha256]
    if side == "test":
        raise InputError("its patient is kept for the test and is never learned from")
    label = run / "corrections" / "labels" / f"{name}.nii.gz"
    images = {
        channel.name: run / "corrections" / "images" / f"{name}_{number:04d}.nii.gz"
        for number, channel in enumerate(task.channels)
    }
    for channel, path in images.items():
        write_volume(found.volumes[channel], path)
    write_label_map(found.label_map, label)
    return register, SelectedCase(
        name=name,
        kind="correction",
        side=side,
        subject_sha256=subject_sha256,
        channels={name: path.absolute() for name, path in images.items()},
        label=label.absolute(),
        prints=found.prints,
    )


def _with_one_for_training(
    register: Register, corrected: Sequence[SelectedCase], known: frozenset[str]
) -> tuple[Register, list[SelectedCase]]:
    """Where every corrected patient fell to validation, one of those who are new goes to training instead.

    It is the one whose hash is furthest from validation. Those who were `known` before (by hash) stay where they are.
    """
    new = {case.subject_sha256 for case in corrected} - known
    if not new or any(case.side == "training" for case in corrected):
        return register, list(corrected)
    chosen = max(new, key=share)
    moved = [
        case.model_copy(update={"side": "training"}) if case.subject_sha256 == chosen else case for case in corrected
    ]
    return register.model_copy(update={"side_of": {**register.side_of, chosen: "training"}}), moved


def _replayed(
    sources: Sources, register: Register, corrected: Sequence[SelectedCase]
) -> tuple[Register, list[SelectedCase]]:
    """Original cases, now registered: all for validation, and for training some for each correction, chosen by hash.

    The original of a scan that was corrected is left out: the correction stands in its place. Raises InputError where
    one is for the test, or is registered under another subject.
    """
    for_training = sum(case.side == "training" for case in corrected)
    most = max(FEWEST_REPLAYED, round(sources.replays_per_correction * for_training))
    newer = {one for case in corrected for one in case.prints}
    cases = sorted(
        (case for case in sources.original.cases if case.label is not None),
        key=lambda case: hashlib.sha256(f"{len(corrected)}:{case.name}".encode()).hexdigest(),
    )
    chosen: list[SelectedCase] = []
    for case in cases:
        side = register.side(case.subject)
        if side == "test" or (side == "training" and sum(one.side == "training" for one in chosen) >= most):
            continue
        prints = case_prints(case, sources.original.task)
        if case.label is None or newer & set(prints):
            continue
        register.require_no_test({case.name: prints})
        register = register.entered(case.name, case.subject, prints)
        chosen.append(
            SelectedCase(
                name=case.name,
                kind="original",
                side=side,
                subject_sha256=register.subject_sha256(case.subject),
                channels={name: path.absolute() for name, path in case.channels.items()},
                label=case.label.absolute(),
                prints=prints,
            )
        )
    return register, chosen


def _read(path: Path, champion: ModelBundle) -> Selection:
    try:
        selection = Selection.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StoreError(f"{path} is damaged: {first_problem(error)}. Take another run folder.") from error
    if selection.champion_sha256 != champion.sha256:
        raise StoreError(
            f"the run in {path.parent} began from the champion {selection.champion_sha256[:12]}, which is now "
            f"{champion.sha256[:12]}. Take another run folder."
        )
    return selection
