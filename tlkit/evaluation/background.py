"""Whether the class of images can be read from what is not the object: their border, or the facts of their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.evaluation.metrics import wilson_interval
from tlkit.evaluation.paired import difference_interval

WHOLE, BORDER, CENTRE = "whole image", "border", "centre"
VIEWS = (WHOLE, BORDER, CENTRE)

OUTSIDE, INSIDE = (
    0.75,
    0.6,
)  # sides of the box that the border lies outside of, and of the centre, as shares of the image
GREY = 128  # what is not shown; it says nothing about the image

AS_MUCH = 1 / 8  # of what the centre gives away; if the border gives away all but that, it is as good
FILE_SHARE, LIGHT_SHARE = 1 / 4, 1 / 2  # of what the image gives away; more from its file, or its light, is too much

FILE_FACTS = ("size in pixels", "file size", "format", "camera", "day")
LIGHT = "brightness and contrast"


@dataclass(frozen=True)
class Reading:
    """How often the class can be read from a part of what is known of an image.

    Attributes:
        right: bool [n], whether it was, for each image, by a classifier that was not trained on it.
    """

    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """Share of the images, 0..1."""
        return float(self.right.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """Its 95% interval (Wilson)."""
        return wilson_interval(int(self.right.sum()), len(self.right))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"accuracy": self.accuracy, "accuracy_ci95": list(self.ci95)}

    def __str__(self) -> str:
        low, high = self.ci95
        return f"{self.accuracy:.1%} ({low:.0%} to {high:.0%})"


@dataclass(frozen=True)
class Background:
    """What the class of some images can be read from.

    Attributes:
        images: Number of images.
        majority: Share of the largest class: the accuracy of always naming it, 0..1.
        views: By view, how often a small classifier of that view alone is right.
        answers: By view, how often the bundle is right if it sees that view alone.
        files: The same as ``views`` from the facts of the files, without light.
        light: From brightness and contrast.
        facts: From each fact of `FILE_FACTS` alone.
        left_out: Number of images that were left out, to save time.
    """

    images: int
    majority: float
    views: Mapping[str, Reading]
    answers: Mapping[str, Reading]
    files: Reading
    light: Reading
    facts: Mapping[str, Reading]
    left_out: int = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the class can be read from what is not the object, one sentence each."""
        return tuple(
            each for each in (self._of_border(), self._of_bundle(), self._of_files(), self._of_light()) if each
        )

    def _gain(self, view: str) -> float:
        """How much more often a view tells the class than always naming the largest class would, 0..1."""
        return max(0.0, self.views[view].accuracy - self.majority)

    def _of_border(self) -> str:
        border, centre = self.views[BORDER], self.views[CENTRE]
        _, most = _difference(border, centre)
        if border.ci95[0] <= self.majority or most > AS_MUCH * self._gain(CENTRE):
            return ""
        return (
            f"the class can be read from the border alone ({border}) as well as from the centre ({centre}): if your "
            "objects lie in the centre, their background gives the class away"
        )

    def _of_bundle(self) -> str:
        border, centre = self.answers[BORDER], self.answers[CENTRE]
        least, _ = _difference(centre, border)
        if least <= 0 or border.ci95[0] <= self.majority:
            return ""
        return f"the bundle is right more often by the border alone ({border}) than by the centre alone ({centre})"

    def _of_files(self) -> str:
        if not self._tells(self.files, FILE_SHARE):
            return ""
        best = max(self.facts, key=lambda name: self.facts[name].accuracy)
        return (
            f"the class can be read from the files without looking at the images ({self.files}), most of all from the "
            f"{best} ({self.facts[best]}): images of different classes come from different sources"
        )

    def _of_light(self) -> str:
        if not self._tells(self.light, LIGHT_SHARE):
            return ""
        return f"the class can be read from {LIGHT} alone ({self.light}): were the classes taken in different light?"

    def _tells(self, reading: Reading, share: float) -> bool:
        """Whether something tells more than a share of what the whole image tells, beyond chance."""
        return reading.ci95[0] > self.majority + share * max(self._gain(WHOLE), 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "images": self.images,
            "left_out": self.left_out,
            "majority": self.majority,
            "from": {
                **{name: its.to_json() for name, its in self.views.items()},
                "file": self.files.to_json(),
                LIGHT: self.light.to_json(),
            },
            "file_facts": {name: its.to_json() for name, its in self.facts.items()},
            "bundle": {name: its.to_json() for name, its in self.answers.items()},
            "warnings": list(self.warnings),
        }

    def rows(self) -> list[tuple[str, Reading, Reading | None]]:
        """What the class can be read from, how often by a small classifier, and how often by the bundle."""
        shown = [(name, its, self.answers.get(name)) for name, its in self.views.items()]
        return [*shown, ("facts of the file", self.files, None), (LIGHT, self.light, None)]


def _difference(one: Reading, two: Reading) -> tuple[float, float]:
    """Return the 95% interval of how much more often the second is right, on the same images."""
    only_one, only_two = int((one.right & ~two.right).sum()), int((two.right & ~one.right).sum())
    return difference_interval(only_one, only_two, len(one.right))


def seen(pixels: NDArray[np.uint8], view: str) -> NDArray[np.uint8]:
    """Return images of which only a part can be seen; the rest is grey.

    Args:
        pixels: uint8 [n, height, width, 3].
        view: One of `VIEWS`.
    """
    if view == WHOLE:
        return pixels
    height, width = pixels.shape[1:3]
    rows, columns = _middle(height, view), _middle(width, view)
    middle = np.zeros((height, width, 1), np.bool_)
    middle[rows, columns] = True
    return np.asarray(np.where(middle == (view == CENTRE), pixels, np.uint8(GREY)), dtype=np.uint8)


def _middle(side: int, view: str) -> slice:
    margin = round(side * (1 - (OUTSIDE if view == BORDER else INSIDE)) / 2)
    return slice(margin, side - margin)


def most_common(values: Sequence[str], most: int) -> list[str]:
    """Return the most frequent values, the most frequent first, at most so many."""
    names, counts = np.unique(np.asarray(values, dtype=object).astype(str), return_counts=True)
    return [str(names[index]) for index in np.argsort(-counts, kind="stable")[:most]]
