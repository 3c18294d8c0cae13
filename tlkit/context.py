"""What surrounds a run: who is told of its progress, its clock, its cores, its random seed and its deadline."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tlkit.progress import Progress, SilentProgress


class Clock:
    """Seconds in all and by lap, to a millisecond."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Note the seconds since the last lap."""
        now = time.perf_counter()
        self.laps[name], self.last = round(now - self.last, 3), now

    def total(self) -> float:
        """Seconds since the start."""
        return round(time.perf_counter() - self.start, 3)

    def seconds(self, *laps: str) -> dict[str, float]:
        """The total, and those of the laps that were run."""
        return {"total": self.total(), **{name: self.laps[name] for name in laps if name in self.laps}}


@dataclass(frozen=True)
class Context:
    """What surrounds a run.

    Attributes:
        show: Progress reporter.
        workers: Threads to read with and cores to compute with; None: all.
        seed: Of every random choice.
        budget: Seconds that everything may take, from the clock's start; None: no limit.
        clock: Started with the run.
    """

    show: Progress = field(default_factory=SilentProgress)
    workers: int | None = None
    seed: int = 0
    budget: float | None = None
    clock: Clock = field(default_factory=Clock)

    @property
    def deadline(self) -> float | None:
        """`time.perf_counter` at which the run is to end; None: no limit."""
        return None if self.budget is None else self.clock.start + self.budget

    def left(self) -> float | None:
        """Seconds until the deadline; None: no limit."""
        return None if self.deadline is None else self.deadline - time.perf_counter()
