"""The context of a run: progress reporter, clock, number of cores, random seed and deadline."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from tlkit.progress import Progress, SilentProgress, Stages


class Clock:
    """Measure the total time and the time of each lap, in seconds rounded to a millisecond."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Record the seconds since the last lap, in addition to those of an earlier lap of that name."""
        now = time.perf_counter()
        self.laps[name], self.last = round(self.laps.get(name, 0.0) + now - self.last, 3), now

    def total(self) -> float:
        """Return the seconds since the start."""
        return round(time.perf_counter() - self.start, 3)

    def seconds(self, *laps: str) -> dict[str, float]:
        """Return the total and the given laps; laps that were not recorded are left out."""
        return {"total": self.total(), **{name: self.laps[name] for name in laps if name in self.laps}}


@dataclass(frozen=True)
class Context:
    """The context of a run.

    Attributes:
        show: Progress reporter.
        workers: Number of reading threads and of cores to compute with; None: all.
        seed: Random seed.
        budget: Time limit for the whole run, in seconds from the clock's start; None: no limit.
        clock: The run's clock.
        stages: Numbers the main stages of the run.
    """

    show: Progress = field(default_factory=SilentProgress)
    workers: int | None = None
    seed: int = 0
    budget: float | None = None
    clock: Clock = field(default_factory=Clock)
    stages: Stages = field(default_factory=Stages)

    def begin(self, stage: str) -> None:
        """Begin a main stage of the run."""
        self.stages.begin(stage, self.show)

    @property
    def deadline(self) -> float | None:
        """The value of `time.perf_counter` by which the run must end; None: no limit."""
        return None if self.budget is None else self.clock.start + self.budget

    def ending_within(self, seconds: float) -> Context:
        """Return the context with its deadline so many seconds from now, unless it is earlier already."""
        budget = time.perf_counter() - self.clock.start + seconds
        return replace(self, budget=budget if self.budget is None else min(budget, self.budget))

    def left(self) -> float | None:
        """Return the seconds until the deadline; None: no limit."""
        return None if self.deadline is None else self.deadline - time.perf_counter()
