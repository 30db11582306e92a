"""Files and folders that are whole or absent: killed writers, full disks, forbidden folders."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.core import atomic
from medseg.core.atomic import (
    clear_disk_errors,
    discard_all_unfinished,
    discard_folder,
    discard_unfinished,
    is_unfinished,
    require_output_folder,
    require_writable,
    unfinished_path,
    whole_file,
    whole_folder,
)
from medseg.core.errors import InputError

SIZE = 1_000_000

FILE_WRITER = """
import itertools, pathlib, sys
from medseg.core.atomic import whole_file
path = pathlib.Path(sys.argv[1])
for letter in itertools.cycle(b"AB"):
    with whole_file(path) as unfinished:
        unfinished.write_bytes(bytes([letter]) * 1_000_000)
    print("written", flush=True)
"""

FOLDER_WRITER = """
import itertools, pathlib, sys
from medseg.core.atomic import whole_folder
path = pathlib.Path(sys.argv[1])
for letter in itertools.cycle("AB"):
    with whole_folder(path) as unfinished:
        for number in range(3):
            (unfinished / f"{number}.txt").write_text(letter * 10_000)
    print("written", flush=True)
"""


def kill_at_random_moments(program: str, path: Path, rounds: int, check: Callable[[], None]) -> None:
    """Start the endless writer, kill it (-9) at a random moment after its first whole result, look, and again."""
    moments = random.Random(2026)
    for _ in range(rounds):
        writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        time.sleep(moments.uniform(0.0, 0.03))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        check()


def fail_after(path: Path) -> None:
    path.write_text("half")
    raise KeyError


def limited_to(size: int) -> Callable[[], None]:
    """What a child process does before it starts, to have a limit on the size of its files."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class TestWholeFile:
    def test_appears_with_its_content_and_the_usual_permissions(self, tmp_path: Path) -> None:
        path = tmp_path / "new folder" / "a.nii.gz"
        with whole_file(path) as unfinished:
            assert unfinished.name.endswith("a.nii.gz")
            assert unfinished.parent == path.parent
            unfinished.write_text("content")
            assert not path.exists()
        assert path.read_text() == "content"
        assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()
        assert list(path.parent.iterdir()) == [path]

    def test_never_touches_the_umask_which_all_threads_share(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "umask", lambda _: pytest.fail("another thread's file would be open to everybody"))
        with whole_folder(tmp_path / "a") as folder, whole_file(folder / "b") as file:
            file.write_text("")

    def test_leaves_the_old_content_when_the_block_fails(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("old")
        with pytest.raises(KeyError), whole_file(path) as unfinished:
            fail_after(unfinished)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_killed_writer_leaves_one_whole_version(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"

        def check() -> None:
            assert path.read_bytes() in (b"A" * SIZE, b"B" * SIZE)
            assert all(is_unfinished(other) for other in tmp_path.iterdir() if other != path)

        kill_at_random_moments(FILE_WRITER, path, 8, check)

    def test_a_full_disk_is_told_and_leaves_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        with (
            pytest.raises(InputError, match=r"the disk is full: .*a\.bin was not written. Free some space"),
            whole_file(path),
            Path("/dev/full").open("wb", buffering=0) as full,
        ):
            full.write(b"x")
        assert list(tmp_path.iterdir()) == []

    def test_a_limit_on_file_size_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        writer = subprocess.run(
            [sys.executable, "-c", FILE_WRITER, str(path)], preexec_fn=limited_to(1000), capture_output=True, text=True
        )
        assert "InputError" in writer.stderr
        assert "larger than the file system or a limit" in writer.stderr
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
    def test_a_folder_that_may_not_be_written_is_told(
        self, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "touch", refuse)
        with (
            pytest.raises(InputError, match=r"may not be written.*Choose another output folder"),
            whole_file(tmp_path / "a"),
        ):
            pytest.fail("the block is not entered")

    def test_a_real_folder_that_may_not_be_written_is_told(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        # The superuser may write everywhere; a child of root becomes nobody first.
        program = "import os, medseg.core.atomic\nif os.geteuid() == 0: os.setuid(65534)\n" + FILE_WRITER
        writer = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a")], capture_output=True, text=True)
        assert "InputError" in writer.stderr
        assert "may not be written (Permission denied)" in writer.stderr

    def test_a_file_in_place_of_its_folder_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("")
        with (
            pytest.raises(InputError, match="a file stands where its folder should be"),
            whole_file(tmp_path / "taken" / "a.txt"),
        ):
            pytest.fail("the block is not entered")

    def test_a_folder_in_its_own_place_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").mkdir()
        with pytest.raises(InputError, match="a folder of that name stands there"), whole_file(tmp_path / "a.txt"):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]

    def test_a_name_as_long_as_the_system_allows_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / ("a" * 251 + ".txt")
        with whole_file(path) as unfinished:
            unfinished.write_text("x")
        assert path.read_text() == "x"

    def test_a_longer_name_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="longer than the file system allows"), whole_file(tmp_path / ("a" * 300)):
            pass
        assert list(tmp_path.iterdir()) == []


class TestDiscardUnfinished:
    def test_removes_what_killed_writers_of_this_file_left_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "a[1].txt"
        kept = [path, tmp_path / "b-a[1].txt", tmp_path / ".medseg-unfinished-x1-b.txt"]
        for each in (*kept, tmp_path / ".medseg-unfinished-x2-a[1].txt"):
            each.write_text("")
        discard_unfinished(path)
        assert sorted(tmp_path.iterdir()) == sorted(kept)

    def test_removes_what_killed_writers_left_in_a_folder_and_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "result").mkdir()
        (tmp_path / ".medseg-unfinished-x1-mask.nii").write_text("half")
        (tmp_path / ".medseg-unfinished-x2-study").mkdir()
        (tmp_path / ".medseg-unfinished-x2-study" / "mask.nii").write_text("half")
        (tmp_path / ".medseg-unfinished-x3-link").symlink_to(tmp_path / "result")
        discard_all_unfinished(tmp_path)
        assert list(tmp_path.iterdir()) == [tmp_path / "result"]


