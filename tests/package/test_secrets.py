"""No password, key or token lies in the repository."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "a private key": re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"),
    "a key of a cloud": re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of a forge": re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60,}|glpat-[\w-]{20})"),
    "a token of a service": re.compile(
        rb"\b(?:xox[abprs]-[\w-]{20,}|sk-[A-Za-z0-9_-]{32,}|hf_[A-Za-z]{34}|pypi-[\w-]{60,})"
    ),
    "a web token": re.compile(rb"\beyJ[\w-]{15,}\.eyJ[\w-]{15,}\.[\w-]{20,}"),
    "a password in an address": re.compile(rb"\b[a-z][a-z+]*://[^\s/:@'\"{}<>]+:[^\s/@'\"{}<>]{3,}@[\w.-]+"),
    "a password": re.compile(
        rb"(?i)\b(?:password|passwd|secret|api_key|token)\s*[=:]\s*['\"](?=[^'\"]*\d)[A-Za-z0-9+/_-]{20,}['\"]"
    ),
}
MADE_UP = re.compile(rb"example|made|test|secret|user:|127\.0\.0\.1|localhost", re.IGNORECASE)
"""What tests and docs use in place of a secret says so."""

LARGEST = 2_000_000


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no checkout of git: nothing says which files belong to the repository")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and path.stat().st_size <= LARGEST]


def secrets_in(data: bytes) -> list[tuple[str, bytes]]:
    """What looks like a secret, and which."""
    return [
        (what, found[0])
        for what, pattern in SECRETS.items()
        for found in pattern.finditer(data)
        if not MADE_UP.search(found[0].partition(b"-----BEGIN")[0])
    ]


def test_no_file_holds_a_secret() -> None:
    found = {path.relative_to(ROOT).as_posix(): secrets_in(path.read_bytes()) for path in tracked()}
    assert not {path: secrets for path, secrets in found.items() if secrets}


@pytest.mark.parametrize(
    "planted",
    [
        "-----BEGIN RSA PRIVATE KEY" + "-----\n" + "MIIEowIBAAKCAQEA" * 4,
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "ghp_" + "a1B2" * 9,
        "https://jane:" + "hunter22@hospital.org/dicom",
        'password = "' + 'correct0horse1battery2"',
    ],
)
def test_a_planted_one_is_found(planted: str) -> None:
    assert secrets_in(planted.encode())


def test_no_file_of_settings_with_secrets_is_kept() -> None:
    kept = [path.name for path in tracked()]
    assert not [name for name in kept if name in (".env", "secrets.toml", "id_rsa", ".netrc", ".pypirc")]
    assert not [name for name in kept if name.endswith((".pem", ".key", ".p12", ".pfx"))]
