"""The ledger: what was seen for how long, whatever the clock does; what is ours; what somebody released."""

from pathlib import Path

import pytest

from medseg.core.errors import StoreError
from medseg.workflows.service.ledger import Ledger, short_name

STUDY, SERIES = "1.2.3.4.5", "1.2.3.4.6"


class Clock:
    """A clock that stands still until it is turned."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite", clock)


class TestSeen:
    def test_counts_from_the_last_change(self, ledger: Ledger, clock: Clock) -> None:
        assert ledger.seen(STUDY, "1/8") == (0.0, False)
        clock.now_s += 30
        assert ledger.seen(STUDY, "1/8") == (30.0, False)
        assert ledger.seen(STUDY, "1/9") == (0.0, False)
        clock.now_s += 60
        ledger.settle(STUDY, "1/9")
        assert ledger.seen(STUDY, "1/9") == (60.0, True)
        ledger.settle(STUDY, "1/10")
        assert ledger.seen(STUDY, "1/10") == (0.0, False), "settled is what was looked at, not what came since"

    def test_a_clock_that_was_put_back_begins_the_wait_anew_and_forgets_nothing(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        ledger.seen(STUDY, "1/8")
        clock.now_s -= 3600
        assert ledger.seen(STUDY, "1/8") == (0.0, False)
        clock.now_s += 30
        assert ledger.seen(STUDY, "1/8") == (30.0, False)
        ledger.settle(STUDY, "1/8")
        clock.now_s -= 3600
        assert ledger.seen(STUDY, "1/8") == (0.0, True)


class TestSeries:
    def test_what_somebody_released_stays_so(self, ledger: Ledger) -> None:
        ledger.seen(STUDY, "1/8")
        ledger.settle(STUDY, "1/8")
        ledger.note_series(STUDY, SERIES, "liver", "held", "it has 8 of 9 images")
        assert ledger.release("another") == 0
        assert ledger.release(short_name(SERIES)) == 1
        assert not ledger.seen(STUDY, "1/8")[1], "its study is looked at again"
        ledger.note_series(STUDY, SERIES, "liver", "held", "it has 8 of 9 images")
        ledger.forget_series(SERIES, "liver")
        assert [one.standing for one in ledger.series("held", "released")] == ["released"]

    def test_what_is_released_while_its_study_is_planned_is_planned_anew(self, ledger: Ledger) -> None:
        ledger.seen(STUDY, "1/8")
        ledger.note_series(STUDY, SERIES, "liver", "held", "it has 8 of 9 images")
        assert ledger.release() == 1
        ledger.settle(STUDY, "1/8")  # by the plan that was made before
        assert ledger.seen(STUDY, "1/8") == (0.0, False)
        ledger.settle(STUDY, "1/8")
        assert ledger.seen(STUDY, "1/8") == (0.0, True)

    def test_a_study_that_is_asked_for_while_it_is_planned_is_looked_at_again(self, ledger: Ledger) -> None:
        ledger.seen(STUDY, "1/8")
        ledger.unsettle(STUDY)
        ledger.settle(STUDY, "1/8")
        assert ledger.seen(STUDY, "1/8") == (0.0, False)


class TestObjects:
    def test_are_ours_from_before_they_are_sent(self, ledger: Ledger) -> None:
        assert not ledger.is_ours(SERIES)
        ledger.sending("job", "archive", [("1.2.3.4.7", SERIES, "segmentation")])
        ledger.sending("job", "archive", [("1.2.3.4.7", SERIES, "segmentation")])
        assert ledger.is_ours(SERIES)
        assert ledger.stored_count() == 0
        ledger.stored("job", "archive")
        assert ledger.stored_count() == 1


def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="is damaged"):
        Ledger(tmp_path / "ledger.sqlite")
