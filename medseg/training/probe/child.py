"""Work done in a process of its own, which begins with nothing in its memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from medseg.core.errors import PlanError

GivenT = TypeVar("GivenT")
MadeT = TypeVar("MadeT")


def in_own_process(function: Callable[[GivenT], MadeT], given: GivenT) -> MadeT:
    """What the function makes of what it is given; both can be pickled, and the function's own errors come through.

    Raises PlanError where the process is killed, as a system does that has no memory left.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(function, given).result()
        except BrokenProcessPool as error:
            raise PlanError(
                "the trial of the plan was killed, most likely since memory ran out. Lower patch or batch_size in the "
                "plan, or plan with less --memory-gb."
            ) from error
