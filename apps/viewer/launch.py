"""launch_viewer: the viewer as a server of its own, bound to this machine unless told otherwise."""

from __future__ import annotations

import getpass
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Collection
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware

from apps.viewer.access.accounts import Access, read_access
from apps.viewer.access.headers import GuardedAnswers
from apps.viewer.access.names import ALL_ADDRESSES, LOCALHOST, OnlyAs, served_names
from apps.viewer.access.tokens import new_key
from apps.viewer.desk import open_desk
from apps.viewer.routes import data_routes
from medseg.core.errors import InputError
from medseg.settings.model import Settings

DEFAULT_PORT = 8501

_SCRIPT = Path(__file__).resolve().parent / "app.py"
_START_TIMEOUT_S = 60.0


def launch_viewer(
    folder: Path,
    port: int = DEFAULT_PORT,
    address: str = LOCALHOST,
    *,
    models: Path | None = None,
    access: Path | None = None,
    settings: Settings | None = None,
    may_open_browser: bool = True,
) -> None:
    """Serve the studies of a folder until interrupted; `settings` names the archives.

    Raises InputError where a folder does not exist, the access file cannot be used, or others would be served without
    one.
    """
    folder = folder.expanduser().resolve()
    if not folder.exists():
        raise InputError(f"there is no folder {folder}. Give the folder that `medseg segment --output` wrote.")
    models = models.expanduser().resolve() if models is not None else None
    if models is not None and not models.is_dir():
        raise InputError(f"there is no folder {models}. Give a folder below which models lie, such as `runs`.")
    allowed = access_at(address, access)
    app = viewer_app(folder, models, settings, allowed, served_names(address, allowed))
    if may_open_browser:
        here = LOCALHOST if address in ALL_ADDRESSES else address
        threading.Thread(target=_open_browser_when_up, args=(f"http://{here}:{port}",), daemon=True).start()
    app.run(config=server_config(port, address, allowed))


def access_at(address: str, access: Path | None) -> Access | None:
    """Who may come in at an address; None where one person alone works on this machine.

    Raises InputError where the access file cannot be used, or others would be served without one.
    """
    if access is not None:
        return read_access(access)
    if address in (LOCALHOST, "localhost"):
        return None
    raise InputError(
        f"at the address {address} others could reach the studies, and nobody would be asked who they are. "
        "Give an access file, or leave the address out to serve this machine only."
    )


def viewer_app(
    folder: Path, models: Path | None, settings: Settings | None, allowed: Access | None, names: Collection[str]
) -> st.App:
    """The viewer over one folder as an ASGI application, which answers under these names."""
    signing_key = new_key()
    told = {"folder": str(folder), "signing_key": signing_key, "reader": getpass.getuser()}
    told["access"] = allowed.model_copy(update={"auth": {}}).model_dump_json() if allowed else ""
    secrets: dict[str, Any] = {"medseg": told, **({"auth": allowed.auth} if allowed else {})}
    desk = open_desk(folder, models, settings)
    desk.begin()
    middleware = [Middleware(GuardedAnswers), Middleware(OnlyAs, names=names)]
    return st.App(_SCRIPT, secrets=secrets, routes=data_routes(desk, signing_key), middleware=middleware)


def server_config(port: int, address: str, access: Access | None) -> dict[str, Any]:
    """Streamlit's settings for patient data: nothing leaves the machine, nothing is told to strangers."""
    return {
        "server.port": port,
        "server.address": address,
        "server.headless": True,
        "server.allowedHosts": list(served_names(address, access)),
        "server.enableStaticServing": False,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        # known, so that Streamlit asks nobody outside what this machine's address is when an Origin is not the Host
        "browser.serverAddress": LOCALHOST if access is None else access.host,
        "browser.gatherUsageStats": False,
        "client.allowedOrigins": [],
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        "theme.base": "dark",
        "theme.primaryColor": "#3a78b4",
        "theme.backgroundColor": "#0b0d10",
        "theme.secondaryBackgroundColor": "#13171c",
        "theme.textColor": "#dbe1e8",
    }


def _open_browser_when_up(url: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):  # noqa: S310 - our own address
                webbrowser.open(url)
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
