"""The archive of the tests is a real one: it keeps what it was sent, through kill -9, behind a password."""

from pathlib import Path

import httpx
import pytest
from orthanc import Orthanc, made_ct


def test_what_was_pushed_is_there_after_a_kill(orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.push(made_ct(tmp_path / "ct", shape=(16, 16, 8)))
    orthanc.kill()
    orthanc.start()
    (series,) = orthanc.objects("CT")
    assert series["Instances"] == 8
    found = httpx.get(f"{orthanc.dicomweb_url}/studies", trust_env=False).json()
    assert found[0]["00100020"]["Value"] == ["PHANTOM"]
    assert orthanc.objects("SEG") == []


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    with Orthanc(tmp_path / "orthanc", user="medseg", password="right") as archive:
        assert archive.get("/system")["DicomAet"] == "ORTHANC"
        refused = httpx.get(f"{archive.dicomweb_url}/studies", auth=("medseg", "wrong"), trust_env=False)
        assert refused.status_code == 401
        archive.kill()
        with pytest.raises(httpx.ConnectError):
            archive.get("/system")
