import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medseg.core.errors import InputError
from medseg.core.presence import present

HOLDER = """
import sys
from pathlib import Path
from medseg.core.presence import present
with present(Path(sys.argv[1])):
    print("present", flush=True)
    sys.stdin.read()
"""


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
    command = [sys.executable, "-c", HOLDER, str(lock)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "present\n"
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
