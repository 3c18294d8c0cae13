"""``tlkit.predict``: label images with a bundle."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.inputs import PathLike, find_images
from tlkit.api.promise import check_together, limits_of, unpromised
from tlkit.api.table_options import FileOptions
from tlkit.api.train.keywords import documented
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.run import Answer, answers, check_mirroring
from tlkit.errors import TlkitError
from tlkit.evaluation.promise import doubts_of
from tlkit.linear.ood import check_rate
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from pathlib import Path

    from tlkit.api.inputs import Images
    from tlkit.images.given import GivenImage

TOP = 5
FINE = 1e-6  # probabilities are float32


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
        review: Whether a person should look at the image, as its probability is below the threshold or too low for the
            precision; None if neither is given, or if there is no label.
    """

    file: str
    label: str | None
    probability: float | None
    top: tuple[tuple[str, float], ...]
    unknown: bool | None
    error: str | None
    review: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "file": self.file,
            "label": self.label,
            "probability": self.probability,
            "top": [{"label": label, "probability": probability} for label, probability in self.top],
            "unknown": self.unknown,
            "error": self.error,
            **({} if self.review is None else {"review": self.review}),
        }


@documented(FileOptions)
def predict(  # noqa: PLR0913  (one argument an option)
    images: Images,
    model: PathLike | Bundle | None = None,
    *,
    unknown_rate: float | None = None,
    threshold: float | None = None,
    precision: float | None = None,
    each_class: bool = False,
    top: int = TOP,
    tta: bool = False,
    engine: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Prediction]:
    """Label images; the rows of `predict_iter` as a list."""
    return list(
        predict_iter(
            images,
            model,
            unknown_rate=unknown_rate,
            threshold=threshold,
            precision=precision,
            each_class=each_class,
            top=top,
            tta=tta,
            engine=engine,
            workers=workers,
            progress=progress,
            **options,
        )
    )


@documented(FileOptions)
def predict_iter(  # noqa: PLR0913  (one argument an option)
    images: Images,
    model: PathLike | Bundle | None = None,
    *,
    unknown_rate: float | None = None,
    threshold: float | None = None,
    precision: float | None = None,
    each_class: bool = False,
    top: int = TOP,
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
        threshold: Probability, 0..1, below which a row says that a person should review it; None: no row does.
        precision: Share of the other rows, those for no review, that is to be right, above 0 and below 1, in place of a
            threshold. The bundle knows from images that it was not trained on how sure it must be; with 95% confidence,
            the promise holds for images like those.
        each_class: Promise the precision for the rows of each class by itself.
        top: Number of most probable classes in a row, at least 1.
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
            the bundle cannot flag unknown images or cannot promise such a precision, mirroring is not known to be
            harmless, a number is out of range, options contradict each other, or the engine is missing.
    """
    table = FileOptions.of("predict", options)
    bundle = model if isinstance(model, Bundle) else load(model)
    show = progress or SilentProgress()
    asked = Asked.of(
        bundle,
        unknown_rate=unknown_rate,
        threshold=threshold,
        precision=precision,
        each_class=each_class,
        top=top,
        tta=tta,
        show=show,
    )
    found = find_images(images, table, show)
    with show.phase("Predicting", len(found)) as advance:
        for row in rows_of(found, bundle, asked, engine, workers):
            yield row
            advance(1)


@dataclass(frozen=True)
class Asked:
    """What is asked about every image.

    Attributes:
        limit: The score above which an image is unknown, from `unknown_limit`.
        threshold: The probability below which a person should review it; None: nothing is to be reviewed.
        top: Number of most probable classes.
        tta: Whether to average over each image and its mirror image.
        precision: Share of the images not to be reviewed that is to be right; None: no such promise.
        each_class: Whether that is promised for each class by itself.
        doubts: The doubt from which the images predicted as each class are to be reviewed; empty without a promise.
    """

    limit: float | None = None
    threshold: float | None = None
    top: int = TOP
    tta: bool = False
    precision: float | None = None
    each_class: bool = False
    doubts: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        *,
        unknown_rate: float | None = None,
        threshold: float | None = None,
        precision: float | None = None,
        each_class: bool = False,
        top: int | None = None,
        tta: bool = False,
        show: Progress | None = None,
    ) -> Asked:
        """Check what is asked of a bundle, and note the classes for which nothing can be promised.

        Raises:
            TlkitError: A number is out of range, options contradict each other, or the bundle cannot tell.
        """
        check_together(threshold, precision, each_class=each_class, tta=tta)
        if threshold is not None and not 0 <= threshold <= 1:
            raise TlkitError(f"--threshold must be at least 0 and at most 1, not {threshold:g}")
        if top is not None and top < 1:
            raise TlkitError(f"--top must be at least 1, not {top}")
        limit = unknown_limit(bundle, unknown_rate)
        if tta:
            check_mirroring(bundle)
        doubts = () if precision is None else limits_of(bundle, precision, by_class=each_class)
        if show is not None and (said := unpromised(bundle, doubts)):
            show.note(said)
        return cls(limit, threshold, TOP if top is None else top, tta, precision, each_class, doubts)

    @property
    def reviews(self) -> bool:
        """Whether any image may be left to a person."""
        return self.threshold is not None or self.precision is not None

    def to_json(self) -> dict[str, Any]:
        """Return the options that decide which images are to be reviewed, as plain data."""
        promised = {"--precision": self.precision, "--each-class": self.each_class}
        return {"--threshold": self.threshold, **(promised if self.precision is not None else {})}

    def is_doubtful(self, values: NDArray[np.float32], answer: int) -> bool | None:
        """Whether a person should look at an image; None if nothing is to be reviewed.

        Args:
            values: Its probabilities, float32 [classes].
            answer: The predicted class.
        """
        if self.doubts:
            return not doubts_of(values[None])[0] < self.doubts[answer]
        if self.threshold is None:
            return None
        rest = 1 - self.threshold  # a probability close to 1 has lost the digits that its doubt still has
        return bool(values[answer] < self.threshold or (0 < rest < FINE and doubts_of(values[None])[0] > rest))


def rows_of(
    found: Sequence[Path | GivenImage], bundle: Bundle, asked: Asked, engine: str = AUTO, workers: int | None = None
) -> Generator[Prediction, None, None]:
    """Yield one row per image, in order.

    Args:
        found: The images, from `find_images`.
        bundle: The bundle.
        asked: What is asked about them.
        engine: See `predict_iter`.
        workers: See `predict_iter`.

    Raises:
        TlkitError: The engine is missing.
    """
    for each in answers(found, bundle, engine=engine, workers=workers, mirrored=asked.tta):
        yield prediction_of(str(found[each.item.index]), each, bundle.classes, asked)


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


def prediction_of(name: str, answer: Answer, classes: Sequence[str], asked: Asked) -> Prediction:
    """Return a row: the answer in words.

    Args:
        name: What the row's ``file`` is.
        answer: The bundle's answer.
        classes: Its class names.
        asked: What is asked.
    """
    values = answer.probabilities
    if values is None:
        return Prediction(name, None, None, (), None, answer.error)
    best = np.argsort(-values, kind="stable")[: asked.top]
    top = tuple((classes[i], float(values[i])) for i in best)
    score = answer.ood_score
    unknown = None if asked.limit is None or score is None else not score <= asked.limit
    return Prediction(name, *top[0], top, unknown, None, asked.is_doubtful(values, int(best[0])))
