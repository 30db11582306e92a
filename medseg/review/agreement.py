"""How far two readers of one case agree, and whose mask stands where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations

import numpy as np

from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.labels import LabelSchema
from medseg.review.corrections import ConflictError, CorrectionStore, Signature
from medseg.review.records import Adjudication, Correction, Record, Verdict, of_model


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two masks of one scan compared: Dice of each label that either holds, and Cohen's kappa over all voxels.

    Kappa (Cohen 1960) is what two readers agree beyond chance, all classes and background counted; None where both
    masks are one and the same class throughout, which says nothing.
    """

    dice: dict[str, float]
    kappa: float | None

    @property
    def mean_dice(self) -> float | None:
        """The mean over the labels that either mask holds; None where both are empty."""
        return float(np.mean(list(self.dice.values()))) if self.dice else None


def agreement(one: LabelMap, other: LabelMap) -> Agreement:
    """How far two masks agree. Raises GeometryError where they lie on different grids."""
    one.geometry.require_same(other.geometry, "the two readers' masks")
    classes = max(one.schema.indices) + 1
    table = np.zeros((classes, classes), np.int64)
    outermost = int(np.argmax(np.abs(one.array.strides)))  # a plane at a time, in the order in which they lie
    planes = (np.moveaxis(label_map.array, outermost, 0) for label_map in (one, other))
    for first_plane, second_plane in zip(*planes, strict=True):
        pairs = first_plane.ravel().astype(np.int64) * classes + second_plane.ravel()
        table += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    first, second, both = table.sum(axis=1), table.sum(axis=0), table.diagonal()
    dice = {
        label.name: float(2 * both[label.index] / (first[label.index] + second[label.index]))
        for label in one.schema.labels
        if first[label.index] + second[label.index]
    }
    total = float(table.sum())
    by_chance = float(first @ second) / total**2
    kappa = None if by_chance == 1 else (float(both.sum()) / total - by_chance) / (1 - by_chance)
    return Agreement(dice, kappa)


def readings(records: Sequence[Record]) -> tuple[Correction, ...]:
    """The last correction of each reader of a scan, in the order in which the readers first corrected it.

    Of a reader with second readings it is the last of those: what the same reader corrected later was no longer blind.
    """
    last: dict[str, Correction] = {}
    for record in records:
        if isinstance(record, Correction):
            before = last.get(record.reader)
            if before is None or record.is_second_reading or not before.is_second_reading:
                last[record.reader] = record
    return tuple(last.values())


def second_readings(records: Sequence[Record]) -> tuple[Correction, ...]:
    """The corrections that are second readings, oldest first."""
    return tuple(one for one in records if isinstance(one, Correction) and one.is_second_reading)


def second_reading_problem(records: Sequence[Record], reader: str) -> str | None:
    """A sentence why this reader may not read the scan a second time, without a look at the first reading; or None."""
    first = {one.reader for one in records if isinstance(one, Correction) and not one.is_second_reading}
    if reader in first:
        return f"{reader} corrected this study; a second reading is made by somebody who has not seen it corrected"
    if not first:
        return "nobody has corrected this study yet, so there is no first reading to compare a second one with"
    if _last_adjudication(records) >= 0:
        return "this study was adjudicated already"
    return None


def awaits_adjudication(records: Sequence[Record]) -> bool:
    """Whether the scan was read a second time and nobody has said since which of the readings stands."""
    return bool(second_readings(records[_last_adjudication(records) + 1 :]))


def _last_adjudication(records: Sequence[Record]) -> int:
    return max((n for n, one in enumerate(records) if isinstance(one, Adjudication)), default=-1)


