"""What has drifted is told on the dashboard."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from apps.viewer.dashboard import dashboard_numbers
from apps.viewer.desk import Desk
from medseg.core.report import Report


def test_many_warnings_are_an_alert(write_result: Callable[..., Path], tmp_path: Path) -> None:
    first = write_result()
    report = Report.model_validate_json((first / "report.json").read_bytes())
    for number in range(1, 45):
        place = tmp_path / "results" / f"study_{number:03d}"
        shutil.copytree(first, place)
        changes = {"created": report.created + timedelta(hours=number), "warnings": ("odd",) if number > 32 else ()}
        (place / "report.json").write_text(report.model_copy(update=changes).model_dump_json(), encoding="utf-8")
    desk = Desk(tmp_path / "results")
    (alert,) = dashboard_numbers(desk)["alerts"]
    assert alert.startswith("drift in scans with warnings: ")
    for place in (tmp_path / "results").glob("study_04*"):
        shutil.rmtree(place)
    for place in (tmp_path / "results").glob("study_03*"):
        shutil.rmtree(place)
    assert dashboard_numbers(desk)["alerts"] == []
