import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from medseg.core.errors import InputError
from medseg.core.task import Task, load_task
from medseg.datasets.checks import check_manifest
from medseg.datasets.fetch import fetch
from medseg.datasets.layouts import list_cases, read_folder, with_checksums
from medseg.datasets.manifest import Archive, DataSet, FilePatterns, Manifest, Source

WriteImage = Callable[..., Path]


@pytest.fixture
def task(task_file: Path) -> Task:
    return load_task(task_file)


@pytest.fixture
def published(tmp_path: Path, task: Task, write_image: WriteImage, write_mask: WriteImage) -> Manifest:
    """A sound set of two cases in its publisher's hands."""
    folder = tmp_path / "publisher"
    for name in ("a #1", "ü"):  # names that an address has to quote
        write_image(folder / "images" / f"{name}.nii.gz")
        write_mask(folder / "labels" / f"{name}.nii.gz", 1, 2)
    return with_checksums(read_folder(folder, task))


def elsewhere(manifest: Manifest, folder: Path, source: Source) -> Manifest:
    """The same set as a user sees it before the download."""
    return replace(manifest, data_folder=folder, facts=manifest.facts.model_copy(update={"source": source}))


def packed(folder: Path, top: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder, top)
    return content.getvalue()


class TestFiles:
    @pytest.fixture
    def wanted(self, published: Manifest, server: Any, tmp_path: Path) -> Manifest:
        for row in published.rows:
            for file in row.files:
                server.files[f"set/{file.path}"] = published.path(file).read_bytes()
        return elsewhere(published, tmp_path / "mine", Source(files_url=f"{server.url}set/"))

    def test_come_each_by_itself_and_pass_the_checks(self, wanted: Manifest, client: httpx.Client) -> None:
        seen: list[str] = []
        assert fetch(wanted, client, on_bytes=lambda name, *_: seen.append(name)) == 4
        assert check_manifest(wanted).problems == ()
        assert set(seen) == {"a #1.nii.gz", "ü.nii.gz"}

    def test_that_are_there_are_left_alone(self, wanted: Manifest, client: httpx.Client, server: Any) -> None:
        fetch(wanted, client)
        server.asked.clear()
        assert fetch(wanted, client) == 0
        assert server.asked == []

    def test_that_are_damaged_come_again(self, wanted: Manifest, client: httpx.Client) -> None:
        fetch(wanted, client)
        wanted.path(wanted.rows[0].files[0]).write_bytes(b"damaged")
        assert fetch(wanted, client) == 1
        assert check_manifest(wanted).problems == ()

    def test_that_the_publisher_changed_are_refused(self, wanted: Manifest, client: httpx.Client, server: Any) -> None:
        name = f"set/{wanted.rows[0].files[0].path}"
        server.files[name] = b"changed"
        with pytest.raises(InputError, match="is not the file of the manifest"):
            fetch(wanted, client)
        assert not wanted.path(wanted.rows[0].files[0]).exists()


class TestArchives:
    @pytest.fixture
    def content(self, published: Manifest) -> bytes:
        return packed(published.data_folder, "Task99_Mine")

    def wanted(self, published: Manifest, folder: Path, *archives: Archive) -> Manifest:
        return elsewhere(replace(published, rows=()), folder, Source(archives=archives))

    def test_become_the_data_folder_and_fill_the_manifest(
        self, published: Manifest, content: bytes, server: Any, client: httpx.Client, tmp_path: Path
    ) -> None:
        server.files["mine.tar"] = content
        archive = Archive(
            url=f"{server.url}mine.tar",
            sha256=hashlib.sha256(content).hexdigest(),
            md5=hashlib.md5(content).hexdigest(),
        )
        wanted = self.wanted(published, tmp_path / "root" / "mine", archive)
        assert fetch(wanted, client) == 1
        assert [path.name for path in (tmp_path / "root").iterdir()] == ["mine"]
        patterns = FilePatterns(channels={"CT": "images/{case}.nii.gz"}, label="labels/{case}.nii.gz")
        facts = wanted.facts.model_copy(update={"files": patterns})
        filled = with_checksums(list_cases(facts, wanted.task, wanted.data_folder))
        assert {row.case: row.files for row in filled.rows} == {row.case: row.files for row in published.rows}
        assert check_manifest(filled).problems == ()

    def test_are_not_fetched_twice(
        self, published: Manifest, content: bytes, server: Any, client: httpx.Client, tmp_path: Path
    ) -> None:
        server.files["mine.tar"] = content
        wanted = self.wanted(published, tmp_path / "mine", Archive(url=f"{server.url}mine.tar"))
        fetch(wanted, client)
        server.asked.clear()
        assert fetch(wanted, client) == 0
        assert server.asked == []

    def test_of_a_set_in_parts_have_a_folder_each(
        self, published: Manifest, content: bytes, server: Any, client: httpx.Client, tmp_path: Path
    ) -> None:
        server.files |= {"1-200.tar": content, "201-400.tar": content}
        archives = [Archive(url=f"{server.url}{name}") for name in ("1-200.tar", "201-400.tar")]
        assert fetch(self.wanted(published, tmp_path / "mine", *archives), client) == 2
        assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["1-200", "201-400"]

    def test_with_a_wrong_checksum_leave_nothing(
        self, published: Manifest, content: bytes, server: Any, client: httpx.Client, tmp_path: Path
    ) -> None:
        server.files["mine.tar"] = content
        wanted = self.wanted(published, tmp_path / "mine", Archive(url=f"{server.url}mine.tar", md5="0" * 32))
        with pytest.raises(InputError, match="its md5 is"):
            fetch(wanted, client)
        assert not (tmp_path / "mine").exists()
        assert list((tmp_path / "mine.download").iterdir()) == []

    def test_that_are_none_are_told(
        self, published: Manifest, server: Any, client: httpx.Client, tmp_path: Path
    ) -> None:
        server.files["mine.tar"] = b"<html>please log in</html>"
        wanted = self.wanted(published, tmp_path / "mine", Archive(url=f"{server.url}mine.tar"))
        with pytest.raises(InputError, match="is damaged or not an archive"):
            fetch(wanted, client)
        assert not (tmp_path / "mine").exists()

    def test_need_a_name(self, published: Manifest, server: Any, client: httpx.Client, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="ends in no file name"):
            fetch(self.wanted(published, tmp_path / "mine", Archive(url=server.url)), client)


def test_a_set_without_a_direct_address_tells_how_to_get_it(
    published: Manifest, client: httpx.Client, tmp_path: Path
) -> None:
    source = Source(address="https://asoca.grand-challenge.org/", how_to_obtain="Ask for access.")
    with pytest.raises(InputError) as told:
        fetch(elsewhere(published, tmp_path / "mine", source), client)
    assert str(told.value) == (
        "medseg cannot download publisher: no address for a direct download is known. Ask for access. "
        f"Its page is https://asoca.grand-challenge.org/. It belongs in {tmp_path / 'mine'}."
    )


def test_a_set_of_which_nothing_is_known_says_so(published: Manifest, client: httpx.Client) -> None:
    facts = DataSet(name="mine", title="t", task="t.toml", licence="unknown")
    with pytest.raises(InputError, match=r"no address for a direct download is known\. Get it by hand\. It belongs in"):
        fetch(replace(published, facts=facts), client)
