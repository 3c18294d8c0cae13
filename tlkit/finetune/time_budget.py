"""How long training has taken, and what the next step will."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds since the run began, earlier sessions included."""

    def __init__(self) -> None:
        self.before = 0.0
        self._start = time.perf_counter()

    def __call__(self) -> float:
        """Seconds so far."""
        return self.before + time.perf_counter() - self._start


class TimeBudget:
    """What a step and a look at the validation images take, so that a run ends in time."""

    def __init__(self, seconds: float | None) -> None:
        self._limit = seconds
        self._step, self._look = 0.0, 0.0

    @contextmanager
    def of_step(self, clock: Stopwatch) -> Iterator[None]:
        """Time a step."""
        start = clock()
        yield
        self._step = clock() - start

    @contextmanager
    def of_look(self, clock: Stopwatch) -> Iterator[None]:
        """Time a look."""
        start = clock()
        yield
        self._look = clock() - start

    def share(self, now: float) -> float:
        """Share of the time that is used, leaving room for another step and the last look; 0 without a limit."""
        if self._limit is None:
            return 0.0
        room = self._limit - self._look - self._step
        return now / room if room > 0 else 1.0