def contradiction(records: Sequence[Record]) -> str | None:
    """A sentence where readers' last words on a scan's mask exclude one another and nobody has adjudicated; or None.

    One mask accepted and another drawn over it later do not exclude one another; two drawn side by side do, and so do
    one reader's acceptance and another's rejection of the same mask. A second reading is open until it was adjudicated.
    """
    words: dict[str, Verdict] = {}
    for record in records[_last_adjudication(records) + 1 :]:
        if isinstance(record, Verdict) and record.finding is None:
            words[record.reader] = record
    drawn_over = {one.mask_sha256: one.base_mask_sha256 for one in records if isinstance(one, Correction)}
    for one, other in combinations(words.values(), 2):
        if one.mask_sha256 == other.mask_sha256:
            if one.decision != other.decision:
                return f"{one.reader} {one.decision} the mask that {other.reader} {other.decision}"
        elif one.decision == other.decision == "accepted" and not _same_line(one, other, drawn_over):
            return f"{one.reader} and {other.reader} accepted different masks"
    if awaits_adjudication(records):
        return f"{second_readings(records)[-1].reader} read it a second time, and nobody has said which reading stands"
    return None


def adjudicate(
    store: CorrectionStore,
    scan_sha256: str,
    task: str,
    schema: LabelSchema,
    winner: str,
    *,
    by: Signature,
    seen: str | None = None,
) -> Adjudication:
    """The record that the mask of the reader `winner` stands, with how far the readers agreed; the mask is accepted.

    Where `by` names a model, only the readings of that model's result are looked at. `seen` is the hash of the winner's
    mask that the judge looked at.

    Raises InputError where fewer than two readers corrected the scan, the winner did not, or a reader judges the own
    case; ConflictError where the winner has drawn another mask than that which was seen, or another correction or
    adjudication was saved while this one was made.
    """
    records = store.history(scan_sha256, task, by.model_sha256 or None)
    found = {one.reader: one for one in readings(records)}
    if len(found) < 2:
        raise InputError(f"there is nothing to adjudicate: {len(found)} readers corrected this scan, and it takes two")
    if winner not in found:
        raise InputError(f"{winner} did not correct this scan; {', '.join(found)} did")
    if by.reader in found:
        raise InputError(f"{by.reader} corrected this scan and cannot be the judge of it; a third person adjudicates")
    if seen is not None and found[winner].mask_sha256 != seen:
        raise ConflictError(f"{winner} saved another mask since you compared them; look at the newest before deciding")
    masks = {reader: store.mask(correction, schema) for reader, correction in found.items()}
    compared = [agreement(masks[winner], mask) for reader, mask in masks.items() if reader != winner]
    lowest = min(compared, key=lambda one: one.mean_dice if one.mean_dice is not None else 1.0)
    adjudication = Adjudication(
        scan_sha256=scan_sha256,
        task=task,
        reader=by.reader,
        made=datetime.now(UTC),
        reason=by.reason,
        mask_sha256=found[winner].mask_sha256,
        between={reader: one.mask_sha256 for reader, one in found.items()},
        dice=lowest.mean_dice,
        kappa=lowest.kappa,
    )
    accepted = Verdict(
        **adjudication.model_dump(include={"scan_sha256", "task", "reader", "made", "reason", "mask_sha256"}),
        model_sha256=by.model_sha256,
        decision="accepted",
    )

    def is_as_judged(history: Sequence[Record]) -> None:
        if _masks_and_judgements(of_model(history, by.model_sha256)) != _masks_and_judgements(records):
            raise ConflictError("somebody corrected or adjudicated this scan meanwhile; compare the readings again")

    store.add(adjudication, accepted, check=is_as_judged)
    return adjudication


def _masks_and_judgements(records: Sequence[Record]) -> list[Record]:
    return [one for one in records if isinstance(one, Correction | Adjudication)]


def _same_line(one: Verdict, other: Verdict, drawn_over: dict[str, str]) -> bool:
    """Whether one of two masks was drawn over the other, directly or over masks in between."""
    return other.mask_sha256 in _line(one.mask_sha256, drawn_over) or one.mask_sha256 in _line(
        other.mask_sha256, drawn_over
    )


def _line(mask: str, drawn_over: dict[str, str]) -> set[str]:
    line: set[str] = set()
    while mask not in line:
        line.add(mask)
        mask = drawn_over.get(mask, mask)
    return line
