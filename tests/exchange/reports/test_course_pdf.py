"""The page of a course."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from medseg.core.course import Course, Response, Track, VisitResponse
from medseg.exchange.reports.course_pdf import write_course_pdf

CREATED = datetime(2026, 1, 2, tzinfo=UTC)


def course(lesions: int, dates: tuple[date | None, ...]) -> Course:
    visits = len(dates)
    tracks = tuple(
        Track(f"lesion {n + 1}", "lesion", (2.0,) * visits, (20.0 - n / 10,) * visits, ((n + 1,),) * visits)
        for n in range(lesions)
    )
    new = Track(
        "lesion_new",
        "lesion",
        (*(0.0,) * (visits - 1), 1.0),
        (*(0.0,) * (visits - 1), 8.0),
        (*((),) * (visits - 1), (99,)),
    )
    steady = Response("SD", "the sum is neither 30 % below the baseline nor grown enough", 20.0, 20.0, 20.0)
    responses = tuple(VisitResponse(n, steady, (), "SD", "the target lesions decide") for n in range(1, visits))
    last = VisitResponse(visits - 1, None, ("lesion_new",), "PD", "a new lesion is progression")
    return Course(dates, (*tracks, new), ("lesion 1",), (*responses[:-1], last))


@pytest.mark.parametrize("lesions", [1, 60])
@pytest.mark.parametrize("dates", [(date(2025, 1, 1), date(2025, 4, 1), date(2025, 7, 1)), (date(2025, 1, 1), None)])
def test_one_page_however_many_lesions(lesions: int, dates: tuple[date | None, ...], tmp_path: Path) -> None:
    for name in ("one.pdf", "two.pdf"):
        write_course_pdf(course(lesions, dates), "Course $x$ 山", tmp_path / name, created=CREATED)
    content = (tmp_path / "one.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", content)) == 1
    assert content == (tmp_path / "two.pdf").read_bytes()
