"""What becomes of a spool: whole series are taken once; halves, gaps and repeats are known for what they are."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from dicom_oracle import Grid, made_series, save
from dicom_peers import Clock
from pydicom.dataset import Dataset

from medseg.exchange.dicom.network.dimse.config import SpoolLimits
from medseg.exchange.dicom.network.dimse.receiving.received import Patience, ReceivedFolder, gap_of
from medseg.exchange.dicom.network.dimse.receiving.spool import Spool, SpooledImage

QUIET_S, PATIENCE_S = 30.0, 900.0


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path, SpoolLimits(least_free_mb=0))
    spool.begin()
    return spool


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def received(tmp_path: Path, clock: Clock) -> ReceivedFolder:
    return ReceivedFolder(tmp_path, gap_of, Patience(QUIET_S, PATIENCE_S), clock=clock)


def arrive(spool: Spool, images: Sequence[Dataset], association: str = "a") -> str:
    """Keep images as the listener does; the key of their series, the last one's."""
    for image in images:
        file = save(image, spool.incoming / "arriving.dcm")
        spooled = SpooledImage(image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID)
        spool.keep(file, spooled, association)
    return spooled.key


def release(spool: Spool, key: str, association: str = "a") -> None:
    spool.close(association, {key}, set())


def break_off(spool: Spool, key: str, association: str = "a") -> None:
    spool.close(association, {key}, {key})


def test_a_whole_series_is_taken_once_it_is_quiet(spool: Spool, received: ReceivedFolder, clock: Clock) -> None:
    key = arrive(spool, made_series())
    clock.later(QUIET_S + 1)
    assert received.sweep().waiting == 1, "its association is open"
    release(spool, key)
    assert received.sweep().waiting == 0
    (series,) = received.complete()
    assert (series.key, series.images, series.modality, series.reason) == (key, 6, "CT", "")
    assert sorted(path.suffix for path in series.folder.iterdir()) == [".dcm"] * 6
    received.done(series)
    assert received.complete() == ()


def test_it_waits_for_silence(spool: Spool, received: ReceivedFolder, clock: Clock) -> None:
    release(spool, arrive(spool, made_series()))
    assert received.sweep().waiting == 1
    clock.later(QUIET_S + 1)
    assert len(received.sweep().complete) == 1


def test_half_a_series_of_a_sender_that_broke_off_is_never_taken_as_whole(
    spool: Spool, received: ReceivedFolder, clock: Clock
) -> None:
    break_off(spool, arrive(spool, made_series()[:3]))
    clock.later(QUIET_S + 1)
    assert received.sweep().waiting == 1
    clock.later(PATIENCE_S)
    (half,) = received.sweep().incomplete
    assert half.reason == "its sender broke off after 3 images. Send the series again."
    assert received.complete() == ()
    assert [one.reason for one in received.incomplete()] == [half.reason]


def test_a_second_association_mends_what_the_first_left(spool: Spool, received: ReceivedFolder, clock: Clock) -> None:
    images = made_series()
    break_off(spool, arrive(spool, images[:3]))
    release(spool, arrive(spool, images, "b"), "b")
    clock.later(QUIET_S + 1)
    (series,) = received.sweep().complete
    assert series.images == 6


def test_an_association_that_a_kill_left_open_counts_as_broken(
    spool: Spool, received: ReceivedFolder, clock: Clock
) -> None:
    arrive(spool, made_series()[:4])
    spool.begin()
    clock.later(QUIET_S + PATIENCE_S)
    (half,) = received.sweep().incomplete
    assert "broke off after 4 images" in half.reason


def test_series_that_come_interleaved_are_told_apart(spool: Spool, received: ReceivedFolder, clock: Clock) -> None:
    first, second = made_series(), made_series(offset=300.0)
    for image in second:
        image.SeriesInstanceUID = "1.2.3.4"
    for one, other in zip(first, second, strict=True):
        keys = {"a": arrive(spool, [one], "a"), "b": arrive(spool, [other], "b")}
    for name, key in keys.items():
        release(spool, key, name)
    clock.later(QUIET_S + 1)
    assert [one.images for one in received.sweep().complete] == [6, 6]


def test_a_gap_is_waited_for_and_then_set_aside_with_the_readers_reason(
    spool: Spool, received: ReceivedFolder, clock: Clock
) -> None:
    images = made_series()
    key = arrive(spool, [*images[:2], *images[3:]])
    release(spool, key)
    clock.later(QUIET_S + 1)
    assert received.sweep().waiting == 1
    release(spool, arrive(spool, [images[2]], "b"), "b")
    clock.later(QUIET_S + 1)
    assert len(received.sweep().complete) == 1, "the missing slice came after all"


