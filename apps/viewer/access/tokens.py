"""Signed, short-lived permits for the voxel routes: for one study, one user and one right.

A permit is made in a page run, where the session is known, and travels in a header; an address alone opens nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal, get_args

from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer

Right = Literal["read", "correct", "administer"]
RIGHTS: tuple[Right, ...] = get_args(Right)
"""In order: each includes those before it."""

FOLDER = "*"
"""What a permit names in place of a study that is for the folder as a whole: its jobs, models, uploads, its log."""

MAX_AGE_S = 15 * 60
"""How long a permit is good for; the page renews it while its session lives."""

_SALT = "medseg viewer permit"


class RefusalError(Exception):
    """Why a request is not answered, as a sentence for the person at the page."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Who may do what with which study, or with the folder."""

    study: str
    user: str
    right: Right


def new_key() -> str:
    """A signing key for one run of the server, 64 hexadecimal digits."""
    return secrets.token_hex(32)


def issue(key: str, permit: Permit) -> str:
    """The permit as a signed text, good for `MAX_AGE_S`.

    No two are alike, also within one second: the page knows by the difference that it was given a new one.
    """
    return _serializer(key).dumps([permit.study, permit.user, permit.right, secrets.token_hex(8)])


def check(key: str, text: str, study: str, right: Right, max_age_s: int = MAX_AGE_S) -> Permit:
    """The permit a text stands for, if it opens this study with this right. Raises RefusalError where it does not.

    A right includes those before it.
    """
    try:
        content = _serializer(key).loads(text, max_age=max_age_s)
    except SignatureExpired as error:
        raise RefusalError("the page's permit has expired; it renews itself, or reload the page") from error
    except BadData as error:
        raise RefusalError("the permit was not made by this server; reload the page") from error
    permit = Permit(*content[:3])
    if permit.study != study:
        raise RefusalError("the permit is for another study; reload the page")
    if RIGHTS.index(permit.right) < RIGHTS.index(right):
        raise RefusalError(f"this needs the right to {right}, and your role has only the right to {permit.right}")
    return permit


def _serializer(key: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(key, salt=_SALT)
