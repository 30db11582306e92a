"""DICOM over TLS: certificates of both sides are asked for, and who has none is told so and holds up nobody."""

from collections.abc import Callable
from pathlib import Path

import pytest
from dicom_peers import RunningListener, raw
from made_certificates import certified

from medseg.core.errors import InputError, UnreachableError
from medseg.exchange.dicom.network.dimse.client import echo
from medseg.exchange.dicom.network.dimse.config import ClientSettings, DimseNode, TlsFiles
from medseg.exchange.dicom.network.dimse.tls import client_context, server_context

AS_MODALITY = ClientSettings(ae_title="MODALITY", timeout_s=3)


def test_both_sides_show_certificates(listening: Callable[..., RunningListener], tmp_path: Path) -> None:
    ours, theirs = certified(tmp_path, "ours"), certified(tmp_path, "theirs")
    listener = listening(tls=ours.model_copy(update={"authorities": theirs.certificate}))

    def node(tls: TlsFiles | None) -> DimseNode:
        return DimseNode(ae_title="MEDSEG", host="127.0.0.1", port=listener.port, tls=tls)

    trusting = theirs.model_copy(update={"authorities": ours.certificate})
    with raw(listener.port):  # says nothing, and keeps nobody waiting
        echo(node(trusting), AS_MODALITY)
    without_own = TlsFiles(authorities=ours.certificate)
    of_another = certified(tmp_path, "stranger").model_copy(update={"authorities": ours.certificate})
    trusting_nobody = theirs.model_copy(update={"authorities": theirs.certificate})
    for refused in (None, without_own, of_another, trusting_nobody):
        with pytest.raises(UnreachableError, match="TLS"):
            echo(node(refused), AS_MODALITY)
    echo(node(trusting), AS_MODALITY)


def test_files_that_are_none_are_a_sentence(tmp_path: Path) -> None:
    ours = certified(tmp_path, "ours")
    (tmp_path / "text.pem").write_text("no certificate")
    wrong = (
        ours.model_copy(update={"key": certified(tmp_path, "other").key}),
        ours.model_copy(update={"certificate": tmp_path / "text.pem"}),
        ours.model_copy(update={"authorities": tmp_path / "missing.pem"}),
    )
    for tls in wrong:
        for context in (server_context, client_context):
            with pytest.raises(InputError, match="PEM files"):
                context(tls)
    with pytest.raises(InputError, match="needs a certificate and a key"):
        server_context(TlsFiles(authorities=ours.certificate))
