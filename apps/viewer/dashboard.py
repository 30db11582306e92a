"""How reviewing goes, in numbers: what is decided, how long it takes, how much readers change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

from apps.viewer.desk import Desk
from medseg.core.report import Report
from medseg.review.records import Correction, Record, Verdict, review_status
from medseg.workflows.reviewing.watch_drift import drift_of


@dataclass(slots=True)
class _Week:
    accepted: int = 0
    rejected: int = 0
    dice: list[float] = field(default_factory=list)
    turnaround_h: list[float] = field(default_factory=list)


def dashboard_numbers(desk: Desk) -> dict[str, Any]:
    """Totals, and the weeks (ISO year and week) in their order, as JSON-ready values; None where nothing is known.

    `alerts` are sentences on what has drifted.
    """
    entries = desk.entries()
    segmented = [(entry.report, desk.records(entry)) for entry in entries if entry.report is not None]
    states = [review_status(records) for _, records in segmented]
    weeks: defaultdict[str, _Week] = defaultdict(_Week)
    drawn_s: list[float] = []
    for report, records in segmented:
        _count(report, records, weeks)
        drawn_s += [record.duration_s for record in records if isinstance(record, Correction)]
    totals = {
        "studies": len(entries),
        "segmented": len(segmented),
        "decided": sum(state in ("accepted", "rejected") for state in states),
        "accepted": states.count("accepted"),
        "corrected": sum(any(isinstance(record, Correction) for record in records) for _, records in segmented),
        "turnaround_h": _median([hours for week in weeks.values() for hours in week.turnaround_h]),
        "drawn_s": _median(drawn_s),
        "dice": _median([dice for week in weeks.values() for dice in week.dice]),
    }
    listed = [
        {
            "week": name,
            "accepted": week.accepted,
            "rejected": week.rejected,
            "dice": _median(week.dice),
            "turnaround_h": _median(week.turnaround_h),
        }
        for name, week in sorted(weeks.items())
    ]
    return {
        "totals": totals,
        "weeks": listed,
        "alerts": list(drift_of(desk.folder, entries).alerts) if segmented else [],
    }


def _count(report: Report, records: Sequence[Record], weeks: defaultdict[str, _Week]) -> None:
    """Add a study's verdicts and corrections to the weeks in which they were made; of verdicts the last counts."""
    verdicts = [record for record in records if isinstance(record, Verdict) and record.finding is None]
    if verdicts:
        last = verdicts[-1]
        week = weeks[_week(last.made)]
        week.accepted += last.decision == "accepted"
        week.rejected += last.decision == "rejected"
        week.turnaround_h.append((verdicts[0].made - report.created).total_seconds() / 3600)
    for record in records:
        if isinstance(record, Correction) and record.dice is not None and not record.is_second_reading:
            weeks[_week(record.made)].dice.append(record.dice)


def _week(made: datetime) -> str:
    year, week, _ = made.isocalendar()
    return f"{year % 100:02}-W{week:02}"


def _median(values: list[float]) -> float | None:
    return median(values) if values else None
