from pathlib import Path

import pytest

from medseg.core.errors import InputError
from medseg.jobs.cores import CoreBudget, share_cores, usable_cores


@pytest.mark.parametrize(
    ("cores", "workers", "threads", "budget"),
    [
        (8, None, None, (1, 8)),
        (8, 2, None, (2, 4)),
        (8, None, 2, (4, 2)),
        (8, 3, None, (3, 2)),
        (8, None, 3, (2, 3)),
        (8, 2, 2, (2, 2)),
        (2, 2, 1, (2, 1)),
        (1, None, None, (1, 1)),
    ],
)
def test_what_is_not_asked_for_follows_from_the_rest(
    cores: int, workers: int | None, threads: int | None, budget: tuple[int, int]
) -> None:
    assert share_cores(cores, workers, threads) == CoreBudget(*budget)


@pytest.mark.parametrize(("workers", "threads"), [(3, None), (None, 3), (2, 2), (1, 3)])
def test_more_than_there_are_is_refused(workers: int | None, threads: int | None) -> None:
    with pytest.raises(InputError, match=r"cores, and there are 2\. Ask for at most"):
        share_cores(2, workers, threads)


@pytest.mark.parametrize(("cores", "workers", "threads"), [(0, None, None), (2, 0, None), (2, None, 0)])
def test_nothing_is_refused(cores: int, workers: int | None, threads: int | None) -> None:
    with pytest.raises(InputError, match="at least one"):
        share_cores(cores, workers, threads)


@pytest.mark.parametrize(
    ("text", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None), ("x y", None)]
)
def test_the_quota_of_a_container_counts(text: str, cores: int | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    without = usable_cores(tmp_path / "none")
    assert without >= 1
    assert usable_cores(tmp_path / "cpu.max") == (cores or without)


def test_a_quota_above_the_cores_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("99900000 100000")
    assert usable_cores(tmp_path / "cpu.max") == usable_cores(tmp_path / "none")