class TestRequireOutputFolder:
    def test_a_new_an_empty_and_an_earlier_output_will_do(self, tmp_path: Path) -> None:
        for name, files in (("new", None), ("empty", ()), ("earlier", ("report.json", "mask.nii"))):
            if files is not None:
                (tmp_path / name).mkdir()
            for file in files or ():
                (tmp_path / name / file).write_text("")
            require_output_folder(tmp_path / name, "report.json")
        assert not (tmp_path / "new").exists()

    def test_nothing_else_is_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "letter.txt").write_text("Dear colleague")
        with pytest.raises(InputError, match="is a file; the output is a folder"):
            require_output_folder(tmp_path / "letter.txt", "report.json")
        with pytest.raises(InputError, match="holds other files and will not be overwritten"):
            require_output_folder(tmp_path, "report.json")


class TestRequireWritable:
    def test_leaves_nothing_and_asks_the_nearest_folder_there_is(self, tmp_path: Path) -> None:
        require_writable(tmp_path / "a" / "b" / "c")
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_the_way_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("")
        with pytest.raises(InputError, match="a file stands where its folder should be"):
            require_writable(tmp_path / "a" / "b")

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a /proc, in which nobody can make a folder")
    def test_a_file_system_that_takes_no_folder_is_told(self) -> None:
        with pytest.raises(InputError, match="/proc/x cannot be written: its folder cannot be made there"):
            require_writable(Path("/proc/x"))


