"""Log-in by OpenID Connect, where it is asked for: who may come in, in which role, and how long one may be idle.

An access file (TOML) switches it on; without one the viewer has a single user, who may do all, on this machine.

    idle_minutes = 15
    default_role = "reader"          # for those not named below; left out, they are refused

    [roles]
    "jane@hospital.example" = "reviewer"

    [auth]                           # as Streamlit's st.login takes it
    redirect_uri = "https://viewer.hospital.example/oauth2callback"
    cookie_secret = "..."
    client_id = "..."
    client_secret = "..."
    server_metadata_url = "https://login.hospital.example/.well-known/openid-configuration"

People open the viewer at the host of `redirect_uri`. Where a proxy asks it by another name, such as a container's,
`hosts = ["medseg"]` above the tables says so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apps.viewer.access.roles import Role, User
from medseg.core.errors import InputError
from medseg.core.task import first_problem

NEEDED = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
LEAST_SECRET_CHARACTERS = 32
CALLBACK = "/oauth2callback"


class Access(BaseModel):
    """What an access file says; e-mail addresses in small letters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: dict[str, Role] = {}
    default_role: Role | None = None
    idle_minutes: float = Field(default=15, gt=0, le=24 * 60)
    hosts: tuple[str, ...] = ()
    auth: dict[str, Any]

    @property
    def host(self) -> str:
        """The host at which people open the viewer; empty where redirect_uri is no address that leads back to it."""
        try:
            parts = urlsplit(str(self.auth["redirect_uri"]))
        except ValueError:
            return ""
        return parts.hostname or "" if parts.scheme in ("http", "https") and parts.path == CALLBACK else ""

    def user(self, claims: Mapping[str, Any]) -> User | None:
        """The user of a log-in's claims; None where that person may not come in, or the address is not verified."""
        email = str(claims.get("email") or "").strip().lower()
        if not email or claims.get("email_verified") is False:
            return None
        role = self.roles.get(email, self.default_role)
        return None if role is None else User(email, role)


def read_access(path: Path) -> Access:
    """The access file. Raises InputError where it cannot be read, says too little, or log-in is not installed."""
    if find_spec("authlib") is None:
        raise InputError("log-in needs the package Authlib: pip install 'medseg[login]'")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        access = Access.model_validate(content)
    except OSError as error:
        raise InputError(f"the access file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the access file {path} is no TOML: {error}") from error
    except ValidationError as error:
        raise InputError(f"the access file {path} cannot be used: {first_problem(error)}") from error
    missing = [name for name in NEEDED if not access.auth.get(name)]
    if missing:
        raise InputError(f"the access file {path} lacks {', '.join(missing)} under [auth]")
    if len(str(access.auth["cookie_secret"])) < LEAST_SECRET_CHARACTERS:
        raise InputError(f"the cookie_secret in {path} is too short: at least {LEAST_SECRET_CHARACTERS} characters")
    if not access.host:
        raise InputError(
            f"the redirect_uri in {path} must be such as https://viewer.hospital.example{CALLBACK}; got "
            f"{access.auth['redirect_uri']!r}"
        )
    return access.model_copy(update={"roles": {email.lower(): role for email, role in access.roles.items()}})
