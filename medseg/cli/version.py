"""`medseg --version`: the release, a hash of the code, and of each model that comes with it."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

from medseg import __version__

SHOWN_DIGITS = 12
CODE = (".py", ".js", ".css", ".toml", ".json")
PACKAGES = ("medseg", "apps")
MODELS = Path(__file__).resolve().parents[1] / "shipped_models"
LISTING = "bundle.json"


def version_lines() -> list[str]:
    """Name and version, then a line for the code and each shipped model with the first digits of its hash."""
    lines = [f"medseg {__version__}", f"code {code_hash()[:SHOWN_DIGITS]}"]
    models = sorted(listing.parent for listing in MODELS.glob(f"*/{LISTING}"))
    return [*lines, *(f"model {model.name} {model_hash(model)[:SHOWN_DIGITS]}" for model in models)]


def code_hash() -> str:
    """SHA-256 over the names and contents of all sources of medseg and its apps, the shipped models left out."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*")):
            if path.suffix in CODE and MODELS not in path.parents:
                digest.update(f"{package}/{path.relative_to(root).as_posix()}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def model_hash(model: Path) -> str:
    """The identity of a bundle, as `medseg models list` gives it: the hash of its listing of file hashes."""
    hashes = json.loads((model / LISTING).read_text(encoding="utf-8"))["sha256"]
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
