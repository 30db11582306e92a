"""Results reach the archive and are kept there, or it is said why not; priors are found, counted and fetched."""

from collections.abc import Callable
from pathlib import Path

import pytest
from dicom_oracle import Grid, made_slice, save
from dicom_peers import MadeArchive, RunningListener
from free_port import free_port
from orthanc import Orthanc, made_ct
from pydicom.dataset import Dataset

from medseg.core.errors import InputError, UnreachableError
from medseg.exchange.dicom.network.dimse.client import echo
from medseg.exchange.dicom.network.dimse.commitment import CommitmentInbox
from medseg.exchange.dicom.network.dimse.config import ClientSettings, DimseNode
from medseg.exchange.dicom.network.dimse.finder import count_images, find_series, move_series
from medseg.exchange.dicom.network.dimse.sender import send

FAST = ClientSettings(tries=3, pause_s=0.01, timeout_s=5, commitment_s=10)


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def references(action: Dataset, stored: int) -> Dataset:
    """A report of commitment to so many of the objects that were asked for."""
    asked = list(action.ReferencedSOPSequence)
    report = Dataset()
    report.TransactionUID = action.TransactionUID
    report.ReferencedSOPSequence = asked[:stored]
    if asked[stored:]:
        for item in asked[stored:]:
            item.FailureReason = 0x0110
        report.FailedSOPSequence = asked[stored:]
    return report


def test_a_real_archive_commits_itself_and_gives_it_back(
    listening: Callable[..., RunningListener], tmp_path: Path
) -> None:
    listener = listening()
    folder = made_ct(tmp_path / "ct", shape=(16, 16, 8))
    with Orthanc(tmp_path / "orthanc", peers={"MEDSEG": listener.port}) as archive:
        node = DimseNode(ae_title="ORTHANC", host="127.0.0.1", port=archive.dicom_port)
        echo(node, FAST)
        for _ in range(2):  # the second time changes nothing
            sent = send(files_of(folder), node, FAST, CommitmentInbox(listener.config.spool))
            assert [one.commitment for one in sent] == ["kept"] * 8
            assert [one["Instances"] for one in archive.objects("CT")] == [8]
        assert list((listener.config.spool / "commitments").iterdir()) == []
        (prior,) = find_series(node, "PHANTOM", FAST, modality="CT")
        assert (prior.instance_count, prior.description) == (8, "phantom")
        assert find_series(node, "PHANTOM", FAST, modality="MR") == ()
        assert find_series(node, "NOBODY", FAST) == ()
        assert count_images(node, prior.study_uid, prior.series_uid, FAST) == 8
        assert count_images(node, prior.study_uid, "1.2.3", FAST) is None
        assert move_series(node, prior.study_uid, prior.series_uid, "MEDSEG", FAST) == 8
        assert listener.heard("received")[0]["images"] == 8
        with pytest.raises(UnreachableError, match="did not send the series to NOBODY"):
            move_series(node, prior.study_uid, prior.series_uid, "NOBODY", FAST)
        # it closes the connection at once, and its reason is sometimes lost with it
        with pytest.raises(UnreachableError, match="the DICOM node OTHER at"):
            echo(node.model_copy(update={"ae_title": "OTHER"}), FAST)


def test_what_may_pass_is_tried_again_with_growing_pauses(series: Path) -> None:
    pauses: list[float] = []
    patient = ClientSettings(tries=4, pause_s=1, timeout_s=5)
    with MadeArchive([0, 0xA700, 0, None, 0x0110]) as archive:
        sent = send(files_of(series), archive.node, patient, sleep=pauses.append)
    assert [one.sop_instance for one in sent] == archive.stored, "each was stored once"
    assert [one.commitment for one in sent] == ["not asked"] * 6
    assert [0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses)] == [True] * 3


def test_an_archive_that_stays_full_is_unreachable_in_the_end(series: Path) -> None:
    with MadeArchive([0xA702] * 9) as archive, pytest.raises(UnreachableError, match=r"no room.*0xA702.*\(3 tries\)"):
        send(files_of(series), archive.node, FAST)


def test_a_refusal_for_good_is_not_tried_again(series: Path) -> None:
    with MadeArchive([0, 0xA900]) as archive, pytest.raises(InputError, match=r"refuses 0001.dcm \(0xA900\)"):
        send(files_of(series), archive.node, FAST)
    assert len(archive.stored) == 1


def test_a_warning_is_a_success(series: Path) -> None:
    with MadeArchive([0xB000, 0xB006, 0xB007]) as archive:
        assert len(send(files_of(series), archive.node, FAST)) == 6


def test_a_report_within_the_same_association_counts(series: Path, tmp_path: Path) -> None:
    with MadeArchive(commit=lambda action: references(action, 6)) as archive:
        sent = send(files_of(series), archive.node, FAST, CommitmentInbox(tmp_path))
    assert {one.commitment for one in sent} == {"kept"}


def test_what_the_archive_lost_is_sent_again(series: Path, tmp_path: Path) -> None:
    kept = iter((4, 6))
    with MadeArchive(commit=lambda action: references(action, next(kept))) as archive:
        sent = send(files_of(series), archive.node, FAST, CommitmentInbox(tmp_path))
    assert {one.commitment for one in sent} == {"kept"}
    instances = [one.sop_instance for one in sent]
    assert archive.stored == [*instances, *instances[4:]]


def test_an_archive_that_keeps_nothing_is_told_of(series: Path, tmp_path: Path) -> None:
    with (
        MadeArchive(commit=lambda action: references(action, 0)) as archive,
        pytest.raises(UnreachableError, match=r"does not keep 6 of 6 objects \(0x0110\)"),
    ):
        send(files_of(series), archive.node, FAST, CommitmentInbox(tmp_path))


def test_an_archive_without_commitment_is_no_error(series: Path, tmp_path: Path) -> None:
    with MadeArchive() as archive:
        sent = send(files_of(series), archive.node, FAST, CommitmentInbox(tmp_path))
    assert {one.commitment for one in sent} == {"not offered"}


def test_a_report_that_nobody_asked_for_is_not_kept(tmp_path: Path) -> None:
    inbox = CommitmentInbox(tmp_path)
    transaction = inbox.ask()
    report = Dataset()
    report.TransactionUID = "1.2.3"
    assert not inbox.keep(report)
    report.TransactionUID = transaction
    assert inbox.keep(report)
    found = inbox.wait(transaction, 0)
    assert found is not None
    assert not found.keeps(["1.2.3"])


def test_what_cannot_be_sent_is_told_before_anything_is(tmp_path: Path, series: Path) -> None:
    (tmp_path / "text.dcm").write_text("no image")
    with MadeArchive() as archive:
        with pytest.raises(InputError, match=r"text\.dcm"):
            send([*files_of(series), tmp_path / "text.dcm"], archive.node, FAST)
        assert archive.stored == []
        picture = made_slice(Grid(), 0)
        picture.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        with pytest.raises(InputError, match=r"does not accept objects|accepts none of the kinds"):
            send([save(picture, tmp_path / "picture.dcm")], archive.node, FAST)


# a connection that nobody accepted is left by pynetdicom for Python to close
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_there_and_wildcards_are_sentences() -> None:
    nobody = DimseNode(ae_title="X", host="127.0.0.1", port=free_port())
    with pytest.raises(UnreachableError, match=r"does not answer.*Does it run"):
        echo(nobody, FAST)
    for patient in ("", "*", "A?", "A\\B"):
        with pytest.raises(InputError, match="would match other patients"):
            find_series(nobody, patient, FAST)
