"""How long training steps take, and what stands between epochs."""

from __future__ import annotations

import time
from collections.abc import Callable

WARM_UP_STEPS = 2
"""The first steps of a process build what later ones reuse, and are not counted."""


class StepClock:
    """Told of each step and epoch as it ends; seconds by `now`, and seconds of work of all cores by `worked`."""

    def __init__(
        self, now: Callable[[], float] = time.monotonic, worked: Callable[[], float] = time.process_time
    ) -> None:
        self._now, self._worked = now, worked
        self._last, self._last_worked = now(), worked()
        self.steps = 0
        self._counted_s = self._counted_work_s = 0.0
        self.counted_steps = 0
        self.epochs = 0
        self.between_epochs_s = 0.0

    def step_ended(self) -> None:
        """After each step."""
        now, worked = self._now(), self._worked()
        self.steps += 1
        if self.steps > WARM_UP_STEPS:
            self.counted_steps += 1
            self._counted_s += now - self._last
            self._counted_work_s += worked - self._last_worked
        self._last, self._last_worked = now, worked

    def epoch_ended(self) -> None:
        """After each epoch: its look at the validation cases, its checkpoint and its log are done."""
        now = self._now()
        self.epochs += 1
        self.between_epochs_s += now - self._last
        self._last, self._last_worked = now, self._worked()

    @property
    def step_s(self) -> float | None:
        """The mean over the counted steps; None where there were too few."""
        return self._counted_s / self.counted_steps if self.counted_steps else None

    @property
    def step_cpu_s(self) -> float | None:
        """Seconds that cores worked in a step: what it takes on however busy a machine."""
        return self._counted_work_s / self.counted_steps if self.counted_steps else None