class TestWholeFolder:
    def test_appears_with_all_its_files(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        with whole_folder(path) as unfinished:
            (unfinished / "below").mkdir()
            (unfinished / "below" / "a.txt").write_text("a")
            assert not path.exists()
        assert (path / "below" / "a.txt").read_text() == "a"
        assert path.stat().st_mode & 0o777 == 0o777 & ~current_umask()
        assert list(tmp_path.iterdir()) == [path]

    def test_replaces_an_older_folder_and_keeps_none_of_it(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        for name in ("old.txt", "new.txt"):
            with whole_folder(path) as unfinished:
                (unfinished / name).write_text("")
        assert [file.name for file in path.iterdir()] == ["new.txt"]
        assert list(tmp_path.iterdir()) == [path]

    def test_another_writer_who_comes_first_is_replaced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path, replace = tmp_path / "out", Path.replace

        def replace_just_after_another(self: Path, target: Path) -> Path:
            if target == path and not path.exists():
                path.mkdir()
                (path / "theirs.txt").write_text("")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", replace_just_after_another)
        with whole_folder(path) as unfinished:
            (unfinished / "mine.txt").write_text("")
        assert [file.name for file in path.iterdir()] == ["mine.txt"]
        assert list(tmp_path.iterdir()) == [path]

    def test_leaves_the_old_folder_when_the_block_fails(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        path.mkdir()
        (path / "old.txt").write_text("old")
        with pytest.raises(KeyError), whole_folder(path) as unfinished:
            fail_after(unfinished / "new.txt")
        assert [file.name for file in path.iterdir()] == ["old.txt"]
        assert list(tmp_path.iterdir()) == [path]

    def test_a_killed_writer_leaves_one_whole_version(self, tmp_path: Path) -> None:
        path = tmp_path / "out"

        def check() -> None:
            contents = [file.read_text() for file in sorted(path.iterdir())]
            assert contents in (["A" * 10_000] * 3, ["B" * 10_000] * 3)

        kill_at_random_moments(FOLDER_WRITER, path, 8, check)

    @pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, where two folders change places in one step")
    def test_is_never_missing_while_it_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        path.mkdir()
        missing, stop = threading.Event(), threading.Event()

        def watch() -> None:
            while not stop.is_set():
                if not path.exists():
                    missing.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(300):
            with whole_folder(path):
                pass
        stop.set()
        watcher.join()
        assert not missing.is_set()

    def test_is_replaced_where_folders_cannot_change_places(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(atomic, "_exchanged", lambda *_: False)
        self.test_replaces_an_older_folder_and_keeps_none_of_it(tmp_path)

    def test_comes_back_where_the_second_of_two_steps_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "out"
        path.mkdir()
        (path / "old.txt").write_text("old")
        monkeypatch.setattr(atomic, "_exchanged", lambda *_: False)
        replace = Path.replace

        def fails_for_the_new_one(source: Path, target: Path) -> Path:
            if (source / "new.txt").exists():
                raise OSError(errno.ENOSPC, "full")
            return replace(source, target)

        monkeypatch.setattr(Path, "replace", fails_for_the_new_one)
        with pytest.raises(InputError, match="disk is full"), whole_folder(path) as unfinished:
            (unfinished / "new.txt").write_text("new")
        assert [file.name for file in path.iterdir()] == ["old.txt"]
        assert list(tmp_path.iterdir()) == [path]

    def test_a_file_in_its_place_is_told_before_any_work(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        path.write_text("a file")
        with pytest.raises(InputError, match="a file stands where its folder should be"), whole_folder(path):
            pytest.fail("the block is not entered")
        assert path.read_text() == "a file"


def test_what_waits_for_the_rest_is_known_as_unfinished(tmp_path: Path) -> None:
    waiting = unfinished_path(tmp_path / "Task03_Liver.tar")
    assert waiting.parent == tmp_path
    assert is_unfinished(waiting)
    assert not is_unfinished(tmp_path / "Task03_Liver.tar")


def test_errors_that_are_not_the_disk_s_pass_through(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="strange"), clear_disk_errors(tmp_path):
        raise OSError(errno.EIO, "strange")


class TestDiscardFolder:
    def test_needs_no_room_on_the_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").touch()

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "full")

        with monkeypatch.context() as patch:
            patch.setattr(os, "mkdir", full)
            discard_folder(tmp_path / "a")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_gone_is_none(self, tmp_path: Path) -> None:
        discard_folder(tmp_path / "a")
        assert list(tmp_path.iterdir()) == []


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
