"""plan_study: which series of a study become jobs, by the routes, and why the others do not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from medseg.exchange.dicom.choose import Candidate, Wish, judged
from medseg.exchange.dicom.network.web.answers import ArchivedSeries, ArchivedStudy
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.exchange.dicom.network.web.described import DescribedSeries
from medseg.jobs.job import Job
from medseg.settings.model import Archive
from medseg.settings.routes import PRIORITIES, Match, Priority, Route
from medseg.workflows.service.ledger import Ledger, Standing

WORKFLOW = "segment_series"


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
class StudyPlan:
    """What is to be done for a study; `is_moving` where it changed while it was looked at."""

    jobs: list[PlannedJob] = field(default_factory=list)
    passed: list[PassedSeries] = field(default_factory=list)
    is_moving: bool = False


def plan_study(
    archive: WebArchive, study: ArchivedStudy, routes: Sequence[Route], config: Archive, ledger: Ledger
) -> StudyPlan:
    """The jobs of a study and the series that become none. Raises what the archive raises."""
    plan = StudyPlan()
    series = [one for one in archive.series(study.study_uid) if not _is_result(one, ledger)]
    described: dict[str, DescribedSeries] = {}
    reasons: dict[str, list[str]] = {one.series_uid: [] for one in series}
    taken: set[str] = set()
    for route in routes:
        fitting = []
        for one in series:
            why_not = _why_not(one, study, route.match) or _too_many(one, config)
            if why_not:
                reasons[one.series_uid].append(f"{route.name}: {why_not}")
                continue
            if one.series_uid not in described:
                described[one.series_uid] = _described(archive, one)
            fitting.append(described[one.series_uid])
        taken |= _choose(fitting, study, route, config, plan, ledger)
    plan.is_moving = any(one.series.instance_count not in (None, len(one.instances)) for one in described.values())
    for uid, why_not in reasons.items():
        if uid not in taken and why_not:
            plan.passed.append(PassedSeries(uid, "", "passed over", "; ".join(why_not)))
    return plan


def _choose(
    fitting: Sequence[DescribedSeries],
    study: ArchivedStudy,
    route: Route,
    config: Archive,
    plan: StudyPlan,
    ledger: Ledger,
) -> set[str]:
    """Add a route's jobs to the plan, and what it passes over; the series of which it said either."""
    by_uid = {one.series.series_uid: one for one in fitting}
    released = {one.series_uid for one in ledger.series("released") if one.route == route.name}
    fit, out = judged([one.found(study.description) for one in fitting], _wish(route.match))
    told = [(candidate, candidate.excluded) for candidate in out]
    fit, few = _counted(fit, by_uid, route.match)
    told += few
    best = fit
    if route.takes == "best" and fit:
        best, behind = fit[:1], fit[1:]
        if behind and behind[0].points == fit[0].points:
            tied = [one for one in fit if one.points == fit[0].points]
            reason = f"{len(tied)} series suit the route equally well; tell them apart in its match, or take every one"
            plan.passed += [PassedSeries(one.series.uid, route.name, "held", reason) for one in tied]
            best, behind = [], [one for one in fit if one not in tied]
            best = [one for one in tied if one.series.uid in released]
        told += [(one, "another series of the study suits the route better") for one in behind]
    for candidate, reason in told:
        plan.passed.append(PassedSeries(candidate.series.uid, route.name, "passed over", reason))
    for candidate in best:
        one = by_uid[candidate.series.uid]
        if one.lack and config.incomplete == "hold" and one.series.series_uid not in released:
            plan.passed.append(PassedSeries(one.series.series_uid, route.name, "held", one.lack))
            continue
        priority = _priority(one.series, study, route)
        plan.jobs.append(PlannedJob(_job(one, route), one.series.series_uid, route.name, PRIORITIES[priority]))
    return set(by_uid)


def _counted(
    fit: Sequence[Candidate], by_uid: dict[str, DescribedSeries], match: Match
) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Those with as many slices as the route asks for, and the others with the reason."""
    right, wrong = [], []
    for candidate in fit:
        count = by_uid[candidate.series.uid].slice_count
        if count < match.least_slices:
            wrong.append((candidate, f"it has {count} slices, and {match.least_slices} are wanted"))
        elif match.most_slices is not None and count > match.most_slices:
            wrong.append((candidate, f"it has {count} slices, and at most {match.most_slices} are wanted"))
        else:
            right.append(candidate)
    return right, wrong


def _is_result(series: ArchivedSeries, ledger: Ledger) -> bool:
    """Whether a series was made by this service, or by another medseg."""
    is_of_medseg = series.manufacturer == "medseg" and series.description.startswith("medseg ")
    return is_of_medseg or ledger.is_ours(series.series_uid)


def _why_not(series: ArchivedSeries, study: ArchivedStudy, match: Match) -> str:
    """Why a series is not for a route, by the archive's list alone; empty where it may be. Names no patient's words."""
    if series.modality != match.modality:
        return f"its modality is {series.modality or 'unknown'}, not {match.modality}"
    for what, words, said in (
        ("description", match.description, series.description),
        ("study's description", match.study_description, study.description),
        ("station", match.station, series.station),
    ):
        if words and not re.search(words, said, re.IGNORECASE):
            return f"its {what} does not match"
    return ""


def _too_many(series: ArchivedSeries, config: Archive) -> str:
    if series.instance_count is not None and series.instance_count > config.most_instances:
        return f"it has {series.instance_count} images, more than archive.most_instances ({config.most_instances})"
    return ""


def _described(archive: WebArchive, series: ArchivedSeries) -> DescribedSeries:
    instances = archive.instances(series.study_uid, series.series_uid)
    middle = instances[len(instances) // 2].sop_instance if instances else ""
    header = archive.header(series.study_uid, series.series_uid, middle) if middle else {}
    return DescribedSeries(series, instances, header)


def _wish(match: Match) -> Wish:
    return Wish(
        modality=match.modality,
        body_parts=match.body_parts,
        orientation=match.orientation,
        most_slice_mm=match.most_slice_mm,
        kernel=match.kernel,
        contrast=match.contrast,
    )


def _priority(series: ArchivedSeries, study: ArchivedStudy, route: Route) -> Priority:
    words = route.stat_words
    said = f"{series.description}\n{study.description}"
    return "stat" if words and re.search(words, said, re.IGNORECASE) else route.priority


def _job(one: DescribedSeries, route: Route) -> Job:
    """The job of a series with these images: when they are sent again, it is the same job, and done."""
    uids = sorted(instance.sop_instance for instance in one.instances)
    return Job(
        workflow=WORKFLOW,
        arguments={
            "study": one.series.study_uid,
            "series": one.series.series_uid,
            "route": route.name,
            "images": hashlib.sha256("\n".join(uids).encode()).hexdigest(),
            "count": len(uids),
        },
    )
