"""Connection: one HTTP session with an archive, its failures told as sentences without a word of any patient.

What may pass (no answer, 429, 5xx) is tried again with growing pauses and is an UnreachableError in the end. A refusal
to let us in is a NoEntryError: it ends when the credentials are mended. What would be refused again is an InputError.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import requests
from requests.auth import HTTPBasicAuth

from medseg.core.errors import InputError, NoEntryError, UnreachableError
from medseg.exchange.dicom.network.web.config import WebArchiveConfig

for _library in ("dicomweb_client", "retrying", "urllib3"):
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)  # they log addresses, and so studies and patients

T = TypeVar("T")

LONGEST_PAUSE_S = 30.0
_LATER = frozenset((408, 425, 429, 500, 502, 503, 504, 507))
_CHUNK_BYTES = 1 << 18


class NotThereError(InputError):
    """What was asked for is not in the archive, or nothing answers under its address."""


class Connection:
    """Makes requests of one archive. Belongs to one thread."""

    def __init__(self, config: WebArchiveConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        self.config = config
        self.session = _session(config)
        self._sleep = sleep
        self._random = random.Random()

    def close(self) -> None:
        """Let the sockets go."""
        self.session.close()

    def tried(self, what: str, ask: Callable[[], T]) -> T:
        """What `ask` returns, tried again while the archive does not answer; `what` ends "the archive did not ..."."""
        for number in range(1, self.config.tries + 1):
            self._sign_in()
            try:
                return ask()
            except requests.RequestException as error:
                reason, told_pause_s = self._reason(error, what)
            if number < self.config.tries:
                self._sleep(told_pause_s or self._pause_s(number))
        tries = f" in {self.config.tries} tries" if self.config.tries > 1 else ""
        raise UnreachableError(
            f"the archive {self.config.url} did not {what}{tries}: {reason}. Is it running, and is archive.url right?"
        )

    def stream(self, response: requests.Response) -> Iterator[bytes]:
        """The body of an answer in pieces. Raises requests.Timeout where all of it takes longer than `longest_s`."""
        ends = time.monotonic() + self.config.longest_s
        for piece in response.iter_content(_CHUNK_BYTES):
            yield piece
            if time.monotonic() > ends:
                raise requests.Timeout

    def _sign_in(self) -> None:
        credentials = self.config.credentials()
        if isinstance(credentials, tuple):
            user, password = credentials
            self.session.auth = HTTPBasicAuth(user.encode(), password.encode())
        elif credentials is not None:
            self.session.headers["Authorization"] = f"Bearer {credentials}"

    def _pause_s(self, number: int) -> float:
        """Half of a pause that doubles, and a random part of the other half."""
        pause_s = min(LONGEST_PAUSE_S, self.config.pause_s * 2.0 ** (number - 1))
        return pause_s * self._random.uniform(0.5, 1.0)

    def _reason(self, error: requests.RequestException, what: str) -> tuple[str, float | None]:
        """Why a request failed that may be tried again, and the pause that the archive asked for; raises for others.

        Exceptions of the libraries name the address of what was asked for, and so study and patient: none is passed on.
        """
        url = self.config.url
        if isinstance(error, requests.exceptions.SSLError):
            raise InputError(
                f"the TLS connection to the archive {url} failed: its certificate cannot be verified, or it wants one "
                "of ours. Name the authority in archive.ca_file, and archive.client_certificate where it asks for one."
            ) from None
        if isinstance(error, requests.exceptions.JSONDecodeError):
            raise InputError(
                f"{url} answers, but not in DICOM JSON. Give the address of its DICOMweb service, "
                "such as .../dicom-web."
            ) from None
        if isinstance(error, requests.TooManyRedirects):
            raise InputError(f"the archive {url} sends us elsewhere. Give the address that it redirects to.") from None
        if error.response is not None:
            return self._refusal(error.response, what)
        if isinstance(error, requests.Timeout):
            return f"no answer within {self.config.timeout_s:g} s", None
        if isinstance(error, requests.ConnectionError):
            return "no connection, or it was cut", None
        return f"the transfer broke off ({type(error).__name__})", None

    def _refusal(self, response: requests.Response, what: str) -> tuple[str, float | None]:
        url, status = self.config.url, response.status_code
        if status in _LATER:
            asked = response.headers.get("Retry-After", "")
            return f"it answers {status}", min(LONGEST_PAUSE_S, float(asked)) if asked.isdigit() else None
        if status in (401, 403, 407):
            raise NoEntryError(
                f"the archive {url} does not let us in (HTTP {status}). Check archive.user and its password or token."
            ) from None
        if status == 404:
            raise NotThereError(
                f"the archive {url} did not {what}: it is not there (HTTP 404). Check archive.url."
            ) from None
        raise InputError(f"the archive {url} did not {what}: it refuses (HTTP {status}). Check archive.url.") from None


def _session(config: WebArchiveConfig) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no .netrc and no proxy that nobody named
    session.max_redirects = 0  # credentials go to the address that was given and nowhere else
    for name, file in (
        ("ca_file", config.ca_file),
        ("client_certificate", config.client_certificate),
        ("client_key", config.client_key),
    ):
        if file is not None and not file.is_file():
            raise InputError(f"archive.{name} is {file}, and there is no such file")
    session.verify = str(config.ca_file) if config.ca_file else True
    if config.client_certificate and config.client_key:
        session.cert = (str(config.client_certificate), str(config.client_key))
    elif config.client_certificate:
        session.cert = str(config.client_certificate)
    if config.proxy:
        session.proxies = {"http": config.proxy, "https": config.proxy}
    return session
