"""The result of `tlkit.suggest`: which images to label next, why, and whether that was shown to pay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit import csvtext
from tlkit.linear.acquisition import DIVERSE, MARGIN, RANDOM, TYPICAL
from tlkit.linear.replay import MIN_IMAGES, MIN_PER_CLASS, Backtest
from tlkit.words import plural

COLUMNS = ("rank", "file", "why", "label", "probability", "unknown")
MEANING = {
    MARGIN: "the images whose two most probable classes are closest",
    DIVERSE: "images that it is unsure of and that differ from each other",
    TYPICAL: "typical images of the groups with the fewest labels",
    RANDOM: "a random draw",
}


@dataclass(frozen=True)
class Suggestion:
    """An image to label.

    Attributes:
        rank: Its place, from 1.
        file: Its path.
        why: Why it is suggested, in a few words.
        label: The most probable class.
        probability: Its probability, 0..1, by the head on the labelled images' features.
        unknown: Whether it is unlike the images that the bundle was trained on; None: the bundle cannot tell.
    """

    rank: int
    file: str
    why: str
    label: str
    probability: float
    unknown: bool | None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {name: getattr(self, name) for name in COLUMNS}


@dataclass(frozen=True)
class Suggested:
    """Images to label next, the most useful first.

    Attributes:
        model: The bundle.
        suggestions: The images.
        way: How they were chosen: "margin", "diverse", "typical" or "random".
        verdict: Whether choosing in this way was shown to pay on the user's own images, in a sentence.
        images: Number of unlabelled images that could be chosen.
        labelled: Number of labelled images.
        known: Number of unlabelled images left out since they, or copies of them, have a label already.
        copies: Number of unlabelled images left out as copies of others.
        backtest: The replay on the labelled images; None: there are too few.
        skipped: (file, reason) of every image that could not be read.
    """

    model: Path
    suggestions: tuple[Suggestion, ...]
    way: str
    verdict: str
    images: int
    labelled: int
    known: int
    copies: int
    backtest: Backtest | None
    skipped: tuple[tuple[str, str], ...]

    @property
    def prediction(self) -> str | None:
        """What 50 more labels are predicted to bring, in a sentence; None: it cannot be predicted."""
        if self.backtest is None or self.backtest.gain is None:
            return None
        middle, low, high = (100 * each for each in self.backtest.gain)
        gain = f"{middle:.1f} percentage points (90% interval {low:.1f} to {high:.1f})"
        return f"50 more labels, drawn at random, are predicted to raise accuracy by {gain}"

    @property
    def unknown(self) -> int:
        """Number of suggested images that are unlike those the bundle was trained on."""
        return sum(each.unknown is True for each in self.suggestions)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "model": str(self.model),
            "way": self.way,
            "verdict": self.verdict,
            "prediction": self.prediction,
            "suggestions": [each.to_json() for each in self.suggestions],
            "images": self.images,
            "labelled": self.labelled,
            "known": self.known,
            "copies": self.copies,
            "backtest": None if self.backtest is None else self.backtest.to_json(),
            "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
        }

    def to_csv(self) -> str:
        """Return the images as CSV, with the columns of `COLUMNS`."""
        rows: list[tuple[object, ...]] = [COLUMNS]
        for each in self.suggestions:
            unknown = None if each.unknown is None else str(each.unknown).lower()
            rows.append((each.rank, each.file, each.why, each.label, round(each.probability, 4), unknown))
        return "".join(csvtext.line(row) for row in rows)


def verdict_of(backtest: Backtest | None, way: str, labelled: int, *, asked: bool) -> str:
    """Return whether a way of choosing was shown to pay, in a sentence.

    Args:
        backtest: The replay on the labelled images; None: there are too few.
        way: The way that was taken.
        labelled: Number of labelled images.
        asked: Whether the user asked for it.
    """
    if backtest is None:
        few = f"it takes {MIN_IMAGES} labelled images, and {MIN_PER_CLASS} of each class, to try that"
        if asked and way != RANDOM:
            return f"whether {way} beats a random draw is not known: {few}, and there are {labelled}"
        return f"this is a random draw: whether another choice is better is not known; {few}, and there are {labelled}"
    images = plural(backtest.images, "labelled image")
    its = next((each for each in backtest.ways if each.way == way), backtest.ways[0])
    gain = f"{100 * its.gain:+.1f} percentage points of accuracy, standard error {100 * its.error:.1f}"
    if way == RANDOM and not asked:
        return (
            f"this is a random draw: replayed on your {images}, no way of choosing beat that by more than chance "
            f"(best: {its.way}, {gain})"
        )
    if way == RANDOM:
        return f"this is a random draw, as asked; replayed on your {images}, the best way was {its.way} ({gain})"
    won = "beat a random draw" if its.won else "did not beat a random draw by more than chance"
    return f"{way} ({MEANING[way]}): replayed on your {images}, it {won} ({gain}, with as many labels)"


def why_of(way: str, classes: tuple[str, ...]) -> Callable[[list[float]], str]:
    """Return a function from the probabilities of an image to why it is suggested."""
    words = {
        MARGIN: "unsure: {}",
        DIVERSE: "unsure, and unlike those before: {}",
        TYPICAL: "typical of images with few labels",
        RANDOM: "random draw",
    }

    def why(row: list[float]) -> str:
        first, second = sorted(range(len(row)), key=lambda place: -row[place])[:2]
        return words[way].format(f"{classes[first]} {row[first]:.0%} or {classes[second]} {row[second]:.0%}")

    return why
