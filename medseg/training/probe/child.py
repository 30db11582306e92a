"""Work done in a process of its own, which begins with nothing in its memory."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from medseg.core.errors import PlanError

GivenT = TypeVar("GivenT")
MadeT = TypeVar("MadeT")


def in_own_process(function: Callable[[GivenT], MadeT], given: GivenT) -> MadeT:
    """What the function makes of what it is given; both can be pickled, and the function's own errors come through.

    The process ends when its work does, also where nobody waits for it any longer. Raises PlanError where it is killed,
    as a system does that has no memory left.
    """
    context = get_context("spawn")
    hears, tells = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(tells, function, given))
    process.start()
    tells.close()  # this process's end: so that the child's death ends the waiting
    try:
        error, made = hears.recv()
    except EOFError as error:
        raise PlanError(
            "the trial of the plan was killed, most likely since memory ran out. Lower patch or batch_size in the "
            "plan, or plan with less --memory-gb."
        ) from error
    except BaseException:
        process.kill()
        raise
    finally:
        hears.close()
        process.join()
    if error is not None:
        raise error
    return made  # type: ignore[no-any-return]


def _work(tells: Connection, function: Callable[[Any], Any], given: Any) -> None:
    made, error = None, None
    try:
        made = function(given)
    except Exception as raised:  # noqa: BLE001 - it is raised again by the process that waits
        error = raised
        error.add_note(traceback.format_exc())
    tells.send((error, made))
