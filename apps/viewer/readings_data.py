"""What the reading room is told of other masks of a study: the model's, other readers', those of other results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apps.viewer.desk import Desk
from apps.viewer.second_reading import BLIND
from apps.viewer.study_on_screen import StudyOnScreen
from medseg.review.agreement import awaits_adjudication, readings, second_readings
from medseg.review.records import Adjudication, Correction, Record
from medseg.workflows.results.open_study import StudyEntry

READING = "reading:"
"""What the id of a reader's mask, to be laid over another, begins with; its hash follows."""


def other_masks(on_screen: StudyOnScreen, others: Sequence[StudyEntry]) -> list[dict[str, str]]:
    """The masks that can be laid over the one that is shown: the model's own once it was corrected, other results."""
    if on_screen.is_second_reading:
        return []
    own = [] if on_screen.opened.correction is None else [{"id": "model", "name": "before correction"}]
    drawn = [
        {"id": f"{READING}{one.mask_sha256}", "name": f"drawn by {one.reader}"}
        for one in several_readings(on_screen.opened.records)
        if one.mask_sha256 != on_screen.mask_sha256
    ]
    results = [
        {"id": entry.id, "name": f"{entry.report.model.name} ({entry.name})"} for entry in others if entry.report
    ]
    return own + drawn + results


def several_readings(records: Sequence[Record]) -> tuple[Correction, ...]:
    """The last correction of each reader where more than one drew, else none."""
    found = readings(records)
    return found if len(found) > 1 else ()


def readings_told(on_screen: StudyOnScreen, user: str) -> dict[str, Any] | None:
    """Who has read a study that was read a second time, whose mask stands by whose word, and whether this user may say.

    None of a study that was not read a second time, and of a second reading itself.
    """
    records = on_screen.opened.records
    if on_screen.is_second_reading or not second_readings(records):
        return None
    found = several_readings(records)
    words = [one for one in records if isinstance(one, Adjudication)]
    return {
        "readers": [
            {
                "reader": one.reader,
                "mask": f"{READING}{one.mask_sha256}",
                "is_shown": one.mask_sha256 == on_screen.mask_sha256,
                "is_second": one.is_second_reading,
                "made": one.made.strftime("%Y-%m-%d %H:%M"),
                "reason": one.reason,
                "seconds": round(one.duration_s),
            }
            for one in found
        ],
        "standing": words[-1].mask_sha256 if words else None,
        "by": words[-1].reader if words else None,
        "may_decide": awaits_adjudication(records) and user not in {one.reader for one in found},
        "is_open": awaits_adjudication(records),
    }


def blindness(desk: Desk, on_screen: StudyOnScreen, user: str) -> list[str]:
    """A sentence where this second reader opened the study since it was first corrected: then it is not blind."""
    if not on_screen.is_second_reading:
        return []
    entry = on_screen.opened.entry
    corrected = min(one.made for one in desk.records(entry) if isinstance(one, Correction))
    looks = [line for line in desk.log.newest(study=entry.name) if line.user == user and line.act == "view"]
    if not any(line.made >= corrected and line.detail != BLIND for line in looks):
        return []
    return ["You have opened this study since it was first corrected, so this reading is not blind."]
