"""``tlkit.predict``: label images with a bundle."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.bundle.load import Bundle, load
from tlkit.bundle.run import Answer, answers, check_mirroring
from tlkit.errors import TlkitError
from tlkit.images.folder import natural, walk_images
from tlkit.linear.ood import check_rate
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress

TOP = 5

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        file: The path as given or found.
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


def predict(
    images: Sequence[PathLike],
    model: PathLike | Bundle | None = None,
    *,
    unknown_rate: float | None = None,
    tta: bool = False,
    engine: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Label images; the rows of `predict_iter` as a list."""
    rows = predict_iter(
        images, model, unknown_rate=unknown_rate, tta=tta, engine=engine, workers=workers, progress=progress
    )
    return list(rows)


def predict_iter(
    images: Sequence[PathLike],
    model: PathLike | Bundle | None = None,
    *,
    unknown_rate: float | None = None,
    tta: bool = False,
    engine: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """Label images one by one; memory does not grow with their number.

    Args:
        images: Files, folders (with everything below them) and glob patterns.
        model: A bundle or its folder; None: the newest ``*.tlkit`` in the current folder.
        unknown_rate: Share of images of known classes that may be flagged as unknown, 0..0.5; 0: flag none; None: as
            set in training.
        tta: Average over each image and its mirror image (test-time augmentation); takes twice the time.
        engine: "auto" (LiteRT on a CPU, Keras on a GPU), "litert" or "keras".
        workers: Threads to read images with, and cores to compute with; None: all.
        progress: Progress reporter.

    Yields:
        One row per image, in the order found; an unreadable image becomes a row with ``error``.

    Raises:
        TlkitError: There is no bundle or it is damaged, no image is found, the bundle cannot flag unknown images,
            mirroring is not known to be harmless, or the engine is missing.
    """
    bundle = model if isinstance(model, Bundle) else load(model)
    limit = unknown_limit(bundle, unknown_rate)
    if tta:
        check_mirroring(bundle)
    paths = find_images(images)
    with (progress or SilentProgress()).phase("Predicting", len(paths)) as advance:
        for answer in answers(paths, bundle, engine=engine, workers=workers, mirrored=tta):
            yield _prediction(paths[answer.item.index], answer, bundle.classes, limit)
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


def find_images(images: Sequence[PathLike]) -> list[Path]:
    """Find images: files as they are, images inside folders, matches of patterns; each once, in the order given.

    A path that matches nothing stays in the list, so that its row reports the error.

    Raises:
        TlkitError: Nothing is found.
    """
    found: dict[Path, None] = {}
    for image in images:
        path = Path(image)
        if path.is_dir():
            found.update(dict.fromkeys(walk_images(path)))
        elif not path.exists() and glob.has_magic(str(path)) and (hits := glob.glob(str(path), recursive=True)):  # noqa: PTH207
            for hit in map(Path, natural(hits)):
                found.update(dict.fromkeys(walk_images(hit) if hit.is_dir() else [hit]))
        else:
            found[path] = None
    if not found:
        where = ", ".join(str(image) for image in images) or "nothing"
        raise TlkitError(f"no images in {where}")
    return list(found)


def named_folders(images: Sequence[PathLike]) -> list[Path]:
    """Return the folders among files, folders and patterns, in which images are searched."""
    found: list[Path] = []
    for path in map(Path, images):
        is_pattern = not path.exists() and glob.has_magic(str(path))
        hits = map(Path, glob.glob(str(path), recursive=True)) if is_pattern else [path]  # noqa: PTH207
        found.extend(hit for hit in hits if hit.is_dir())
    return found


def _prediction(path: Path, answer: Answer, classes: Sequence[str], limit: float | None) -> Prediction:
    values = answer.probabilities
    if values is None:
        return Prediction(str(path), None, None, (), None, answer.error)
    best = np.argsort(-values, kind="stable")[:TOP]
    top = tuple((classes[i], float(values[i])) for i in best)
    unknown = None if limit is None or answer.ood_score is None else not answer.ood_score <= limit
    return Prediction(str(path), *top[0], top, unknown, None)
