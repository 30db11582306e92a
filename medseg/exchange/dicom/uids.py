"""UIDs and names made from content: the same input gives the same, and sending twice changes nothing."""

from __future__ import annotations

import hashlib


def uid_from(*parts: str) -> str:
    """A UID under the 2.25 root (PS3.5 B.2) from the hash of the parts; at most 44 characters."""
    return f"2.25.{int.from_bytes(_digest(parts), 'big')}"


def name_from(*parts: str) -> str:
    """32 hexadecimal digits from the hash of the parts: a name for files and logs that nobody outside can choose."""
    return _digest(parts).hex()


def _digest(parts: tuple[str, ...]) -> bytes:
    joined = "\x1f".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode()).digest()[:16]
