"""plan_study: what is to be done for a study in the archive."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.exchange.dicom.network.web.answers import ArchivedSeries, ArchivedStudy
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.exchange.dicom.network.web.described import DescribedSeries
from medseg.settings.model import Archive
from medseg.settings.routes import Route
from medseg.workflows.service.intake.choose_series import Offer, PassedSeries, Plan, choose, reason_against
from medseg.workflows.service.ledger import Ledger


def plan_study(
    archive: WebArchive, study: ArchivedStudy, routes: Sequence[Route], config: Archive, ledger: Ledger
) -> Plan | None:
    """The jobs of a study and the series that become none; None where images arrived while it was looked at.

    Raises what the archive raises.
    """
    plan = Plan()
    series = [one for one in archive.series(study.study_uid) if not _is_result(one, ledger)]
    offers: dict[str, Offer] = {}
    reasons: dict[str, list[str]] = {one.series_uid: [] for one in series}
    for route in routes:
        mine = []
        for one in series:
            reason = reason_against(one, study.description, route.match) or _too_many(one, config)
            if reason:
                reasons[one.series_uid].append(f"{route.name}: {reason}")
                continue
            if one.series_uid not in offers:
                offers[one.series_uid] = _offer(archive, one, study, config)
            mine.append(offers[one.series_uid])
        released = {one.series_uid for one in ledger.series("released") if one.route == route.name}
        chosen = choose(mine, route, study.description, released)
        plan.jobs += chosen.jobs
        plan.passed += chosen.passed
    if any(offer.series.instance_count not in (None, len(offer.images)) for offer in offers.values()):
        return None
    for uid, why_not in reasons.items():
        if uid not in offers and why_not:
            plan.passed.append(PassedSeries(uid, "", "passed over", "; ".join(why_not)))
    return plan


def _is_result(series: ArchivedSeries, ledger: Ledger) -> bool:
    """Whether a series was made by this service, or by another medseg."""
    is_of_medseg = series.manufacturer == "medseg" and series.description.startswith("medseg ")
    return is_of_medseg or ledger.is_ours(series.series_uid)


def _too_many(series: ArchivedSeries, config: Archive) -> str:
    if series.instance_count is not None and series.instance_count > config.most_instances:
        return f"it has {series.instance_count} images, more than archive.most_instances ({config.most_instances})"
    return ""


def _offer(archive: WebArchive, series: ArchivedSeries, study: ArchivedStudy, config: Archive) -> Offer:
    instances = archive.instances(series.study_uid, series.series_uid)
    middle = instances[len(instances) // 2].sop_instance if instances else ""
    header = archive.header(series.study_uid, series.series_uid, middle) if middle else {}
    described = DescribedSeries(series, instances, header)
    lack = described.lack if config.incomplete == "hold" else ""
    uids = tuple(one.sop_instance for one in instances)
    return Offer(series, described.found(study.description), uids, described.slice_count, lack)
