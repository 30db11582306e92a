"""Log-in by OpenID Connect against a small provider of the test's own, at a name of the network, as others open it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from free_port import free_port
from served_viewer import launched_chromium
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

pytestmark = pytest.mark.browser

HOST = "viewer.hospital.example"


class Provider:
    """Lets in whoever `email` names, without a question."""

    def __init__(self, port: int) -> None:
        jwk = pytest.importorskip("joserfc.jwk", reason="pip install 'medseg[login]'")
        self.url = f"http://127.0.0.1:{port}"
        self.email = ""
        self._key = jwk.RSAKey.generate_key(2048, parameters={"kid": "test"})
        self._nonces: dict[str, str] = {}
        routes = [
            Route("/.well-known/openid-configuration", self.about),
            Route("/authorize", self.authorize),
            Route("/token", self.token, methods=["POST"]),
            Route("/keys", self.keys),
        ]
        self.app = Starlette(routes=routes)

    async def about(self, request: Request) -> Response:
        endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        told = {name: f"{self.url}/{path}" for name, path in endpoints.items()}
        return JSONResponse({"issuer": self.url, "id_token_signing_alg_values_supported": ["RS256"], **told})

    async def authorize(self, request: Request) -> Response:
        asked = request.query_params
        self._nonces["code"] = asked.get("nonce", "")
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': 'code', 'state': asked['state']})}")

    async def token(self, request: Request) -> Response:
        from joserfc import jwt

        now = int(time.time())
        claims = {"iss": self.url, "aud": "viewer", "sub": self.email, "email": self.email, "iat": now}
        claims |= {"exp": now + 300, "nonce": self._nonces["code"]}
        token = jwt.encode({"alg": "RS256", "kid": "test"}, claims, self._key)
        return JSONResponse({"access_token": "none", "token_type": "Bearer", "expires_in": 300, "id_token": token})

    async def keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [self._key.as_dict(private=False)]})


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    uvicorn = pytest.importorskip("uvicorn")
    port = free_port()
    made = Provider(port)
    server = uvicorn.Server(uvicorn.Config(made.app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until_up(port)
    yield made
    server.should_exit = True
    thread.join(timeout=90)


@pytest.fixture(scope="module")
def url(
    provider: Provider, tmp_path_factory: pytest.TempPathFactory, writer_in: Callable[[Path], Callable[..., Path]]
) -> Iterator[str]:
    root = tmp_path_factory.mktemp("log_in")
    writer_in(root)("study_1")
    port = free_port()
    auth = {
        "redirect_uri": f"http://{HOST}:{port}/oauth2callback",
        "cookie_secret": "a secret of forty characters or even more",
        "client_id": "viewer",
        "client_secret": "secret",
        "server_metadata_url": f"{provider.url}/.well-known/openid-configuration",
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in auth.items()]
    roles = '[roles]\n"jane@hospital.example" = "reader"\n'
    (root / "access.toml").write_text("\n".join([roles, "[auth]", *lines]))
    command = [sys.executable, "-m", "apps.viewer", str(root / "results"), "--port", str(port), "--no-browser"]
    command += ["--access", str(root / "access.toml"), "--address", "0.0.0.0"]
    server = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[3], stdout=subprocess.DEVNULL)
    wait_until_up(port)
    yield f"http://{HOST}:{port}"
    server.terminate()
    server.wait(timeout=90)


def wait_until_up(port: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"nothing answered at port {port}")


@pytest.fixture(scope="module")
def at_a_desk() -> Iterator[Any]:
    """A Chromium for which the viewer's name leads to this machine."""
    with launched_chromium(f"--host-resolver-rules=MAP {HOST} 127.0.0.1") as browser:
        yield browser


@pytest.fixture
def page(at_a_desk: Any) -> Iterator[Any]:
    context = at_a_desk.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(90_000)
    yield opened
    context.close()


def test_a_reader_comes_in_looks_and_may_not_correct(page: Any, url: str, provider: Provider) -> None:
    provider.email = "Jane@hospital.example"
    page.goto(url)
    page.get_by_role("button", name="Sign in").wait_for()
    assert "Doe" not in page.content()
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Doe, Jane").click()
    page.wait_for_selector(".room[data-loaded]")
    page.keyboard.press("b")
    box = page.locator(".pane-axial").bounding_box()
    page.mouse.click(box["x"] + 200, box["y"] + 200)
    page.get_by_text("Your role allows reading and export").wait_for()
    # The route says so too, whatever the page does.
    status = page.locator(".room").evaluate(
        """async (host) => {
            const { room } = host;
            const headers = { Authorization: `Bearer ${room.server.permits.study}` };
            return (await fetch(`${room.study.base}/draft`, { method: "DELETE", headers })).status;
        }"""
    )
    assert status == 403
    page.keyboard.press("q")
    page.wait_for_selector(".worklist tbody tr")
    assert page.get_by_role("button", name="Log", exact=True).count() == 0
    assert page.locator("[data-action=segment]").is_hidden()


def test_a_stranger_is_told_and_sees_nothing(page: Any, url: str, provider: Provider) -> None:
    provider.email = "john@elsewhere.example"
    page.goto(url)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Your account may not open this viewer").wait_for()
    assert "Doe" not in page.content()


def test_the_door_has_no_serious_finding(
    page: Any, url: str, provider: Provider, serious: Callable[[Any], list[str]]
) -> None:
    provider.email = "john@elsewhere.example"
    page.goto(url)
    page.get_by_role("button", name="Sign in").wait_for()
    assert serious(page) == []
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    assert serious(page) == []
