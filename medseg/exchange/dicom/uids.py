"""UIDs made from content: the same input gives the same UID, and sending twice changes nothing."""

from __future__ import annotations

import hashlib


def uid_from(*parts: str) -> str:
    """A UID under the 2.25 root (PS3.5 B.2) from the hash of the parts; at most 44 characters."""
    joined = "\x1f".join(f"{len(part)}:{part}" for part in parts)
    number = int.from_bytes(hashlib.sha256(joined.encode()).digest()[:16], "big")
    return f"2.25.{number}"
