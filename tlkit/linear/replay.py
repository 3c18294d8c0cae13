"""Replay the choice of images to label on images whose labels are known: does a way of choosing beat a random draw?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tlkit.linear.acquisition import RANDOM, WAYS, Floats, choose, probabilities_of
from tlkit.linear.folds import make_folds
from tlkit.linear.head import Matrix
from tlkit.progress import Progress, SilentProgress

MIN_IMAGES, MIN_PER_CLASS = 40, 6  # labelled images without which a replay says nothing
MAX_IMAGES = 1500  # labelled images that are replayed; of more, a random part
REPEATS = 20
TEST_FOLDS = 3  # one of them tests
ROUNDS = 3
DRAWS = 3  # random draws in each repeat, against which the ways are compared
SURE = 1.75  # standard errors above a random draw from which a way has won: one-sided 95% with so many repeats
MAX_SHARE = 6  # a round takes at most one in so many of the images left, so that there is a choice


@dataclass(frozen=True)
class Replayed:
    """How one way of choosing did, against a random draw from the same images.

    Attributes:
        way: One of `tlkit.linear.acquisition.WAYS`.
        gain: Mean accuracy after each round minus that of random draws, -1..1, averaged over rounds and repeats.
        error: Standard error of the gain over repeats.
    """

    way: str
    gain: float
    error: float

    @property
    def won(self) -> bool:
        """Whether it beat a random draw by more than chance."""
        return self.gain > SURE * self.error


@dataclass(frozen=True)
class Backtest:
    """The result of a replay.

    Attributes:
        images: Number of labelled images used.
        start: Number of images that have a label at the start of each repeat.
        batch: Number of images that are labelled in each round.
        tested: Number of images that the accuracy is measured on in each repeat.
        ways: How each way did, the best first.
        curve: (labelled images, accuracy) of random draws, ascending.
        gain: Predicted gain of accuracy by 50 more images drawn at random, and the bounds of its 90% interval, 0..1;
            None: no curve can be fitted.
    """

    images: int
    start: int
    batch: int
    tested: int
    ways: tuple[Replayed, ...]
    curve: tuple[tuple[int, float], ...]
    gain: tuple[float, float, float] | None

    @property
    def best(self) -> Replayed | None:
        """The best way, if it beat a random draw."""
        return self.ways[0] if self.ways and self.ways[0].won else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "images": self.images,
            "start": self.start,
            "batch": self.batch,
            "tested": self.tested,
            "ways": [
                {"way": each.way, "gain": each.gain, "standard_error": each.error, "won": each.won}
                for each in self.ways
            ],
            "curve": [list(point) for point in self.curve],
            "gain_per_50": None if self.gain is None else list(self.gain),
        }


def replay(
    rows: Matrix,
    labels: Sequence[int],
    groups: Sequence[int],
    c: float,
    wanted: int,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Backtest | None:
    """Let every way choose among labelled images as if they had no labels, and compare it with random draws.

    In each repeat, a third of the images tests. A half of the others have a label at the start; of the rest, three
    batches are chosen one after the other. Copies are never on both sides.

    Args:
        rows: From `tlkit.linear.acquisition.compact`, float32 [n, d].
        labels: Class index of each row.
        groups: Group of each row; copies share one.
        c: Inverse L2 strength of the head.
        wanted: Number of images that the user will label.
        seed: Random seed.
        progress: Progress reporter.

    Returns:
        The result; None: there are fewer than `MIN_IMAGES` images, or than `MIN_PER_CLASS` of a class.
    """
    target = np.asarray(labels, dtype=np.int64)
    if len(target) < MIN_IMAGES or np.bincount(target).min() < MIN_PER_CLASS:
        return None
    rng = np.random.default_rng(seed)
    if len(target) > MAX_IMAGES:
        part = np.sort(rng.permutation(len(target))[:MAX_IMAGES])
        rows, target, groups = rows[part], target[part], [groups[each] for each in part]
    played = []
    # small products gain nothing from more threads, and lose much when other programs keep the cores busy
    with (
        (progress or SilentProgress()).phase("Replaying on labelled images", REPEATS) as advance,
        threadpool_limits(1),
    ):
        for number in range(REPEATS):
            one = _repeat(rows, target, groups, c, wanted / len(target), seed + number)
            if one is not None:
                played.append(one)
            advance(1)
    return _summary(played, len(target), len(labels), rng) if len(played) > 1 else None


@dataclass(frozen=True, eq=False)
class _Repeat:
    """Accuracies of one repeat, by way: float64 [rounds + 1], the first before anything is chosen."""

    start: int
    batch: int
    tested: int
    accuracies: dict[str, Floats]


def _repeat(
    rows: Matrix, target: NDArray[np.int64], groups: Sequence[int], c: float, share: float, seed: int
) -> _Repeat | None:
    folds = make_folds(target, groups, seed, TEST_FOLDS)
    if not folds:
        return None
    rng = np.random.default_rng([seed, 0xAC71])
    train, test = folds[0]
    halves = make_folds(target[train], [groups[each] for each in train], seed, 2)
    if not halves:
        return None
    start, rest = train[halves[0][0]], train[halves[0][1]]
    batch = int(np.clip(round(share * len(start)), 1, max(1, len(rest) // MAX_SHARE)))
    accuracies = {way: _played(way, rows, target, start, rest, test, c, batch, rng) for way in WAYS}
    drawn = [_played(RANDOM, rows, target, start, rest, test, c, batch, rng) for _ in range(DRAWS)]
    return _Repeat(len(start), batch, len(test), accuracies | {RANDOM: np.mean(drawn, axis=0)})


def _played(
    way: str,
    rows: Matrix,
    target: NDArray[np.int64],
    start: NDArray[np.int64],
    rest: NDArray[np.int64],
    test: NDArray[np.int64],
    c: float,
    batch: int,
    rng: np.random.Generator,
) -> Floats:
    classes = int(target.max()) + 1
    known, pool, found = start.tolist(), rest.tolist(), []
    for number in range(ROUNDS + 1):
        shown = probabilities_of(rows[known], target[known], rows[[*test, *pool]], classes, c)
        found.append(float((shown[: len(test)].argmax(axis=1) == target[test]).mean()))
        if number < ROUNDS:
            chosen = choose(way, rows, known, pool, shown[len(test) :], batch, rng)
            left = set(pool) - set(chosen)
            known, pool = [*known, *chosen], [each for each in pool if each in left]
    return np.asarray(found)


def _summary(played: list[_Repeat], images: int, labelled: int, rng: np.random.Generator) -> Backtest:
    ways = []
    for way in WAYS:
        gains = np.asarray([float((each.accuracies[way] - each.accuracies[RANDOM])[1:].mean()) for each in played])
        ways.append(Replayed(way, float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))))
    start = round(float(np.mean([each.start for each in played])))
    batch = round(float(np.mean([each.batch for each in played])))
    drawn = np.asarray([each.accuracies[RANDOM] for each in played])
    sizes = start + batch * np.arange(ROUNDS + 1)
    curve = tuple((int(size), float(its)) for size, its in zip(sizes, drawn.mean(axis=0), strict=True))
    return Backtest(
        images=images,
        start=start,
        batch=batch,
        tested=round(float(np.mean([each.tested for each in played]))),
        ways=tuple(sorted(ways, key=lambda each: -each.gain)),
        curve=curve,
        gain=_predicted(sizes, drawn, labelled, rng),
    )


def _predicted(
    sizes: NDArray[np.int64], drawn: Floats, labelled: int, rng: np.random.Generator
) -> tuple[float, float, float] | None:
    """Extrapolate to 50 more labels: errors fall as a power of the number of images (Hestness et al. 2017)."""

    def gain(accuracies: Floats) -> float:
        errors = 1.0 - accuracies
        slope, level = np.polyfit(np.log(sizes), np.log(np.maximum(errors, 1e-4)), 1)
        slope = min(0.0, float(slope))  # more labels do no harm, whatever a few images say
        now, then = (float(np.exp(level + slope * np.log(count))) for count in (labelled, labelled + 50))
        return now - then

    if (1.0 - drawn.mean(axis=0)).min() <= 0:
        return None
    found = [gain(drawn[rng.integers(len(drawn), size=len(drawn))].mean(axis=0)) for _ in range(300)]
    low, high = np.percentile(found, [5, 95])
    return gain(drawn.mean(axis=0)), float(low), float(high)
