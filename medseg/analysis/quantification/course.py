"""The course of a disease over all its scans: each lesion's sizes from visit to visit, and the response at each."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.analysis.quantification.change import LesionChange, Visit
from medseg.analysis.quantification.response import Target, choose_targets, overall_response, target_response
from medseg.core.course import Course, NonTargetResponse, Track, VisitResponse
from medseg.core.errors import InputError


def follow(visits: Sequence[Visit], changes: Sequence[Sequence[LesionChange]], *, slice_mm: float = 5.0) -> Course:
    """The course over visits in order of time; `changes` holds what became of each lesion from each visit to the next.

    Targets are chosen by size at the baseline, each label standing for one organ. The other lesions of the baseline are
    non-target ones: gone, or not; that they progress unequivocally is for a reader to say, and is never concluded here.
    Raises InputError where there are fewer than two visits, changes for other than each pair, or no lesion at all.
    """
    if len(visits) < 2 or len(changes) != len(visits) - 1:
        raise InputError(
            f"a course needs two visits or more and the changes between each two, got {len(visits)} visits"
        )
    tracks = _tracks(visits, changes)
    candidates = [Target(track.name, track.label, track.diameters_mm) for track in tracks if track.first_seen == 0]
    if not candidates:
        raise InputError("there is no lesion in the first scan to follow; start from the first scan that shows one")
    targets = choose_targets(candidates, slice_mm=slice_mm)
    others = [candidate for candidate in candidates if candidate not in targets]
    responses = []
    new: set[str] = set()
    for visit in range(1, len(visits)):
        new |= _new_at(visit, tracks, changes[visit - 1])
        responses.append(_response(targets, others, visit, tuple(sorted(new))))
    return Course(
        tuple(visit.when for visit in visits), tracks, tuple(target.name for target in targets), tuple(responses)
    )


def _new_at(visit: int, tracks: Sequence[Track], changes: Sequence[LesionChange]) -> set[str]:
    """The lesions that were first seen at a visit, also where they merged with an older one later on."""
    new = {(change.label, number) for change in changes if change.kind == "new" for number in change.current}
    return {track.name for track in tracks if any((track.label, number) in new for number in track.instances[visit])}


def _response(targets: Sequence[Target], others: Sequence[Target], visit: int, new: tuple[str, ...]) -> VisitResponse:
    target = target_response(targets, visit) if targets else None
    non_target: NonTargetResponse | None = None
    if others:
        non_target = "CR" if all(other.diameters_mm[visit] == 0 for other in others) else "non-CR/non-PD"
    overall, rule = overall_response(target.category if target else None, non_target, has_new_lesions=bool(new))
    return VisitResponse(visit, target, new, overall, rule)


def _tracks(visits: Sequence[Visit], changes: Sequence[Sequence[LesionChange]]) -> tuple[Track, ...]:
    """The lesions of all visits, joined wherever a change joins them; in order of first visit and number there."""
    groups: dict[tuple[int, str, int], int] = {}
    for number, visit in enumerate(visits):
        for finding in visit.findings:
            if finding.label.is_counted:
                groups[number, finding.label.name, finding.instance] = len(groups)
    for number, between in enumerate(changes):
        for change in between:
            joined = [(number, change.label, n) for n in change.prior]
            joined += [(number + 1, change.label, n) for n in change.current]
            lowest = min(groups[lesion] for lesion in joined)
            merged = {groups[lesion] for lesion in joined}
            groups = {lesion: lowest if group in merged else group for lesion, group in groups.items()}
    members: dict[int, list[tuple[int, str, int]]] = {}
    for lesion, group in groups.items():
        members.setdefault(group, []).append(lesion)
    counts: dict[str, int] = {}
    tracks = []
    for _, lesions in sorted(members.items()):
        label = lesions[0][1]
        counts[label] = counts.get(label, 0) + 1
        instances = tuple(tuple(sorted(n for v, _, n in lesions if v == visit)) for visit in range(len(visits)))
        tracks.append(
            Track(
                name=f"{label} {counts[label]}",
                label=label,
                volumes_ml=_sums(visits, label, instances, "volume"),
                diameters_mm=_sums(visits, label, instances, "longest_axial_diameter"),
                instances=instances,
            )
        )
    return tuple(tracks)


def _sums(visits: Sequence[Visit], label: str, instances: tuple[tuple[int, ...], ...], name: str) -> tuple[float, ...]:
    return tuple(
        sum(f.value(name) or 0.0 for f in visit.findings if f.label.name == label and f.instance in numbers)
        for visit, numbers in zip(visits, instances, strict=True)
    )
