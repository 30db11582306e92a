"""What a scan's review says in the end: which mask stands, and by whose word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medseg.core.report import Review
from medseg.review.agreement import awaits_adjudication, second_readings
from medseg.review.records import Correction, Record, Verdict, review_status, shown_correction


@dataclass(frozen=True, slots=True)
class Standing:
    """The correction whose mask stands, None for the model's own; the word on it; and what a reader must know."""

    correction: Correction | None = None
    review: Review | None = None
    notes: tuple[str, ...] = ()


def standing(records: Sequence[Record], model_mask_sha256: str, *, prefers_model: bool = False) -> Standing:
    """What stands after the records of a scan, oldest first; `prefers_model` asks for the model's own mask.

    A correction stands once a reader has accepted the study with it. One that nobody has accepted does not, and neither
    does anything that was corrected after the acceptance, nor a second reading before a third person let it stand; the
    notes say so.
    """
    verdicts = [one for one in records if isinstance(one, Verdict) and one.finding is None]
    corrections = [one for one in records if isinstance(one, Correction)]
    last = verdicts[-1] if verdicts and review_status(records) == verdicts[-1].decision else None
    chosen = None
    if last is not None and last.decision == "accepted" and not prefers_model:
        chosen = next((one for one in reversed(corrections) if one.mask_sha256 == last.mask_sha256), None)
    notes = []
    newest = shown_correction(records)
    if newest is not None and (chosen is None or chosen.mask_sha256 != newest.mask_sha256):
        why = "was left out, as asked" if prefers_model else "is not accepted and was left out"
        notes.append(f"a correction by {newest.reader} of {newest.made:%Y-%m-%d %H:%M} UTC {why}")
    if awaits_adjudication(records):
        second = second_readings(records)[-1]
        notes.append(f"a second reading by {second.reader} waits for a third person to say which of the two stands")
    mask = chosen.mask_sha256 if chosen else model_mask_sha256
    # A word holds for the mask it was said of. A rejection holds for whatever is shown of the study.
    if last is not None and last.decision == "accepted" and last.mask_sha256 != mask:
        last = None
    return Standing(chosen, _review(last, chosen) if last else None, (*notes, *_rejected(records, mask)))


def _review(verdict: Verdict, correction: Correction | None) -> Review:
    return Review(
        decision=verdict.decision,
        reader=verdict.reader,
        made=verdict.made,
        corrected_by=correction.reader if correction else None,
        corrected=correction.made if correction else None,
    )


def _rejected(records: Sequence[Record], mask_sha256: str) -> list[str]:
    """A sentence for each finding of a mask of which the last word is that it was rejected."""
    last: dict[tuple[str, int], Verdict] = {}
    for one in records:
        if isinstance(one, Verdict) and one.finding is not None and one.mask_sha256 == mask_sha256:
            last[one.finding] = one
    return [
        f"{name.replace('_', ' ')} {number} was rejected by {verdict.reader} on {verdict.made:%Y-%m-%d %H:%M} UTC"
        for (name, number), verdict in sorted(last.items())
        if verdict.decision == "rejected"
    ]
