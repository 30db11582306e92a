"""An archive by DICOMweb: a real one, and one that misbehaves as it is told to."""

from __future__ import annotations

import io
import itertools
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from fake_archive import BOUNDARY, SERIES, STUDY, FakeArchive, Request, keep, multipart, running
from hypothesis import given
from hypothesis import strategies as st
from made_certificates import certified
from orthanc import Orthanc, made_ct
from pydantic import SecretStr, ValidationError

from medseg.core.errors import InputError, NoEntryError, UnreachableError
from medseg.exchange.dicom.network.web.archive import PAGE, StudyFilter, WebArchive
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.exchange.dicom.network.web.parts import save_parts

UIDS = tuple(f"1.2.826.99.3.{number}" for number in range(1, 6))


def dicom(uid: str, series: str = SERIES, size: int = 0) -> bytes:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, series
    dataset.PatientName = "Planted^Name"
    dataset.EncapsulatedDocument = bytes(size)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def fake() -> Iterator[FakeArchive]:
    with running(FakeArchive({uid: dicom(uid) for uid in UIDS})) as archive:
        yield archive


def connected(fake: FakeArchive, **config: object) -> WebArchive:
    settings = {"pause_s": 0.0, "timeout_s": 5.0, "tries": 3} | config
    return WebArchive(WebArchiveConfig.model_validate({"url": fake.url} | settings), sleep=lambda _: None)


class TestRealArchive:
    def test_what_was_pushed_is_found_fetched_and_results_are_stored(self, orthanc: Orthanc, tmp_path: Path) -> None:
        orthanc.push(made_ct(tmp_path / "ct", patient="P1", shape=(16, 16, 8)))
        orthanc.push(made_ct(tmp_path / "other", 1, patient="P2", shape=(16, 16, 9)))
        with WebArchive(WebArchiveConfig(url=orthanc.dicomweb_url, pause_s=0.05)) as archive:
            assert {study.patient_id: study.instance_count for study in archive.studies()} == {"P1": 8, "P2": 9}
            (study,) = archive.studies(StudyFilter(patient_id="P1", first_date="20251231"))
            assert not list(archive.studies(StudyFilter(first_date="20260102")))
            (series,) = archive.series(study.study_uid)
            assert (series.modality, series.description, series.instance_count) == ("CT", "phantom", 8)
            heard: list[int] = []
            archive.fetch_series(
                study.study_uid, series.series_uid, tmp_path / "got", lambda done, _: heard.append(done)
            )
            assert heard == list(range(1, 9))
            sent = {pydicom.dcmread(file).SOPInstanceUID: file for file in (tmp_path / "ct").rglob("*.dcm")}
            for file in sorted((tmp_path / "got").iterdir()):
                got = pydicom.dcmread(file)
                assert got.PixelData == pydicom.dcmread(sent.pop(got.SOPInstanceUID)).PixelData
            assert not sent
            (tmp_path / "new.dcm").write_bytes(dicom("1.2.826.99.7"))
            assert [stored.was_there for stored in archive.store([tmp_path / "new.dcm"])] == [False]
            assert [stored.was_there for stored in archive.store([tmp_path / "new.dcm"])] == [True]
            assert len(orthanc.get("/instances")) == 18

    def test_who_may_not_come_in_and_who_is_not_there(self, tmp_path: Path) -> None:
        with Orthanc(tmp_path / "orthanc", user="medseg", password="right") as orthanc:
            wrong = WebArchiveConfig(url=orthanc.dicomweb_url, user="medseg", password=SecretStr("wr0ng"), pause_s=0)
            with WebArchive(wrong) as archive, pytest.raises(NoEntryError, match="does not let us in") as refused:
                list(archive.studies())
            assert "wr0ng" not in str(refused.value)
            secret = tmp_path / "password"
            secret.write_text("right\n")
            right = WebArchiveConfig(url=orthanc.dicomweb_url, user="medseg", password_file=secret, pause_s=0)
            with WebArchive(right) as archive:
                assert not list(archive.studies())
                secret.write_text("changed")  # a secret is read anew for each request
                with pytest.raises(NoEntryError, match="does not let us in"):
                    list(archive.studies())
            orthanc.kill()
            with WebArchive(right) as archive, pytest.raises(UnreachableError, match="in 4 tries: no connection"):
                list(archive.studies())


