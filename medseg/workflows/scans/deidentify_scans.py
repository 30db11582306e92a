"""Take a patient's name and all else that tells who it is out of DICOM images, and look whether any of it is left."""

from __future__ import annotations

import secrets
from pathlib import Path

from medseg.core.atomic import clear_disk_errors
from medseg.core.errors import InputError
from medseg.exchange.dicom.deidentify import Deidentified, deidentify

KEY_BYTES = 32


def deidentify_scans(source: Path, target: Path, key_file: Path | None = None) -> Deidentified:
    """How many images were written to `target`, and which files were left out and why.

    Pseudonyms, UIDs and dates follow from the key in `key_file`, which is made where there is none: the same patient
    stays the same patient over several runs. Without a key file the key is thrown away. `target` must be new or empty
    and appears whole or not at all. Raises InputError where nothing can be written or an identifier would be left.
    """
    if not source.exists():
        raise InputError(f"{source} does not exist. Check the path.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is no new or empty folder. Choose another: nothing is overwritten.")
    return deidentify(source, target, _key(key_file))


def _key(key_file: Path | None) -> bytes:
    if key_file is None:
        return secrets.token_bytes(KEY_BYTES)
    if key_file.is_file():
        return key_file.read_bytes().strip()
    key = secrets.token_hex(KEY_BYTES)
    with clear_disk_errors(key_file):
        key_file.parent.mkdir(parents=True, exist_ok=True)
        key_file.touch(mode=0o600)  # for its owner alone from the first byte
        key_file.write_text(key, encoding="ascii")
    return key.encode("ascii")
