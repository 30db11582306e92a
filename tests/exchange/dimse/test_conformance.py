"""The conformance statement says what the code does: classes, transfer syntaxes, statuses, limits, objects."""

import re
from pathlib import Path

from dicom_results import result_on
from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when the module is loaded
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from medseg.core.volume import Volume
from medseg.exchange.dicom.network.dimse import client
from medseg.exchange.dicom.network.dimse.config import OWN_TITLE, PORT, AllowedSender, ListenerConfig
from medseg.exchange.dicom.network.dimse.contexts import RECEIVED_CLASSES, RECEIVED_SYNTAXES, accepted_contexts
from medseg.exchange.dicom.network.dimse.receiving import listener
from medseg.exchange.dicom.writing.elements import IMPLEMENTATION_NAME, IMPLEMENTATION_UID
from medseg.exchange.dicom.writing.segmentation import MOST_BINARY_LABELS, write_segmentation
from medseg.exchange.reports.formats import WRITERS, Result, write_formats

STATEMENT = (Path(__file__).parents[3] / "docs" / "dicom_conformance.md").read_text()


def table(heading: str) -> dict[str, str]:
    """First and last column of the table whose first heading is that one, without the signs of code."""
    rows = STATEMENT.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]
    return {row[0]: row[-1] for row in cells}


def test_the_classes_and_transfer_syntaxes_are_those_that_are_accepted() -> None:
    assert sorted(table("SOP class").values()) == sorted(RECEIVED_CLASSES)
    assert sorted(table("transfer syntax").values()) == sorted(RECEIVED_SYNTAXES)
    for name, uid in (table("SOP class") | table("transfer syntax")).items():
        known = UID(uid).name
        assert name.split(" (")[0].split(",")[0].removesuffix(" Lossless") in known or known == uid, (name, known)
    offered = {str(context.abstract_syntax) for context in accepted_contexts()}
    assert offered == {*RECEIVED_CLASSES, "1.2.840.10008.1.1", StorageCommitmentPushModel}


def test_titles_ports_and_limits_are_the_defaults() -> None:
    told = table("property")
    config = ListenerConfig(spool=Path("x"), senders=(AllowedSender(ae_title="A", addresses=("127.0.0.1",)),))
    assert told["AE title"].startswith(OWN_TITLE)
    assert told["port of the listener"].startswith(str(PORT))
    assert told["implementation class UID"] == IMPLEMENTATION_UID
    assert told["implementation version name"] == IMPLEMENTATION_NAME
    assert told["longest PDU received, listener"].startswith(str(config.most_pdu_kb << 10))
    assert told["longest PDU received, calling"] == str(client.MOST_PDU_BYTES)
    assert told["associations at a time, listener"].startswith(str(config.most_associations))
    assert f"nothing for {config.first_word_s:g} s" in STATEMENT
    assert f"longer than {config.silence_s:g} s" in STATEMENT


def test_the_statuses_are_those_that_are_answered() -> None:
    answered = (listener.SUCCESS, listener.OUT_OF_RESOURCES, listener.DOES_NOT_MATCH, listener.CANNOT_UNDERSTAND)
    assert list(table("status")) == [f"0x{status:04X}" for status in answered]


def test_the_models_of_query_and_commitment_are_named() -> None:
    models = (StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove)
    for uid in (*models, StorageCommitmentPushModel):
        assert f"`{uid}`" in STATEMENT


def test_the_objects_are_those_that_are_written(tmp_path: Path) -> None:
    made = result_on(tmp_path / "in")
    grey = Volume(made.volume.array.astype("float32") % 1, made.volume.geometry)
    result = Result(made.report, made.volume, made.label_map, made.numbers, made.made.source_files, grey)
    formats = [name for name, writer in WRITERS.items() if writer.is_dicom]
    files = write_formats(result, formats, tmp_path / "out")
    written = {name: str(dcmread(file).SOPClassUID) for name, file in zip(formats, files, strict=True)}
    write_segmentation(made.label_map, tmp_path / "map.dcm", made.made, "LABELMAP")
    written[f"dicom-seg, above {MOST_BINARY_LABELS} labels"] = str(dcmread(tmp_path / "map.dcm").SOPClassUID)
    assert table("format") == written


def test_every_uid_of_the_statement_is_one_of_the_standard() -> None:
    unknown = {uid for uid in re.findall(r"`(1\.2\.840\.10008[.\d]+)`", STATEMENT) if UID(uid).name == uid}
    assert unknown <= {"1.2.840.10008.5.1.4.1.1.66.7"}, "label maps are younger than pydicom's list"
