"""The names under which the viewer is served: what asks for it by another one, or from another site, is refused.

A page elsewhere whose name an attacker points at this machine (DNS rebinding) would otherwise be taken for ours. Behind
a proxy the Host is the outside name, or one that the proxy puts there, and the Origin always the outside one.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from apps.viewer.access.accounts import Access

LOCALHOST = "127.0.0.1"
ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 - only compared with

_OWN = (LOCALHOST, "localhost", "::1")
_HEALTH = "/_stcore/health"
"""Says nothing but that the server runs; whoever watches it may call it by any name."""

_POLICY_VIOLATION = 1008


def served_names(address: str, access: Access | None) -> tuple[str, ...]:
    """The hosts that the viewer answers as: this machine, its address, and those that its access file names."""
    bound = () if address in ALL_ADDRESSES else (address,)
    outside = () if access is None else (access.host, *access.hosts)
    return tuple(dict.fromkeys(name.lower() for name in (*_OWN, *bound, *outside)))


class OnlyAs:
    """ASGI middleware that answers requests and web sockets for these names only, with a sentence to the others."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope)
        if not problem:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(_POLICY_VIOLATION, problem)(scope, receive, send)
        else:
            await PlainTextResponse(problem, 403)(scope, receive, send)

    def _problem(self, scope: Scope) -> str:
        """Why it is not answered; empty where it is."""
        if scope["type"] not in ("http", "websocket") or scope["path"] == _HEALTH:
            return ""
        headers = Headers(scope=scope)
        host, origin = _host_of(f"//{headers.get('host', '')}"), headers.get("origin")
        if host not in self._names:
            return (
                "This viewer does not answer under the name it was asked by. On its own machine open it as localhost, "
                "elsewhere at the address of redirect_uri in its access file. Where a proxy asks by another name, add "
                "that to `hosts` there."
            )
        if origin is not None and _host_of(origin) not in self._names:
            return "This viewer does not answer to pages of other sites."
        return ""


def _host_of(address: str) -> str | None:
    """The host in small letters, without its port; None where there is none."""
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return None
    return host.rstrip(".") if host else None
