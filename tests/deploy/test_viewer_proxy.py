"""deploy/viewer_nginx.conf: a real nginx in front of a real viewer, as others open it."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from free_port import free_port
from made_certificates import certified
from served_viewer import viewer_over

FILE = Path(__file__).parents[2] / "deploy" / "viewer_nginx.conf"
HOST = "viewer.hospital.example"
LIMIT_S = 90.0


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[int]:
    """The port of the proxy."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    pytest.importorskip("authlib", reason="pip install 'medseg[login]'")
    port = free_port()
    (tmp_path / "results").mkdir()
    (tmp_path / "access.toml").write_text(access(f"https://{HOST}:{port}/oauth2callback"))
    with viewer_over(tmp_path / "results", "--access", str(tmp_path / "access.toml")) as viewer:
        certificate = certified(tmp_path, "viewer")
        text = FILE.read_text()
        for old, new in (
            ("listen 443", f"listen 127.0.0.1:{port}"),
            ("/etc/ssl/viewer.pem", str(certificate.certificate)),
            ("/etc/ssl/viewer.key", str(certificate.key)),
            ("http://127.0.0.1:8501", viewer.url),
        ):
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "viewer.conf").write_text(text)
        (tmp_path / "nginx.conf").write_text(
            f"pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; daemon off; master_process off; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;\n"
            f"include {tmp_path}/viewer.conf; }}\n"
        )
        with (tmp_path / "said").open("wb") as said:
            nginx = subprocess.Popen(["nginx", "-c", tmp_path / "nginx.conf"], stderr=said)
        try:
            yield port
        finally:
            nginx.terminate()
            nginx.wait(timeout=90)


def access(redirect: str) -> str:
    """An access file."""
    auth = {
        "redirect_uri": redirect,
        "cookie_secret": "0123456789012345678901234567890123456789",
        "client_id": "viewer",
        "client_secret": "secret",
        "server_metadata_url": "http://127.0.0.1:9/.well-known/openid-configuration",
    }
    return "\n".join(["[auth]", *(f"{name} = {json.dumps(value)}" for name, value in auth.items())])


def asked(port: int, path: str, **headers: str) -> int:
    """The status of an answer, over TLS, as soon as the proxy runs."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    ends = time.monotonic() + LIMIT_S
    while True:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=LIMIT_S, context=trusting)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        except ConnectionRefusedError:
            assert time.monotonic() < ends
            time.sleep(0.05)
        finally:
            connection.close()


def test_pages_and_their_web_sockets_pass_and_those_of_other_sites_do_not(proxy: int) -> None:
    key = base64.b64encode(bytes(16)).decode()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
    host, origin = f"{HOST}:{proxy}", f"https://{HOST}:{proxy}"
    assert asked(proxy, "/", Host=host) == 200
    assert asked(proxy, "/_stcore/stream", Host=host, Origin=origin, **upgrade) == 101
    assert asked(proxy, "/_stcore/stream", Host=host, Origin="https://elsewhere.example", **upgrade) == 403