def test_a_gap_that_stays_is_told(spool: Spool, received: ReceivedFolder, clock: Clock) -> None:
    images = made_series()
    release(spool, arrive(spool, [*images[:2], *images[3:]]))
    clock.later(QUIET_S + PATIENCE_S)
    (series,) = received.sweep().incomplete
    assert "gap" in series.reason
    assert received.release(series.key) == 1
    assert [one.reason for one in received.complete()] == [""], "a person may let it through"


def test_what_was_set_aside_and_what_was_taken_is_forgotten_in_time(
    spool: Spool, tmp_path: Path, received: ReceivedFolder, clock: Clock
) -> None:
    release(spool, arrive(spool, made_series()))
    half = made_series(offset=300.0)[:3]
    for image in half:
        image.SeriesInstanceUID = "1.2.3.4"
    key = arrive(spool, half, "b")
    break_off(spool, key, "b")
    clock.later(QUIET_S + PATIENCE_S)
    received.sweep()
    assert received.discard_older(86_400) == ()
    assert len(received.incomplete()) == len(list((tmp_path / "taken").iterdir())) == 1
    clock.later(86_400)
    assert received.discard_older(86_400) == (key,)
    assert received.incomplete() == ()
    assert list((tmp_path / "taken").iterdir()) == []
    assert len(received.complete()) == 1, "what is still to be treated stays"


def test_the_archives_count_tells_a_half_that_has_no_gap(tmp_path: Path, spool: Spool, clock: Clock) -> None:
    counted = ReceivedFolder(tmp_path, gap_of, Patience(QUIET_S, PATIENCE_S), lambda study, series: 6, clock)
    images = made_series()
    release(spool, arrive(spool, images[:3]))
    clock.later(QUIET_S + 1)
    assert counted.sweep().waiting == 1
    release(spool, arrive(spool, images[3:], "b"), "b")
    clock.later(QUIET_S + 1)
    assert len(counted.sweep().complete) == 1


def test_what_is_sent_again_is_done_once(spool: Spool, received: ReceivedFolder, clock: Clock) -> None:
    release(spool, arrive(spool, made_series()))
    clock.later(QUIET_S + 1)
    received.done(received.sweep().complete[0])
    for again in (made_series(), made_series()[:2]):
        release(spool, arrive(spool, again, "b"), "b")
        clock.later(QUIET_S + 1)
        sweep = received.sweep()
        assert (sweep.sent_again, sweep.complete, sweep.waiting) == (1, [], 0)
    assert list(spool.series.iterdir()) == []


def test_images_that_come_late_to_a_series_that_was_taken_are_not_half_a_series(
    spool: Spool, received: ReceivedFolder, clock: Clock
) -> None:
    release(spool, arrive(spool, made_series()))
    clock.later(QUIET_S + 1)
    received.sweep()
    late = made_series(Grid(count=9))
    release(spool, arrive(spool, late[6:], "b"), "b")
    clock.later(QUIET_S + PATIENCE_S)
    (part,) = received.sweep().incomplete
    assert "taken before" in part.reason
    release(spool, arrive(spool, late, "c"), "c")
    clock.later(QUIET_S + 1)
    assert [one.images for one in received.sweep().complete] == [9], "whole and longer, it is a new one"


def test_a_clock_that_was_set_back_holds_nothing_up(spool: Spool, received: ReceivedFolder, clock: Clock) -> None:
    release(spool, arrive(spool, made_series()))
    clock.later(-86_400)
    assert len(received.sweep().complete) == 1


def test_a_refused_image_makes_its_series_incomplete_until_it_comes(
    spool: Spool, received: ReceivedFolder, clock: Clock
) -> None:
    images = made_series()
    key = arrive(spool, images[:5])
    spool.close("a", {key}, {key})  # 0xA700 for the sixth, then a release
    clock.later(QUIET_S + 1)
    assert received.sweep().waiting == 1
    release(spool, arrive(spool, images[5:], "b"), "b")
    clock.later(QUIET_S + 1)
    assert len(received.sweep().complete) == 1


