import errno
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import httpx
import pytest
from free_port import free_port

from medseg.core.atomic import unfinished_path
from medseg.core.errors import InputError
from medseg.datasets.download import Expected, download

CONTENT = bytes(range(256)) * 20_000  # 5.1 MB: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "a.tar"


@pytest.fixture
def file_server(server: Any) -> Any:
    server.files["a.tar"] = CONTENT
    return server


def fetch(server: Any, target: Path, client: httpx.Client, **options: Any) -> None:
    download(f"{server.url}a.tar", target, client, sleep=lambda _: None, **options)


def break_off(server: Any, target: Path, client: httpx.Client, after: int) -> None:
    """One run that breaks off three times and leaves `after` bytes for the next."""
    server.cut_after = [after, 0, 0]
    with pytest.raises(InputError, match="broke off"):
        fetch(server, target, client)
    assert unfinished_path(target).stat().st_size == after
    server.asked.clear()


def only_file(target: Path) -> bool:
    return list(target.parent.iterdir()) == [target]


def test_a_file_comes_whole_with_progress(file_server: Any, target: Path, client: httpx.Client) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(file_server, target, client, expected=Expected(SHA256, MD5), on_bytes=lambda *now: seen.append(now))
    assert target.read_bytes() == CONTENT
    assert only_file(target)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [there for there, _ in seen] == sorted(there for there, _ in seen)
    assert "range" not in file_server.asked[0]
    assert file_server.asked[0]["accept-encoding"] == "identity"


def test_an_empty_file_comes_too(file_server: Any, target: Path, client: httpx.Client) -> None:
    file_server.files["a.tar"] = b""
    fetch(file_server, target, client)
    assert target.read_bytes() == b""
    assert only_file(target)


