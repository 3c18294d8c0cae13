"""Measure training time and keep within a time budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds since the run started, including earlier sessions."""

    def __init__(self) -> None:
        self.before = 0.0
        self._start = time.perf_counter()

    def __call__(self) -> float:
        """Seconds so far."""
        return self.before + time.perf_counter() - self._start


class TimeBudget:
    """Times steps and evaluations, so that a run ends within its time budget.

    Args:
        seconds: The budget; None: no limit.
        evaluations: Evaluations on the validation images that follow the last step.
    """

    def __init__(self, seconds: float | None, evaluations: int = 1) -> None:
        self._limit, self._evaluations = seconds, evaluations
        self._step, self._evaluation = 0.0, 0.0

    @contextmanager
    def time_step(self, clock: Stopwatch) -> Iterator[None]:
        """Time one optimizer step."""
        start = clock()
        yield
        self._step = clock() - start

    @contextmanager
    def time_evaluation(self, clock: Stopwatch) -> Iterator[None]:
        """Time one evaluation on the validation images."""
        start = clock()
        yield
        self._evaluation = clock() - start

    def share(self, now: float) -> float:
        """Return the share of the time used, reserving one more step and the last evaluations; 0 without a limit."""
        if self._limit is None:
            return 0.0
        room = self._limit - self._evaluations * self._evaluation - self._step
        return now / room if room > 0 else 1.0