class TestFetching:
    def test_a_series_cut_off_is_completed_object_by_object(self, fake: FakeArchive, tmp_path: Path) -> None:
        fake.objects = {uid: dicom(uid, size=300_000) for uid in UIDS}
        body = multipart(list(fake.objects.values()))

        def cut(request: Request) -> bool:
            if not request.path.endswith(SERIES):
                return False
            request.send_response(200)
            request.send_header("Content-Type", f"multipart/related; boundary={BOUNDARY}")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body[: len(body) // 2])
            request.wfile.flush()
            request.connection.shutdown(socket.SHUT_RDWR)
            return True

        fake.misdeed = cut
        with connected(fake) as archive:
            archive.fetch_series(STUDY, SERIES, tmp_path / "got")
        got = [pydicom.dcmread(file).SOPInstanceUID for file in sorted((tmp_path / "got").iterdir())]
        assert got == list(UIDS)
        singles = [path for path in fake.asked if "/instances/" in path]
        assert 0 < len(singles) < len(UIDS), "what had come was kept"

    def test_nothing_is_left_where_one_object_never_comes(self, fake: FakeArchive, tmp_path: Path) -> None:
        fake.misdeed = lambda request: (
            "/instances/" in request.path and request.path.endswith(UIDS[3]) and fail(request)
        )
        fake.listed = list(UIDS)
        lost = fake.objects.pop(UIDS[3])
        with connected(fake) as archive:
            with pytest.raises(UnreachableError, match="did not send an image in 3 tries: it answers 503") as failed:
                archive.fetch_series(STUDY, SERIES, tmp_path / "got")
            assert STUDY not in str(failed.value)
            assert not list(tmp_path.iterdir())
            fake.objects[UIDS[3]] = lost
            archive.fetch_series(STUDY, SERIES, tmp_path / "got")
        assert len(list((tmp_path / "got").iterdir())) == len(UIDS)

    def test_too_many_objects_or_bytes_are_refused_before_they_fill_the_disk(
        self, fake: FakeArchive, tmp_path: Path
    ) -> None:
        with connected(fake, most_instances=4) as archive, pytest.raises(InputError, match="more than 4 images"):
            archive.fetch_series(STUDY, SERIES, tmp_path / "got")
        assert not any("/instances/" in path or path.endswith(SERIES) for path in fake.asked)
        with connected(fake, most_gb=1e-6) as archive, pytest.raises(InputError, match="more than 0 MB"):
            archive.fetch_series(STUDY, SERIES, tmp_path / "got")
        assert not list(tmp_path.iterdir())

    def test_another_image_than_the_one_asked_for(self, fake: FakeArchive, tmp_path: Path) -> None:
        fake.listed = [*UIDS, "1.2.826.99.3.6"]
        fake.objects["1.2.826.99.3.6"] = dicom(UIDS[0])
        with connected(fake) as archive, pytest.raises(InputError, match="another image"):
            archive.fetch_series(STUDY, SERIES, tmp_path / "got")
        fake.listed = ["../../etc"]
        with connected(fake) as archive, pytest.raises(InputError, match="whose UID is none"):
            archive.fetch_series(STUDY, SERIES, tmp_path / "got")

    def test_an_empty_series(self, fake: FakeArchive, tmp_path: Path) -> None:
        fake.objects.clear()
        with connected(fake) as archive, pytest.raises(InputError, match="lists no images"):
            archive.fetch_series(STUDY, SERIES, tmp_path / "got")


class TestAsking:
    def test_pages_are_asked_for_until_there_is_no_more(self, fake: FakeArchive) -> None:
        fake.listed = [f"1.2.826.99.4.{number}" for number in range(2 * PAGE + 3)]
        with connected(fake) as archive:
            assert len(archive.instances(STUDY, SERIES)) == 2 * PAGE + 3
            assert len(archive.instances(STUDY, SERIES, PAGE + 1)) == PAGE + 1

    def test_an_archive_that_knows_no_offset_does_not_keep_us_for_ever(self, fake: FakeArchive) -> None:
        page = b'[{"00080018": {"vr": "UI", "Value": ["1.2.3"]}}]'
        fake.misdeed = lambda request: answered(request, 200, page)
        with connected(fake) as archive:
            assert len(archive.instances(STUDY, SERIES)) == 1

    def test_what_passes_is_tried_again_and_what_does_not_is_told(self, fake: FakeArchive) -> None:
        states = itertools.chain([503, 500], itertools.repeat(200))
        fake.misdeed = lambda request: answered(request, next(states), b"[]")
        pauses: list[float] = []
        with WebArchive(WebArchiveConfig(url=fake.url, pause_s=1.0, tries=3), sleep=pauses.append) as archive:
            assert not list(archive.studies())
        assert [0.5 <= pauses[0] <= 1, 1 <= pauses[1] <= 2, len(pauses)] == [True, True, 2]
        fake.asked.clear()
        fake.misdeed = lambda request: answered(request, 400, b"[]")
        with connected(fake) as archive, pytest.raises(InputError, match=r"it refuses \(HTTP 400\)"):
            list(archive.studies())
        assert len(fake.asked) == 1
        fake.misdeed = lambda request: answered(request, 200, b"<html>", "text/html")
        with connected(fake) as archive, pytest.raises(InputError, match="not in DICOM JSON"):
            list(archive.studies())
        fake.misdeed = lambda request: answered(request, 302, b"", Location="http://127.0.0.1:9/else")
        with connected(fake) as archive, pytest.raises(InputError, match="sends us elsewhere"):
            list(archive.studies())

    def test_silence_ends_with_the_time_out(self, fake: FakeArchive) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            fake.port = silent.getsockname()[1]
            with (
                connected(fake, timeout_s=0.1, tries=2) as archive,
                pytest.raises(UnreachableError, match=r"in 2 tries: no answer within 0\.1 s"),
            ):
                list(archive.studies(StudyFilter(patient_id="PLANTED")))


class TestStoring:
    @pytest.mark.parametrize(
        ("code", "kind", "reason"),
        [
            (0x0122, InputError, "does not take objects of this kind"),
            (0xA900, InputError, "does not match its kind"),
            (0xC123, InputError, "does not understand the object"),
            (0xA701, UnreachableError, "is out of space"),
        ],
    )
    def test_a_refusal_is_told_with_its_reason(
        self, code: int, kind: type[Exception], reason: str, fake: FakeArchive, tmp_path: Path
    ) -> None:
        said = b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [%d]}}]}}' % code
        fake.misdeed = lambda request: request.command == "POST" and answered(request, 409, said)
        (tmp_path / "new.dcm").write_bytes(dicom("1.2.826.99.7"))
        with connected(fake) as archive, pytest.raises(kind, match=reason):
            archive.store([tmp_path / "new.dcm"])

    def test_taken_is_not_stored(self, fake: FakeArchive, tmp_path: Path) -> None:
        (tmp_path / "new.dcm").write_bytes(dicom("1.2.826.99.7"))
        with connected(fake) as archive, pytest.raises(UnreachableError, match="took an object and does not list it"):
            archive.store([tmp_path / "new.dcm"])
        fake.misdeed = lambda request: keep(request, fake)
        with connected(fake) as archive:
            assert [stored.was_there for stored in archive.store([tmp_path / "new.dcm"])] == [False]
        assert fake.objects["1.2.826.99.7"] == dicom("1.2.826.99.7"), "byte for byte"

    def test_a_file_without_uids(self, fake: FakeArchive, tmp_path: Path) -> None:
        (tmp_path / "new.dcm").write_bytes(dicom("1.2.826.99.7", series=""))
        with connected(fake) as archive, pytest.raises(InputError, match="lacks a UID"):
            archive.store([tmp_path / "new.dcm"])