class TestInterrupted:
    def test_in_the_middle_it_goes_on_at_once(self, file_server: Any, target: Path, client: httpx.Client) -> None:
        file_server.cut_after = [3_000_000]
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert target.read_bytes() == CONTENT
        assert [asked.get("range") for asked in file_server.asked] == [None, "bytes=3000000-"]
        assert file_server.asked[1]["if-range"] == '"1"'

    def test_it_waits_longer_before_each_attempt(self, file_server: Any, target: Path, client: httpx.Client) -> None:
        waits: list[float] = []
        file_server.cut_after = [1000, 1000]
        download(f"{file_server.url}a.tar", target, client, sleep=waits.append)
        assert waits == [1.0, 4.0]

    def test_three_times_it_is_told_and_the_next_run_goes_on(
        self, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        file_server.cut_after = [1_000_000, 500_000, 0]
        with pytest.raises(InputError, match=r"broke off after 1\.5 MB: .*Run the same command again"):
            fetch(file_server, target, client)
        assert not target.exists()
        file_server.asked.clear()
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert target.read_bytes() == CONTENT
        assert [asked["range"] for asked in file_server.asked] == ["bytes=1500000-"]
        assert only_file(target)

    def test_by_kill_9_the_next_run_goes_on(self, file_server: Any, target: Path, client: httpx.Client) -> None:
        program = (
            "import sys, os, signal, httpx, pathlib; from medseg.datasets.download import download\n"
            "def told(there, total):\n    if there > 2_000_000: os.kill(os.getpid(), signal.SIGKILL)\n"
            "download(sys.argv[1], pathlib.Path(sys.argv[2]), httpx.Client(trust_env=False), on_bytes=told)"
        )
        killed = subprocess.run([sys.executable, "-c", program, f"{file_server.url}a.tar", str(target)])
        assert killed.returncode == -signal.SIGKILL
        assert not target.exists()
        file_server.asked.clear()
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert target.read_bytes() == CONTENT
        assert int(file_server.asked[0]["range"].removeprefix("bytes=").rstrip("-")) > 1_000_000

    def test_a_server_without_ranges_begins_again(self, file_server: Any, target: Path, client: httpx.Client) -> None:
        break_off(file_server, target, client, 1_000_000)
        file_server.supports_range = False
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert target.read_bytes() == CONTENT

    def test_a_file_that_changed_since_begins_again(self, file_server: Any, target: Path, client: httpx.Client) -> None:
        break_off(file_server, target, client, 1_000_000)
        file_server.files["a.tar"], file_server.etag = CONTENT[::-1], '"2"'
        fetch(file_server, target, client)
        assert file_server.asked[0]["if-range"] == '"1"'
        assert target.read_bytes() == CONTENT[::-1]

    def test_without_an_etag_its_date_serves(self, file_server: Any, target: Path, client: httpx.Client) -> None:
        file_server.etag, file_server.last_modified = None, "Wed, 21 Oct 2015 07:28:00 GMT"
        break_off(file_server, target, client, 1_000_000)
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert file_server.asked[0]["if-range"] == "Wed, 21 Oct 2015 07:28:00 GMT"

    @pytest.mark.parametrize("etag", [None, 'W/"1"'])
    def test_without_a_strong_name_of_the_version_it_begins_again(
        self, etag: str | None, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        file_server.etag = etag
        file_server.cut_after = [1_000_000]
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert "range" not in file_server.asked[1]

    def test_another_address_does_not_go_on_with_the_bytes(
        self, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        break_off(file_server, target, client, 1_000_000)
        file_server.files["b.tar"] = CONTENT[::-1]
        download(f"{file_server.url}b.tar", target, client, sleep=lambda _: None)
        assert "range" not in file_server.asked[0]
        assert target.read_bytes() == CONTENT[::-1]

    def test_a_server_that_goes_on_elsewhere_is_not_believed(
        self, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        break_off(file_server, target, client, 1_000_000)
        file_server.first_byte_shift = 1
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert target.read_bytes() == CONTENT
        assert [("range" in asked) for asked in file_server.asked] == [True, False]

    def test_after_the_last_byte_it_only_has_to_be_put_in_place(
        self, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        break_off(file_server, target, client, 1_000_000)
        unfinished_path(target).write_bytes(CONTENT)
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert target.read_bytes() == CONTENT
        assert len(file_server.asked) == 1

    def test_bytes_beyond_the_end_are_not_believed(self, file_server: Any, target: Path, client: httpx.Client) -> None:
        break_off(file_server, target, client, 1_000_000)
        unfinished_path(target).write_bytes(CONTENT + b"more")
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert target.read_bytes() == CONTENT

    @pytest.mark.parametrize("note", ["", "no json", "[]", '{"url": 1}'])
    def test_a_note_that_cannot_be_read_begins_again(
        self, note: str, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        break_off(file_server, target, client, 1_000_000)
        unfinished_path(target).with_suffix(".json").write_text(note)
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert target.read_bytes() == CONTENT

    def test_a_server_that_says_no_length_is_taken_at_its_end(
        self, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        seen: list[tuple[int, int | None]] = []
        file_server.says_length = False
        fetch(file_server, target, client, on_bytes=lambda *now: seen.append(now))
        assert target.read_bytes() == CONTENT
        assert seen[-1] == (len(CONTENT), None)


class TestRefused:
    @pytest.mark.parametrize("kind", ["sha256", "md5"])
    def test_a_wrong_checksum_leaves_nothing(
        self, kind: str, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        wrong = "0" * (64 if kind == "sha256" else 32)
        with pytest.raises(InputError, match=rf"its {kind} is [0-9a-f]+, {wrong} is expected. Nothing was kept"):
            fetch(file_server, target, client, expected=Expected(**{kind: wrong}))
        assert list(target.parent.iterdir()) == []

    def test_a_wrong_checksum_leaves_the_older_file(self, file_server: Any, target: Path, client: httpx.Client) -> None:
        target.parent.mkdir()
        target.write_bytes(b"old")
        with pytest.raises(InputError, match="not the file of the manifest"):
            fetch(file_server, target, client, expected=Expected("0" * 64))
        assert target.read_bytes() == b"old"

    @pytest.mark.parametrize(
        ("status", "says"),
        [
            (404, r"there is no file at http://127.*a\.tar \(404 Not Found\)"),
            (410, "there is no file"),
            (401, "without an account"),
            (403, "without an account"),
            (418, "the server answered 418"),
        ],
    )
    def test_an_answer_that_will_not_change_is_told_at_once(
        self, status: int, says: str, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        file_server.statuses = [status]
        with pytest.raises(InputError, match=says):
            fetch(file_server, target, client)
        assert len(file_server.asked) == 1
        assert not target.exists()

    def test_a_passing_fault_of_the_server_is_tried_again(
        self, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        file_server.statuses = [503, 429]
        fetch(file_server, target, client)
        assert target.read_bytes() == CONTENT

    def test_a_lasting_fault_of_the_server_is_told(self, file_server: Any, target: Path, client: httpx.Client) -> None:
        file_server.statuses = [503] * 3
        with pytest.raises(InputError, match="the server answered 503 Service Unavailable"):
            fetch(file_server, target, client)

    def test_a_server_that_is_not_there_is_told(self, target: Path, client: httpx.Client) -> None:
        port = free_port()
        with pytest.raises(InputError, match=r"127\.0\.0\.1 cannot be reached .*Check the address"):
            download(f"http://127.0.0.1:{port}/a.tar", target, client, sleep=lambda _: None)

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/a.tar", "a.tar"])
    def test_what_is_no_address_is_told(self, url: str, target: Path, client: httpx.Client) -> None:
        with pytest.raises(InputError, match="no address to download from"):
            download(url, target, client, sleep=lambda _: None)

    def test_too_little_space_is_told_before_the_bytes_come(
        self, file_server: Any, target: Path, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1_000_000))
        with pytest.raises(InputError, match=r"5\.1 MB are still to come and 1\.0 MB are free"):
            fetch(file_server, target, client)
        assert not target.exists()

    def test_a_disk_that_fills_up_is_told_and_the_bytes_stay(
        self, file_server: Any, target: Path, client: httpx.Client
    ) -> None:
        program = (
            "import resource, sys, httpx, pathlib; from medseg.datasets.download import download\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))\n"
            "download(sys.argv[1], pathlib.Path(sys.argv[2]), httpx.Client(trust_env=False))"
        )
        run = subprocess.run(
            [sys.executable, "-c", program, f"{file_server.url}a.tar", str(target)], capture_output=True, text=True
        )
        assert "InputError" in run.stderr
        assert "a.tar was not written" in run.stderr
        assert not target.exists()
        fetch(file_server, target, client, expected=Expected(SHA256))
        assert file_server.asked[-1]["range"] == "bytes=2000000-"

    def test_a_folder_that_is_a_file_is_told(self, file_server: Any, tmp_path: Path, client: httpx.Client) -> None:
        (tmp_path / "taken").write_text("")
        with pytest.raises(InputError, match="a file stands where its folder should be"):
            fetch(file_server, tmp_path / "taken" / "a.tar", client)

    def test_other_faults_of_the_disk_pass_through(
        self, file_server: Any, target: Path, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            fetch(file_server, target, client)
        assert not target.exists()


def test_a_silent_server_is_given_up(target: Path, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medseg.datasets.download.TIMEOUT_S", 0.05)
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.tar"
        with pytest.raises(InputError, match=r"broke off after 0\.0 MB"):
            download(url, target, client, sleep=lambda _: None)
    assert time.monotonic() - started < 5