def test_a_series_that_is_taken_at_the_moment_of_storing_begins_anew(spool: Spool, tmp_path: Path) -> None:
    images = made_series()
    key = arrive(spool, images[:1])
    taken = tmp_path / "complete"
    original = Path.touch

    def snatch(path: Path, *arguments: object, **named: object) -> None:
        original(path)
        if not taken.exists():
            os.rename(path.parent, taken)  # noqa: PTH104 - Path's own methods are watched here

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "touch", snatch)
        arrive(spool, images[1:2])
    assert len(list((spool.series / key).glob("*.dcm"))) == 1


def test_an_image_that_comes_while_its_series_is_checked_is_checked_with_it(
    spool: Spool, tmp_path: Path, clock: Clock
) -> None:
    images = made_series()
    late = iter(images[3:])

    def gap(_: Path) -> str:
        arrive(spool, [next(late)], "b")
        return ""

    received = ReceivedFolder(tmp_path, gap, Patience(QUIET_S, PATIENCE_S), clock=clock)
    key = arrive(spool, images[:3])
    release(spool, key)
    clock.later(QUIET_S + 1)
    assert received.sweep().waiting == 1
    assert received.complete() == ()
    assert len(list((spool.series / key).glob("*.dcm"))) == 4
    assert received.sweep().waiting == 1, "its association is open"


def arrive_at_the_move(
    monkeypatch: pytest.MonkeyPatch, spool: Spool, images: Sequence[Dataset], association: str
) -> None:
    """Have images come in the very moment in which a folder is moved next."""
    original = Path.rename

    def rename(path: Path, target: Path) -> Path:
        monkeypatch.undo()
        arrive(spool, images, association)
        return original(path, target)

    monkeypatch.setattr(Path, "rename", rename)


def test_an_image_that_comes_while_its_series_is_taken_brings_it_back(
    spool: Spool, received: ReceivedFolder, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = made_series()
    key = arrive(spool, images[:5])
    release(spool, key)
    clock.later(QUIET_S + 1)
    arrive_at_the_move(monkeypatch, spool, images[5:], "b")
    assert received.sweep().waiting == 1
    release(spool, key, "b")
    clock.later(2 * (QUIET_S + 1))
    (series,) = received.sweep().complete
    assert series.images == 6


def test_an_image_that_comes_while_a_repeat_is_thrown_away_is_kept(
    spool: Spool, received: ReceivedFolder, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = made_series()
    release(spool, arrive(spool, images[:5]))
    clock.later(QUIET_S + 1)
    assert received.sweep().complete[0].images == 5
    key = arrive(spool, images[:5], "b")
    release(spool, key, "b")
    clock.later(2 * (QUIET_S + 1))
    arrive_at_the_move(monkeypatch, spool, images[5:], "c")
    assert received.sweep().sent_again == 0
    assert len(list((spool.series / key).glob("*.dcm"))) == 6


def test_a_series_whose_taking_was_cut_off_goes_on_arriving(
    spool: Spool, tmp_path: Path, received: ReceivedFolder, clock: Clock
) -> None:
    images = made_series()
    key = arrive(spool, images[:3])
    release(spool, key)
    (tmp_path / "checked").mkdir()
    (spool.series / key).rename(tmp_path / "checked" / f"{key}-1")
    arrive(spool, images[3:], "b")
    release(spool, key, "b")
    clock.later(QUIET_S + 1)
    (series,) = received.sweep().complete
    assert series.images == 6


def test_a_series_that_is_released_at_this_moment_is_not_too_old(
    spool: Spool, tmp_path: Path, received: ReceivedFolder, clock: Clock
) -> None:
    key = arrive(spool, made_series()[:3])
    break_off(spool, key)
    clock.later(QUIET_S + PATIENCE_S)
    (series,) = received.sweep().incomplete
    (series.folder / "reason.txt").unlink()
    clock.later(86_400)
    assert received.discard_older(86_400) == ()
    assert received.release(key) == 1
    assert len(received.complete()) == 1


def test_images_are_for_this_user_alone(tmp_path: Path) -> None:
    Spool(tmp_path / "spool", SpoolLimits()).begin()
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


def test_the_spool_counts_what_it_holds(tmp_path: Path) -> None:
    clock = Clock()
    spool = Spool(tmp_path, SpoolLimits(most_mb=1, least_free_mb=0), clock)
    spool.begin()
    (spool.series / "x").mkdir()
    (spool.series / "x" / "held.dcm").write_bytes(b"\0" * 900_000)
    assert spool.has_room(100_000)
    assert not spool.has_room(200_000)
    shutil.rmtree(spool.series / "x")
    clock.later(60)
    assert spool.has_room(1_000_000)
