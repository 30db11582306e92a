"""Roles: a reader looks and exports, a reviewer corrects, decides, uploads and runs as well, an admin does all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apps.viewer.access.tokens import Right

Role = Literal["reader", "reviewer", "admin"]

RIGHTS: dict[Role, Right] = {"reader": "read", "reviewer": "correct", "admin": "administer"}
"""The highest right of each role; every right includes those before it."""


@dataclass(frozen=True, slots=True)
class User:
    """Who sits at the page."""

    name: str
    role: Role

    @property
    def right(self) -> Right:
        """The highest right of this user."""
        return RIGHTS[self.role]
