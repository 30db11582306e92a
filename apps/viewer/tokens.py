"""Signed, short-lived permits for the voxel routes: for one study, one user and one right.

A permit is made in a page run, where the session is known, and travels in a header; an address alone opens nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer

Right = Literal["read", "correct"]

MAX_AGE_S = 15 * 60
"""How long a permit is good for; the page renews it while its session lives."""

_SALT = "medseg viewer permit"


class RefusalError(Exception):
    """Why a request is not answered, as a sentence for the person at the page."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Who may do what with which study."""

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

    The right to correct includes the right to read.
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
    if right == "correct" and permit.right != "correct":
        raise RefusalError("the permit allows reading only")
    return permit


def _serializer(key: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(key, salt=_SALT)
