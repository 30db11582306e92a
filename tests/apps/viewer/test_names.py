"""Under which names the viewer answers: as people open it, as a proxy asks for it, and under no other."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served_viewer import ServedViewer, viewer_over

from apps.viewer.access.accounts import Access
from apps.viewer.access.names import served_names

OUTSIDE = "viewer.hospital.example"
AUTH = {
    "redirect_uri": f"https://{OUTSIDE}/oauth2callback",
    "cookie_secret": "0123456789012345678901234567890123456789",
    "client_id": "viewer",
    "client_secret": "secret",
    "server_metadata_url": "http://127.0.0.1:9/.well-known/openid-configuration",
}


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, writer_in: Callable[[Path], Callable[..., Path]]
) -> Iterator[ServedViewer]:
    """A viewer for others, at every address of this machine."""
    pytest.importorskip("authlib", reason="pip install 'medseg[login]'")
    root = tmp_path_factory.mktemp("names")
    writer_in(root)("study_1")
    lines = [f"{name} = {json.dumps(value)}" for name, value in AUTH.items()]
    (root / "access.toml").write_text("\n".join(['hosts = ["medseg"]', "[auth]", *lines]))
    with viewer_over(root / "results", "--access", str(root / "access.toml"), "--address", "0.0.0.0") as viewer:
        yield viewer


@pytest.fixture(scope="module")
def at_home(
    tmp_path_factory: pytest.TempPathFactory, writer_in: Callable[[Path], Callable[..., Path]]
) -> Iterator[ServedViewer]:
    """A viewer for this machine only."""
    root = tmp_path_factory.mktemp("at_home")
    writer_in(root)("study_1")
    with viewer_over(root / "results") as viewer:
        yield viewer


def asked(viewer: ServedViewer, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", int(viewer.url.rpartition(":")[2]), timeout=90)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, "" if answer.status == 101 else answer.read().decode()
    finally:
        connection.close()


def web_socket(viewer: ServedViewer, host: str, origin: str) -> int:
    """How the server answers a browser that opens the page's web socket."""
    key = base64.b64encode(bytes(16)).decode()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
    return asked(viewer, "/_stcore/stream", Host=host, Origin=origin, **upgrade)[0]


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (OUTSIDE, f"https://{OUTSIDE}"),
        (f"{OUTSIDE.upper()}:443", f"https://{OUTSIDE}"),
        ("127.0.0.1:8501", f"https://{OUTSIDE}"),
        ("medseg:8501", f"https://{OUTSIDE}"),
        ("localhost:8501", "http://localhost:8501"),
    ],
    ids=["kept by the proxy", "with a port", "put there by the proxy", "of a container", "this machine"],
)
def test_pages_of_the_outside_name_are_answered(served: ServedViewer, host: str, origin: str) -> None:
    assert web_socket(served, host, origin) == 101
    assert asked(served, "/", Host=host)[0] == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("elsewhere.example", "http://elsewhere.example"),
        (OUTSIDE, "https://elsewhere.example"),
        ("127.0.0.1:8501", f"https://{OUTSIDE}.elsewhere.example"),
        (OUTSIDE, "null"),
        ("[", "https://["),
    ],
    ids=["a name that was pointed here", "another site", "a name that begins so", "no site", "no name"],
)
def test_others_are_refused(served: ServedViewer, host: str, origin: str) -> None:
    assert web_socket(served, host, origin) == 403
    assert asked(served, "/", Host=host, Origin=origin)[0] == 403


def test_who_asks_by_another_name_is_told_what_to_do(served: ServedViewer) -> None:
    status, said = asked(served, "/", Host="10.1.2.3:8501")
    assert (status, "redirect_uri" in said, "`hosts`" in said) == (403, True, True)
    assert asked(served, "/_stcore/health", Host="10.1.2.3:8501")[0] == 200


def test_without_an_access_file_the_names_are_those_of_this_machine(at_home: ServedViewer) -> None:
    assert web_socket(at_home, "localhost:9000", "http://localhost:9000") == 101
    assert web_socket(at_home, OUTSIDE, f"https://{OUTSIDE}") == 403
    assert served_names("127.0.0.1", None) == ("127.0.0.1", "localhost", "::1")


def test_an_address_is_a_name_and_all_of_them_are_none() -> None:
    access = Access(auth=AUTH)
    assert "10.1.2.3" in served_names("10.1.2.3", access)
    assert served_names("::", access) == ("127.0.0.1", "localhost", "::1", OUTSIDE)
