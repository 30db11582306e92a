"""Courses over several visits, with findings written down by hand."""

from datetime import date

import numpy as np
import pytest

from medseg.analysis.quantification import concepts
from medseg.analysis.quantification.change import ChangeKind, LesionChange, Visit
from medseg.analysis.quantification.course import follow
from medseg.core.errors import InputError
from medseg.core.findings import Finding, Measurement
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import load_task

TASK = load_task("phantom_ct")
EMPTY = LabelMap(np.zeros((2, 2, 2), np.uint8), Geometry.from_spacing((2, 2, 2), (1, 1, 1)), TASK.label_schema)


def visit(*diameters_mm: float, when: date | None = None) -> Visit:
    """A visit with lesions of these longest diameters, numbered in order."""
    findings = tuple(
        Finding(
            label=TASK.label_schema.named("lesion"),
            instance=number,
            centroid_mm=(0, 0, 0),
            index=(0, 0, 0),
            measurements=(
                Measurement(name="volume", value=length, unit="ml", code=concepts.VOLUME),
                Measurement(name="longest_axial_diameter", value=length, unit="mm", code=concepts.LONG_AXIS),
            ),
        )
        for number, length in enumerate(diameters_mm, start=1)
    )
    return Visit(EMPTY, findings, when)


def change(kind: ChangeKind, prior: tuple[int, ...], current: tuple[int, ...]) -> LesionChange:
    return LesionChange("lesion", kind, prior, current, 1, 1, 1, 1)


def test_a_course_of_three_visits() -> None:
    # Two targets shrink to a partial response, then one grows again; a small third lesion is a non-target one.
    visits = [visit(40, 30, 8, when=date(2025, 1, 1)), visit(25, 20, 8), visit(35, 22, 8)]
    steady = [change("matched", (n,), (n,)) for n in (1, 2, 3)]
    course = follow(visits, [steady, steady])
    assert course.targets == ("lesion 1", "lesion 2")
    assert list(course.tracks[0].diameters_mm) == [40, 25, 35]
    assert [response.overall for response in course.responses] == ["PR", "PD"]
    second = course.responses[1].target
    assert second is not None
    assert second.nadir_mm == 45
    assert course.dates == (date(2025, 1, 1), None, None)


def test_numbers_that_change_places_are_followed() -> None:
    course = follow([visit(40, 30), visit(30, 20)], [[change("matched", (2,), (1,)), change("matched", (1,), (2,))]])
    assert [track.diameters_mm for track in course.tracks] == [(40, 20), (30, 30)]
    assert [track.instances for track in course.tracks] == [((1,), (2,)), ((2,), (1,))]


def test_a_new_lesion_is_progression_whatever_the_targets_do_and_stays_so() -> None:
    gone = change("vanished", (1,), ())
    course = follow(
        [visit(40), visit(12), visit(12)], [[gone, change("new", (), (1,))], [change("matched", (1,), (1,))]]
    )
    assert [track.first_seen for track in course.tracks] == [0, 1]
    for response in course.responses:
        assert (response.overall, response.new_lesions) == ("PD", ("lesion 2",))
        assert [r.category for r in (response.target,) if r] == ["CR"]


def test_complete_response_needs_the_non_targets_gone_too() -> None:
    both = [change("vanished", (1,), ()), change("vanished", (2,), ())]
    assert follow([visit(40, 8), visit()], [both]).responses[0].overall == "CR"
    one = [change("vanished", (1,), ()), change("matched", (2,), (1,))]
    assert follow([visit(40, 8), visit(8)], [one]).responses[0].overall == "PR"


def test_parts_of_a_split_lesion_are_added_and_merged_ones_are_one() -> None:
    course = follow(
        [visit(40), visit(18, 15), visit(30)], [[change("split", (1,), (1, 2))], [change("merged", (1, 2), (1,))]]
    )
    (track,) = course.tracks
    assert list(track.diameters_mm) == [40, 33, 30]
    assert list(track.instances) == [(1,), (1, 2), (1,)]


def test_a_lesion_that_merges_with_a_new_one_stays_the_old_one() -> None:
    course = follow(
        [visit(40), visit(40, 10), visit(60)],
        [[change("matched", (1,), (1,)), change("new", (), (2,))], [change("merged", (1, 2), (1,))]],
    )
    (track,) = course.tracks
    assert list(track.diameters_mm) == [40, 50, 60]
    assert [response.new_lesions for response in course.responses] == [("lesion 1",), ("lesion 1",)]
    assert [response.overall for response in course.responses] == ["PD", "PD"]


def test_small_lesions_only_have_no_target_response() -> None:
    course = follow([visit(8), visit(9)], [[change("matched", (1,), (1,))]])
    (response,) = course.responses
    assert course.targets == ()
    assert response.target is None
    assert response.overall == "non-CR/non-PD"


def test_what_cannot_be_followed_is_refused() -> None:
    with pytest.raises(InputError, match="two visits or more"):
        follow([visit(40)], [])
    with pytest.raises(InputError, match="no lesion in the first scan"):
        follow([visit(), visit(40)], [[change("new", (), (1,))]])