class TestParts:
    @given(
        objects=st.lists(
            st.binary(max_size=60) | st.just(b"\r\n--part") | st.just(b"--parts--"), min_size=1, max_size=4
        ),
        size=st.integers(1, 90),
    )
    def test_any_cutting_of_a_body_gives_the_same_objects(
        self, objects: list[bytes], size: int, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("parts")
        body = multipart(objects)
        pieces = [body[begin : begin + size] for begin in range(0, len(body), size)]
        found = [file.read_bytes() for file in save_parts(pieces, BOUNDARY.encode(), folder, 4, len(body))]
        assert found == objects

    def test_a_body_that_is_cut_off(self, tmp_path: Path) -> None:
        for length in (len(multipart([b"abc"])) - 3, 48, 10):
            with pytest.raises(InputError, match="cut off"):
                list(save_parts([multipart([b"abc"])[:length]], BOUNDARY.encode(), tmp_path, 4, 1000))
            assert not [file for file in tmp_path.iterdir() if file.read_bytes() != b"abc"]

    def test_a_body_that_is_one_object(self, tmp_path: Path) -> None:
        (file,) = save_parts([b"ab", b"c"], None, tmp_path, 1, 1000)
        assert file.read_bytes() == b"abc"

    def test_more_objects_than_listed(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="more than 1 objects"):
            list(save_parts([multipart([b"a", b"b"])], BOUNDARY.encode(), tmp_path, 1, 1000))


class TestTls:
    def test_both_sides_show_certificates(self, tmp_path: Path) -> None:
        theirs, ours, strangers = (certified(tmp_path, name) for name in ("theirs", "ours", "strangers"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(theirs.certificate), str(theirs.key))
        context.load_verify_locations(str(ours.certificate))
        context.verify_mode = ssl.CERT_REQUIRED
        ca = {"ca_file": theirs.certificate}
        mine = {"client_certificate": ours.certificate, "client_key": ours.key}
        of_another = {"client_certificate": strangers.certificate, "client_key": strangers.key}
        with running(FakeArchive(tls=context)) as fake:
            with connected(fake, **ca, **mine) as archive:
                assert not list(archive.studies())
            with (
                connected(fake, **mine) as archive,
                pytest.raises(InputError, match=r"Name the authority in archive\.ca"),
            ):
                list(archive.studies())
            for refused in ({}, of_another):
                with connected(fake, **ca, **refused) as archive, pytest.raises((InputError, UnreachableError)):
                    list(archive.studies())


class TestConfig:
    @pytest.mark.parametrize(
        ("settings", "mend"),
        [
            ({"url": "archive:8042"}, "give the address"),
            ({"url": "http://me:secret@archive/dicom-web"}, "use user and password_file"),
            ({"url": "http://archive/dicom-web", "user": "me"}, "belong together"),
            ({"url": "http://archive/dicom-web", "password": "x"}, "belong together"),
            ({"url": "http://archive/dicom-web", "user": "me", "password": "x", "token": "t"}, "not both"),
            (
                {"url": "http://archive/dicom-web", "user": "me", "password": "x", "password_file": "p"},
                "give password_file or a password",
            ),
            ({"url": "http://archive/dicom-web", "token": "t", "token_file": "f"}, "give token_file or a token"),
            ({"url": "http://archive/dicom-web", "client_key": "key.pem"}, "needs client_certificate"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, settings: dict[str, str], mend: str) -> None:
        with pytest.raises(ValidationError, match=mend):
            WebArchiveConfig.model_validate(settings)

    def test_files_that_are_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"archive\.ca_file is .* no such file"):
            WebArchive(WebArchiveConfig(url="https://archive/dicom-web", ca_file=tmp_path / "ca.pem"))
        config = WebArchiveConfig(url="http://archive/dicom-web", token_file=tmp_path / "token")
        with pytest.raises(InputError, match="cannot be read"):
            config.credentials()
        (tmp_path / "token").write_text(" \n")
        with pytest.raises(InputError, match="is empty"):
            config.credentials()


def answered(request: Request, status: int, body: bytes, kind: str = "application/dicom+json", **head: str) -> bool:
    request.answer(status, body, kind, **head)
    return True


def fail(request: Request) -> bool:
    return answered(request, 503, b"")
