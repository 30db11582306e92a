import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from medseg.core.errors import InputError
from medseg.core.presence import only_one, present

HOLDER = """
import sys
from pathlib import Path
from medseg.core.presence import only_one, present
path = Path(sys.argv[1])
with present(path) if sys.argv[2:] == ["present"] else only_one(path, "it is taken", "Wait."):
    print("at work", flush=True)
    sys.stdin.read()
"""


def holder_of(lock: Path, how: str) -> subprocess.Popen[str]:
    """A process that is at work there by now."""
    command = [sys.executable, "-c", HOLDER, str(lock), how]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "at work\n"
    return holder


def test_who_is_at_work_is_known_to_the_others(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with present(lock) as first:
        with first.alone() as is_alone:
            assert is_alone
        with present(lock) as second, first.alone() as is_first_alone, second.alone() as is_second_alone:
            assert not is_first_alone
            assert not is_second_alone
        with first.alone() as is_alone:
            assert is_alone


def test_asking_in_vain_keeps_ones_own_place(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with present(lock) as first:
        with present(lock) as second, second.alone():
            pass
        with present(lock) as third:
            with first.alone() as is_alone:
                assert not is_alone
            with third.alone() as is_alone:
                assert not is_alone, "the first is still at work"


def test_a_killed_process_is_at_work_no_more(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holder = holder_of(lock, "present")
    with present(lock) as presence:
        with presence.alone() as is_alone:
            assert not is_alone
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
        with presence.alone() as is_alone:
            assert is_alone


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="a file stands where its folder should be"),
        present(tmp_path / "file" / "lock"),
    ):
        pass


class TestOnlyOne:
    def test_another_is_refused_by_the_name_of_the_process_until_it_is_killed(self, tmp_path: Path) -> None:
        lock = tmp_path / "run" / "lock"
        holder = holder_of(lock, "only one")
        said = rf"^it is taken \(process {holder.pid} of .+\)\. Wait\.$"
        with pytest.raises(InputError, match=said), only_one(lock, "it is taken", "Wait."):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
        with (
            only_one(lock, "it is taken", "Wait."),
            pytest.raises(InputError, match=rf"process {os.getpid()} of"),
            only_one(lock, "it is taken", "Wait."),
        ):
            pass

    def test_nothing_is_left_but_what_was_put_there(self, tmp_path: Path) -> None:
        for name in ("empty", "full"):
            (tmp_path / name).mkdir()
        for name in ("new", "empty", "full", "filled"):
            with only_one(tmp_path / name / "lock", "", ""):
                if name in ("full", "filled"):
                    (tmp_path / name / "file").touch()
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
        assert left == {"empty", "full", "full/file", "filled", "filled/file"}

    def test_a_lock_that_its_last_holder_has_just_removed_is_not_taken_for_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock, flock = tmp_path / "lock", fcntl.flock

        def flock_just_after_its_end(file: IO[str], how: int) -> None:
            monkeypatch.setattr(fcntl, "flock", flock)
            lock.unlink()
            flock(file, how)

        monkeypatch.setattr(fcntl, "flock", flock_just_after_its_end)
        with only_one(lock, "", ""), pytest.raises(InputError, match="it is taken"), only_one(lock, "it is taken", ""):
            pass

    def test_the_lock_of_another_who_began_anew_is_left(self, tmp_path: Path) -> None:
        lock = tmp_path / "run" / "lock"
        with only_one(lock, "", ""):
            shutil.rmtree(lock.parent)
            lock.parent.mkdir()
            lock.touch()
        assert lock.exists()

    def test_nobody_is_refused_where_no_locks_are_known(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", refuse)
        with only_one(tmp_path / "lock", "it is taken", ""), only_one(tmp_path / "lock", "it is taken", ""):
            pass
