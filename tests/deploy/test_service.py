"""How the service is deployed: each file is sound for its own tool, and all agree with each other and with the code."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from dockerfile_parse import DockerfileParser
from orthanc import Orthanc, made_ct

from medseg.exchange.dicom.network.dimse.config import PORT
from medseg.settings.model import Settings
from medseg.settings.sources import read_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = "1.32"
OWN_SETTINGS = ("StorageDirectory", "IndexDirectory", "Plugins", "HttpPort", "DicomPort")
"""What the archive of the tests says itself."""


@pytest.fixture
def settings() -> Settings:
    return read_settings(DEPLOY / "medseg.toml", {}, ()).settings


def test_the_settings_are_read_and_name_places_that_the_others_give(settings: Settings) -> None:
    assert settings.archive is not None
    assert settings.folders.state.is_relative_to("/var/lib/medseg")
    assert settings.folders.work.is_relative_to("/var/lib/medseg")
    assert str(settings.archive.password_file) == "/run/secrets/archive_password"
    commented = (DEPLOY / "medseg.toml").read_text().replace("# [", "[").replace("# host", "host")
    for name in ("spool", "ae_title", "enabled", "access", "address"):
        commented = commented.replace(f"# {name}", name)
    with_listener = Settings.model_validate(tomllib.loads(commented))
    assert with_listener.listener is not None
    assert with_listener.listener.spool.is_relative_to("/var/lib/medseg")
    assert with_listener.listener.port == PORT
    assert with_listener.viewer.enabled
    assert (with_listener.viewer.address, str(with_listener.viewer.access)) == ("0.0.0.0", "/run/secrets/viewer_access")


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    text = (DEPLOY / "medseg.service").read_text()
    commands = re.findall(r"^Exec\w+=-?(\S+)", text, re.MULTILINE)
    assert set(commands) == {"/opt/medseg/bin/medseg"}
    unit = tmp_path / "medseg.service"
    unit.write_text(text.replace("/opt/medseg/bin/medseg", shutil.which("true") or "/bin/true"))
    ended = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_unit_gives_the_service_time_to_stop(settings: Settings) -> None:
    text = (DEPLOY / "medseg.service").read_text()
    stop_s = int(re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[0])
    assert stop_s > settings.jobs.grace_s
    assert compose()["services"]["medseg"]["stop_grace_period"] == f"{stop_s}s"
    assert deployment()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == stop_s


def test_the_container_runs_without_root_and_copies_what_there_is(tmp_path: Path, settings: Settings) -> None:
    parser = DockerfileParser(path=str(tmp_path))
    parser.content = (DEPLOY / "Containerfile").read_text()
    last = max(number for number, one in enumerate(parser.structure) if one["instruction"] == "FROM")
    final = {one["instruction"]: one["value"] for one in parser.structure[last:]}
    assert final["USER"] == "10001:10001"
    assert json.loads(final["ENTRYPOINT"]) == ["medseg"]
    assert json.loads(final["CMD"]) == ["serve"]
    assert final["EXPOSE"].split() == [str(settings.metrics.port), str(PORT), str(settings.viewer.port)]
    assert f":{settings.metrics.port}/health" in final["HEALTHCHECK"]
    for one in parser.structure[:last]:
        if one["instruction"] == "COPY":
            *sources, _ = one["value"].split()
            assert [name for name in sources if not (DEPLOY.parent / name).exists()] == []


@pytest.mark.parametrize("name", ["Containerfile", "medseg.service"])
def test_what_is_installed_is_enough_for_every_process_of_the_service(name: str) -> None:
    (extras,) = re.findall(r"'(?:\.|medseg)\[([\w,]+)\]'", (DEPLOY / name).read_text())
    known = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"network", "viewer", "login"} <= set(extras.split(",")) <= set(known)


def test_compose_is_valid_and_its_files_are_there(settings: Settings) -> None:
    parsed = PyCompose.from_yaml((DEPLOY / "compose.yaml").read_text())
    parsed.validate()
    assert set(parsed.service_names()) == {"orthanc", "medseg"}
    services = compose()["services"]
    assert services["medseg"]["read_only"] is True
    assert services["medseg"]["cap_drop"] == ["ALL"]
    assert services["medseg"]["secrets"] == ["archive_password"]
    assert settings.archive is not None
    assert settings.archive.url == "http://orthanc:8042/dicom-web"
    mounted = [volume.split(":")[0] for one in services.values() for volume in one["volumes"]]
    ours = {name for name in mounted if name.startswith("./")}
    assert ours == {"./medseg.toml", "./orthanc.json", "./orthanc_users.json"}
    assert [name for name in ours if not (DEPLOY / name).exists()] == ["./orthanc_users.json"], "made by hand: a secret"
    assert all(port.startswith("127.0.0.1:") for one in services.values() for port in one["ports"])


def test_kubernetes_takes_every_resource(settings: Settings) -> None:
    for file in ("kubernetes.yaml", "kubernetes_service.yaml"):
        for resource in yaml.safe_load_all((DEPLOY / file).read_text()):
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    pod = deployment()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"metrics": settings.metrics.port, "dicom": PORT, "viewer": settings.viewer.port}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert deployment()["spec"]["strategy"] == {"type": "Recreate"}, "never two services on one queue"
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}


def test_the_archive_of_compose_starts_and_asks_for_a_password(tmp_path: Path) -> None:
    said = json.loads((DEPLOY / "orthanc.json").read_text())
    own = {name: value for name, value in said.items() if name not in OWN_SETTINGS}
    with Orthanc(tmp_path / "orthanc", user="medseg", password="right", settings=own) as archive:
        archive.push(made_ct(tmp_path / "ct", shape=(8, 8, 4)))
        assert archive.objects("CT")[0]["Instances"] == 4
        asked = httpx.get(f"{archive.dicomweb_url}/studies", auth=("medseg", "right"), trust_env=False)
        assert len(asked.json()) == 1
        assert httpx.get(f"{archive.dicomweb_url}/studies", trust_env=False).status_code == 401


def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return parsed


def deployment() -> dict[str, Any]:
    resources = yaml.safe_load_all((DEPLOY / "kubernetes_service.yaml").read_text())
    found: dict[str, Any] = next(one for one in resources if one["kind"] == "Deployment")
    return found
