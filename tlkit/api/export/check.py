"""Compare an exported network with ``predict``, on the same images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.export.formats import BOUNDS, TIE, Format
from tlkit.api.export.images import CheckImages
from tlkit.backbones.engines import Forward
from tlkit.errors import TlkitError
from tlkit.evaluation.paired import Paired, paired
from tlkit.plan.choices import FP16, FP32, INT8
from tlkit.progress import Advance

BATCH = 8  # images at a time
RUNS = 9  # of each network on one image
SECONDS = 4.0  # after which the time of a slow network is known well enough

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """How an exported network answers, compared with ``predict``.

    Attributes:
        images: Number of images.
        max_difference: Largest difference in a probability, 0..1.
        mean_difference: Mean over images of the largest difference in a probability.
        same_label: Share of images with the same label, 0..1.
        accuracy: Accuracy of the exported network on the images whose class is known; None: there are none.
        original_accuracy: Accuracy of ``predict`` on them.
        paired: The difference of these accuracies, ``predict`` being A; None likewise.
        milliseconds: Time for one image, without reading it.
        original_milliseconds: Time of ``predict``, measured in turns with it.
    """

    images: int
    max_difference: float
    mean_difference: float
    same_label: float
    accuracy: float | None
    original_accuracy: float | None
    paired: Paired | None
    milliseconds: float
    original_milliseconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        change = None
        if self.paired is not None:
            change = {
                "images": self.paired.images,
                "original": self.original_accuracy,
                "exported": self.accuracy,
                "change": self.paired.difference,
                "change_ci95": list(self.paired.ci95),
            }
        return {
            "images": self.images,
            "max_difference": self.max_difference,
            "mean_difference": self.mean_difference,
            "same_label": self.same_label,
            "accuracy": change,
            "milliseconds": self.milliseconds,
            "original_milliseconds": self.original_milliseconds,
        }


def probabilities_of(forward: Forward, pixels: NDArray[np.uint8], classes: int, advance: Advance) -> Probabilities:
    """Run a network over images, a few at a time.

    Args:
        forward: The network.
        pixels: uint8 [n, height, width, 3].
        classes: Number of classes; further columns are left out.
        advance: Told of every image.

    Returns:
        float32 [n, classes].
    """
    found = np.empty((len(pixels), classes), np.float32)
    for start in range(0, len(pixels), BATCH):
        part = pixels[start : start + BATCH]
        found[start : start + BATCH] = forward(part)[:, :classes]
        advance(len(part))
    return found


def compare(
    row: Format,
    precision: str,
    images: CheckImages,
    original: tuple[Forward, Probabilities],
    exported: tuple[Forward, Probabilities],
) -> Agreement:
    """Compare the probabilities of an exported network with those of ``predict``, and the times of both.

    Args:
        row: Its format.
        precision: Its precision.
        images: The images.
        original: ``predict``, and what it found.
        exported: The exported network, and what it found.

    Raises:
        TlkitError: They differ by more than the bound for the precision.
    """
    before, after = original[1], exported[1]
    apart = np.abs(after.astype(np.float64) - before).max(axis=1)
    own, its = before.argmax(axis=1), after.argmax(axis=1)
    rows = np.arange(len(before))
    same = (own == its) | (before[rows, own] - before[rows, its] <= TIE)
    _check(row, precision, float(apart.max()), same)
    known = [index for index, label in enumerate(images.labels) if label is not None]
    truth = np.array([images.labels[index] for index in known], dtype=int)
    right = [each[known] == truth for each in (own, its)]
    times = latencies((original[0], exported[0]), images.pixels[:1])
    return Agreement(
        images=len(before),
        max_difference=float(apart.max()),
        mean_difference=float(apart.mean()),
        same_label=float((own == its).mean()),
        accuracy=float(right[1].mean()) if known else None,
        original_accuracy=float(right[0].mean()) if known else None,
        paired=paired(right[0].tolist(), right[1].tolist()) if known else None,
        milliseconds=times[1],
        original_milliseconds=times[0],
    )


def _check(row: Format, precision: str, apart: float, same: NDArray[np.bool_]) -> None:
    """Refuse what is too different; one image may always differ where not all must agree."""
    bound, images = BOUNDS[precision], len(same)
    lower = {INT8: "use --precision fp16 or fp32", FP16: "use --precision fp32"}
    hint = lower.get(precision, "export another format, and please report it")
    if not np.isfinite(apart):
        raise TlkitError(f"the {row.name} export returns no finite probabilities", hint)
    if bound.difference is not None and apart > bound.difference:
        raise TlkitError(
            f"the {row.name} export differs from predict by {apart:.2g} in a probability, over the bound of "
            f"{bound.difference:g}, so nothing was written",
            hint,
        )
    allowed = 0 if precision == FP32 else max(1, int((1 - bound.agreement) * images + 1e-9))  # 200 * 0.1 is 19.999
    different = images - int(same.sum())
    if different > allowed:
        raise TlkitError(
            f"the {row.name} export labels {different} of {images} images otherwise than predict, over the bound of "
            f"{allowed}, so nothing was written",
            hint,
        )


def latencies(networks: Sequence[Forward], pixels: NDArray[np.uint8]) -> list[float]:
    """Return the milliseconds that each network takes for one image: the median of up to `RUNS`, taking turns.

    Args:
        networks: The networks.
        pixels: uint8 [1, height, width, 3].
    """
    for forward in networks:
        forward(pixels)  # the first run is slower
    times: list[list[float]] = [[] for _ in networks]
    begin = time.perf_counter()
    for _ in range(RUNS):
        for forward, taken in zip(networks, times, strict=True):
            start = time.perf_counter()
            forward(pixels)
            taken.append(time.perf_counter() - start)
        if time.perf_counter() - begin > SECONDS:
            break
    return [round(1000 * float(np.median(each)), 3) for each in times]
