"""The component's JavaScript and style sheet: where they lie, and one hash of them all for the browser's cache."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

MODULES = Path(__file__).resolve().parent / "components" / "modules"


@cache
def asset_version() -> str:
    """16 hexadecimal digits that change with any of the files."""
    digest = hashlib.sha256()
    for file in sorted(path for path in MODULES.rglob("*") if path.is_file()):
        digest.update(file.relative_to(MODULES).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
