"""choose: which of the series that are offered become jobs on a route, and why the others do not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from medseg.exchange.dicom.choose import Wish, judged
from medseg.exchange.dicom.network.web.answers import ArchivedSeries
from medseg.exchange.dicom.scan import FoundSeries
from medseg.jobs.job import Job
from medseg.settings.routes import PRIORITIES, Match, Priority, Route
from medseg.workflows.service.ledger import Standing

WORKFLOW = "segment_series"

SUPERSEDED: dict[str, JsonValue] = {"superseded": True}
"""The result of a job whose series had other images when it was fetched; the job of those does the work."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A series that a route may take: how it is listed, what its header says, its images; what tells that some lack."""

    series: ArchivedSeries
    found: FoundSeries
    images: tuple[str, ...]
    slice_count: int
    lack: str = ""

    @property
    def uid(self) -> str:
        """The series' UID."""
        return self.series.series_uid


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job, the series it is of, and how urgent it is."""

    job: Job
    series_uid: str
    route: str
    priority: int


@dataclass(frozen=True, slots=True)
class PassedSeries:
    """A series that becomes no job on a route (or on none), and why."""

    series_uid: str
    route: str
    standing: Standing
    reason: str


@dataclass(slots=True)
class Plan:
    """What is to be done, and what is not."""

    jobs: list[PlannedJob] = field(default_factory=list)
    passed: list[PassedSeries] = field(default_factory=list)


def choose(offers: Sequence[Offer], route: Route, study_description: str = "", released: Collection[str] = ()) -> Plan:
    """The jobs of a route among the series of one study; `released` are those that a person lets pass.

    A series that lacks images is held, and so are those of which none is the best.
    """
    plan = Plan()
    by_uid = {offer.uid: offer for offer in offers}
    fit, out = judged([offer.found for offer in offers], _wish(route.match))
    _pass(plan, route, [(candidate.series.uid, candidate.excluded) for candidate in out])
    few = {one.series.uid: _wrong_count(by_uid[one.series.uid], route.match) for one in fit}
    _pass(plan, route, [(uid, reason) for uid, reason in few.items() if reason])
    fit = [one for one in fit if not few[one.series.uid]]
    first = [one.series.uid for one in fit if route.takes == "every" or one.points == fit[0].points]
    best = list(dict.fromkeys(first))  # a series of several phases comes several times
    behind = dict.fromkeys(one.series.uid for one in fit if one.series.uid not in best)
    _pass(plan, route, [(uid, "another series of the study suits the route better") for uid in behind])
    is_tied = route.takes == "best" and len(best) > 1
    for uid in best:
        reason = _tie(len(best)) if is_tied else by_uid[uid].lack
        if reason and uid not in released:
            plan.passed.append(PassedSeries(uid, route.name, "held", reason))
        else:
            plan.jobs.append(_job(by_uid[uid], route, study_description))
    return plan


def reason_against(series: ArchivedSeries, study_description: str, match: Match) -> str:
    """Why a series is not for a route by how it is listed alone; empty where it may be. Quotes no description."""
    if series.modality != match.modality:
        return f"its modality is {series.modality or 'unknown'}, not {match.modality}"
    for what, words, said in (
        ("description", match.description, series.description),
        ("study's description", match.study_description, study_description),
        ("station", match.station, series.station),
    ):
        if words and not re.search(words, said, re.IGNORECASE):
            return f"its {what} does not match"
    return ""


def images_hash(uids: Iterable[str]) -> str:
    """Hash of the UIDs of a series' images, in any order: another image makes another job."""
    return hashlib.sha256("\n".join(sorted(uids)).encode()).hexdigest()


def _pass(plan: Plan, route: Route, told: Iterable[tuple[str, str]]) -> None:
    plan.passed += [PassedSeries(uid, route.name, "passed over", reason) for uid, reason in told]


def _tie(count: int) -> str:
    return f"{count} series suit the route equally well. Tell them apart in its match, or let it take every one."


def _wrong_count(offer: Offer, match: Match) -> str:
    """Why a series has too few or too many slices; empty where it has not."""
    if offer.slice_count < match.least_slices:
        return f"it has {offer.slice_count} slices; the route takes {match.least_slices} and more"
    if match.most_slices is not None and offer.slice_count > match.most_slices:
        return f"it has {offer.slice_count} slices; the route takes {match.most_slices} at most"
    return ""


def _wish(match: Match) -> Wish:
    return Wish(
        modality=match.modality,
        body_parts=match.body_parts,
        orientation=match.orientation,
        most_slice_mm=match.most_slice_mm,
        kernel=match.kernel,
        contrast=match.contrast,
    )


def _job(offer: Offer, route: Route, study_description: str) -> PlannedJob:
    """The job of a series with these images: when they are sent again, it is the same job, and done."""
    said = f"{offer.series.description}\n{study_description}"
    is_stat = route.stat_words is not None and re.search(route.stat_words, said, re.IGNORECASE) is not None
    priority: Priority = "stat" if is_stat else route.priority
    job = Job(
        workflow=WORKFLOW,
        arguments={
            "study": offer.series.study_uid,
            "series": offer.uid,
            "route": route.name,
            "images": images_hash(offer.images),
            "count": len(offer.images),
        },
    )
    return PlannedJob(job, offer.uid, route.name, PRIORITIES[priority])
