import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from medseg.core.errors import InputError
from medseg.datasets.unpack import Limits, unpack

FILES = {"Task/imagesTr/a.nii.gz": b"image", "Task/labelsTr/a.nii.gz": b"label", "Task/dataset.json": b"{}"}


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def made(kind: str, folder: Path, files: dict[str, bytes]) -> Path:
    return make_zip(folder / "a.zip", files) if kind == "zip" else make_tar(folder / "a.tar", files)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, says: str, limits: Limits | None = None) -> None:
    """The archive is refused with the sentence, and nothing of it is anywhere."""
    folder = archive.parent / "in" / "side"
    folder.parent.mkdir(exist_ok=True)
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(InputError, match=says):
        unpack(archive, folder, limits)
    assert sorted(archive.parent.rglob("*")) == before


@pytest.mark.parametrize("kind", ["zip", "tar"])
class TestEveryKind:
    def test_becomes_a_folder_without_its_single_top(self, kind: str, tmp_path: Path) -> None:
        unpack(made(kind, tmp_path, FILES), tmp_path / "data")
        assert tree(tmp_path / "data") == {name.removeprefix("Task/"): content for name, content in FILES.items()}

    def test_keeps_several_tops(self, kind: str, tmp_path: Path) -> None:
        unpack(made(kind, tmp_path, {"Normal/a": b"1", "Diseased/b": b"2"}), tmp_path / "data")
        assert sorted(tree(tmp_path / "data")) == ["Diseased/b", "Normal/a"]

    def test_keeps_a_single_file(self, kind: str, tmp_path: Path) -> None:
        unpack(made(kind, tmp_path, {"a": b"1"}), tmp_path / "data")
        assert tree(tmp_path / "data") == {"a": b"1"}

    def test_a_file_named_like_its_top_folder_is_kept(self, kind: str, tmp_path: Path) -> None:
        unpack(made(kind, tmp_path, {"Task/Task": b"1", "Task/b": b"2"}), tmp_path / "data")
        assert tree(tmp_path / "data") == {"Task": b"1", "b": b"2"}

    def test_what_a_mac_adds_is_left_out(self, kind: str, tmp_path: Path) -> None:
        added = {"__MACOSX/Task/._a": b"", "Task/imagesTr/._a.nii.gz": b""}
        unpack(made(kind, tmp_path, FILES | added), tmp_path / "data")
        assert len(tree(tmp_path / "data")) == 3

    def test_replaces_an_older_folder_whole(self, kind: str, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "old").touch()
        unpack(made(kind, tmp_path, {"a": b"1"}), tmp_path / "data")
        assert tree(tmp_path / "data") == {"a": b"1"}

    @pytest.mark.parametrize(
        "name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "a/..\\..\\evil", "/tmp/evil"]
    )
    def test_may_not_reach_outside(self, kind: str, name: str, tmp_path: Path) -> None:
        refused(made(kind, tmp_path, {"good": b"1", name: b"2"}), "outside its folder")

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_may_not_hold_a_file_twice(self, kind: str, tmp_path: Path) -> None:
        refused(made(kind, tmp_path, {"a": b"1", "./a": b"2"}), "holds ./a twice")

    def test_may_not_hold_a_file_where_a_folder_is(self, kind: str, tmp_path: Path) -> None:
        refused(made(kind, tmp_path, {"a/b": b"1", "a": b"2"}), "holds a twice")
        refused(made(kind, tmp_path, {"a": b"1", "a/b": b"2"}), "a file stands where its folder should be")

    def test_may_not_hold_too_many_files(self, kind: str, tmp_path: Path) -> None:
        refused(made(kind, tmp_path, {f"f{n}": b"" for n in range(5)}), "more than 4 files", Limits(files=4))

    def test_may_not_unpack_to_too_much(self, kind: str, tmp_path: Path) -> None:
        refused(made(kind, tmp_path, {"a": b"0" * 600, "b": b"0" * 600}), "more than 1000 bytes", Limits(bytes=1000))
        unpack(made(kind, tmp_path, {"a": b"0" * 1000}), tmp_path / "data", Limits(bytes=1000))

    def test_that_is_cut_off_is_damaged(self, kind: str, tmp_path: Path) -> None:
        archive = made(kind, tmp_path, {"a": random.Random(1).randbytes(5000)})
        archive.write_bytes(archive.read_bytes()[:700])
        refused(archive, "is damaged or not an archive: .*Download it again")


def test_a_compressed_tar_is_unpacked(tmp_path: Path) -> None:
    for end in ("gz", "bz2", "xz"):
        unpack(make_tar(tmp_path / f"a.tar.{end}", FILES, f"w:{end}"), tmp_path / end)
        assert len(tree(tmp_path / end)) == 3


def test_a_compressed_tar_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", {f"{n}": bytes(range(256)) * 50 for n in range(9)}, "w:gz")
    archive.write_bytes(archive.read_bytes()[:-30])
    refused(archive, "is damaged or not an archive")


def test_a_gzip_with_a_flipped_bit_is_damaged(tmp_path: Path) -> None:
    content = bytearray(make_tar(tmp_path / "a.tar.gz", {"a": b"0123456789" * 500}, "w:gz").read_bytes())
    content[-6] ^= 1  # in the checksum at the end
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "data")


def test_a_tar_that_is_cut_off_between_two_files_is_damaged(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {"a": b"1" * 512, "b": b"2" * 512})
    archive.write_bytes(archive.read_bytes()[: 4 * 512])  # two heads and two files, without the end mark
    refused(archive, "cut off between two files")


@pytest.mark.parametrize("content", [b"", b"text, not an archive", b"\x1f\x8b\x08\x00"])
def test_what_is_no_archive_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    refused(tmp_path / "a.tar", "is damaged or not an archive")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(member)
    refused(tmp_path / "a.tar", "holds link, a link or a device")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
    refused(tmp_path / "a.zip", "holds the link link")


def test_a_zip_that_lies_about_its_sizes_is_counted_by_what_comes_out(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a": b"0" * 5000})
    content = archive.read_bytes().replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged|more than 1000 bytes"):
        unpack(archive, tmp_path / "data", Limits(bytes=1000))
    assert not (tmp_path / "data").exists()


def test_an_encrypted_zip_is_told(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a": b"1"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[content.index(b"PK\x03\x04") + 6] |= 1
    archive.write_bytes(content)
    refused(archive, "damaged or not an archive: .*encrypted")
