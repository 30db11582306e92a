"""Packages that only some users need: asked for when they are used, with the command that installs them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from medseg.core.errors import InputError

VIEWER_PACKAGES = ("streamlit", "starlette", "itsdangerous")
"""What the extra viewer brings."""


def require_extra(what: str, extra: str, packages: Sequence[str]) -> None:
    """Raise InputError where a package is missing that `what` needs; it says which one, and what installs them all.

    `packages` are the names they are imported by; `extra` is medseg's extra that brings them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{what} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed. "
            f"Install with: pip install 'medseg[{extra}]'"
        )
