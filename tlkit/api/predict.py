"""``tlkit.predict``: label images with a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.api.inputs import PathLike, find_images
from tlkit.api.table_options import FileOptions
from tlkit.api.train.keywords import documented
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.run import Answer, answers, check_mirroring
from tlkit.errors import TlkitError
from tlkit.linear.ood import check_rate
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from tlkit.api.inputs import Images

TOP = 5


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        file: The path as given or found; ``image`` or ``images[0]`` and so on for an image in memory.
        label: The most probable class; None if the image could not be read or the network's output is not finite.
        probability: Its probability, 0..1; None likewise.
        top: (class, probability) of the most probable classes, best first, at most `TOP`.
        unknown: Whether the image is unlike anything the bundle was trained on; None if the bundle cannot tell.
        error: Why there is no label; None if there is one.
    """

    file: str
    label: str | None
    probability: float | None
    top: tuple[tuple[str, float], ...]
    unknown: bool | None
    error: str | None

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "file": self.file,
            "label": self.label,
            "probability": self.probability,
            "top": [{"label": label, "probability": probability} for label, probability in self.top],
            "unknown": self.unknown,
            "error": self.error,
        }


@documented(FileOptions)
def predict(
    images: Images,
    model: PathLike | Bundle | None = None,
    *,
    unknown_rate: float | None = None,
    tta: bool = False,
    engine: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Prediction]:
    """Label images; the rows of `predict_iter` as a list."""
    rows = predict_iter(
        images, model, unknown_rate=unknown_rate, tta=tta, engine=engine, workers=workers, progress=progress, **options
    )
    return list(rows)


@documented(FileOptions)
def predict_iter(
    images: Images,
    model: PathLike | Bundle | None = None,
    *,
    unknown_rate: float | None = None,
    tta: bool = False,
    engine: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Iterator[Prediction]:
    """Label images one by one; memory does not grow with their number.

    Args:
        images: One image or many. A file, a folder (with everything below it), a glob pattern, a table that names files
            (CSV, TSV, JSON Lines), the bytes of an image file, a Pillow image, a uint8 array [height, width, 3] (RGB),
            [height, width] (grey) or [height, width, 4] (RGBA); a list of these; or a uint8 array
            [n, height, width, 3].
        model: A bundle or its folder; None: the newest ``*.tlkit`` in the current folder.
        unknown_rate: Share of images of known classes that may be flagged as unknown, 0..0.5; 0: flag none; None: as
            set in training.
        tta: Average over each image and its mirror image (test-time augmentation); takes twice the time.
        engine: "auto" (LiteRT on a CPU, Keras on a GPU), "litert" or "keras".
        workers: Threads to read images with, and cores to compute with; None: all.
        progress: Progress reporter.
        options: As follows.

    Yields:
        One row per image, in the order found; an unreadable image becomes a row with ``error``.

    Raises:
        TypeError: There is no such option.
        TlkitError: There is no bundle or it is damaged, no image is found or an image is of a type that cannot be one,
            the bundle cannot flag unknown images, mirroring is not known to be harmless, or the engine is missing.
    """
    table = FileOptions.of("predict", options)
    bundle = model if isinstance(model, Bundle) else load(model)
    limit = unknown_limit(bundle, unknown_rate)
    if tta:
        check_mirroring(bundle)
    found = find_images(images, table)
    with (progress or SilentProgress()).phase("Predicting", len(found)) as advance:
        for answer in answers(found, bundle, engine=engine, workers=workers, mirrored=tta):
            yield prediction_of(str(found[answer.item.index]), answer, bundle.classes, limit)
            advance(1)


def unknown_limit(bundle: Bundle, rate: float | None) -> float | None:
    """The out-of-distribution score above which an image is flagged as unknown; None if the bundle cannot tell.

    Raises:
        TlkitError: The rate is out of range, or given although the bundle cannot tell.
    """
    if rate is not None:
        check_rate(rate)
        if bundle.ood is None:
            raise TlkitError(
                f"--unknown-rate requires a bundle that can flag unknown images, and {bundle.path} cannot",
                "its plan.json says why; a bundle of an earlier version must be trained again",
            )
    return None if bundle.ood is None else bundle.ood.threshold(bundle.unknown_rate if rate is None else rate)


def prediction_of(name: str, answer: Answer, classes: Sequence[str], limit: float | None, top: int = TOP) -> Prediction:
    """Return a row: the answer in words.

    Args:
        name: What the row's ``file`` is.
        answer: The bundle's answer.
        classes: Its class names.
        limit: The score above which the image is unknown, from `unknown_limit`.
        top: How many classes to list at most.
    """
    values = answer.probabilities
    if values is None:
        return Prediction(name, None, None, (), None, answer.error)
    best = np.argsort(-values, kind="stable")[:top]
    listed = tuple((classes[i], float(values[i])) for i in best)
    unknown = None if limit is None or answer.ood_score is None else not answer.ood_score <= limit
    return Prediction(name, *listed[0], listed, unknown, None)
