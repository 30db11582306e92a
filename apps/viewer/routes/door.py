"""The door of every route: no answer without a permit for this study and this right, no body larger than it may be.

What goes wrong is answered with a sentence as plain text, which the page shows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from apps.viewer.access.tokens import FOLDER, Permit, RefusalError, Right, check
from apps.viewer.desk import Desk
from apps.viewer.page_data import ROUTE_ROOT
from apps.viewer.routes.answers import bearer, sentence
from apps.viewer.second_reading import read_study
from apps.viewer.study_on_screen import StudyOnScreen
from medseg.core.errors import InputError, MedsegError
from medseg.review.audit import Act
from medseg.review.corrections import ConflictError

SMALL_BODY_BYTES = 256 * 1024
"""What a request may send where nothing else is said: some JSON."""


class Visit:
    """One permitted request: whose, with which body, and of which study where it is about one."""

    def __init__(self, desk: Desk, permit: Permit, request: Request, body: bytes) -> None:
        self.desk, self.permit, self.request, self.body = desk, permit, request, body

    @cached_property
    def study(self) -> StudyOnScreen:
        """The study as it was last opened. Raises InputError where it cannot be."""
        return self.desk.opened(self.permit.study, self.permit.user)

    def log(self, act: Act, detail: str = "") -> None:
        """Write into the log that this visitor does it."""
        study = "" if self.permit.study == FOLDER else self.desk.entry(read_study(self.permit.study)).name
        self.desk.log.add(self.permit.user, act, study, detail)

    @contextmanager
    def logged(self, act: Act, detail: str) -> Iterator[None]:
        """Write into the log what this visitor does in the block, before it is done; and that it was refused, if it is.

        Raises InputError where the log cannot be written: then the block is not begun.
        """
        self.log(act, detail)
        try:
            yield
        except MedsegError:
            with suppress(MedsegError):
                self.log(act, f"{detail}: refused")
            raise

    @contextmanager
    def newest_after_conflict(self) -> Iterator[None]:
        """Have the newest mask on the screen after a conflict in the block: another process may have saved it."""
        try:
            yield
        except ConflictError:
            with suppress(MedsegError):
                self.desk.open(self.permit.study, self.permit.user)
            raise


Answer = Callable[[Visit], Response]
MostBytes = Callable[[Visit], int]


class Door:
    """Makes routes over one desk, for permits signed by `key`."""

    def __init__(self, desk: Desk, key: str) -> None:
        self.desk, self._key = desk, key

    def study(self, path: str, method: str, right: Right, answer: Answer, most_bytes: MostBytes | None = None) -> Route:
        """A route about one study."""
        return self._route(f"{ROUTE_ROOT}/studies/{{study}}/{path}", method, right, answer, most_bytes)

    def folder(self, path: str, method: str, right: Right, answer: Answer) -> Route:
        """A route about the folder as a whole."""
        return self._route(f"{ROUTE_ROOT}/{path}", method, right, answer, None)

    def permit(self, request: Request, right: Right) -> Permit:
        """The permit of a request. Raises RefusalError where it does not open this door."""
        return check(self._key, bearer(request), request.path_params.get("study", FOLDER), right)

    def _route(self, path: str, method: str, right: Right, answer: Answer, most_bytes: MostBytes | None) -> Route:
        async def endpoint(request: Request) -> Response:
            async def run() -> Response:
                visit = Visit(self.desk, self.permit(request, right), request, b"")
                most = SMALL_BODY_BYTES if most_bytes is None else await run_in_threadpool(most_bytes, visit)
                visit.body = await _bounded_body(request, most)
                return await run_in_threadpool(answer, visit)

            return await answered(run)

        return Route(path, endpoint, methods=[method])


async def answered(run: Callable[[], Awaitable[Response]]) -> Response:
    """What `run` answers, or what it raises as a sentence."""
    try:
        return await run()
    except RefusalError as refusal:
        return sentence(str(refusal), 403)
    except ConflictError as conflict:
        return sentence(str(conflict), 409)
    except MedsegError as error:
        return sentence(str(error), 422)


async def _bounded_body(request: Request, most: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise InputError(f"what was sent is larger than the {most} bytes that this can take")
    return bytes(body)
