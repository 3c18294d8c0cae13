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
    """What a bundle says of one image.

    Attributes:
        file: The path as given or found.
        label: The most probable class; None if the image could not be read or the network gives no finite answer.
        probability: Its probability, 0..1; None likewise.
        top: (class, probability) of the most probable classes, best first, at most `TOP`.
        unknown: Whether the image is unlike anything trained on; None where the bundle cannot tell.
        error: Why there is no label, else None.
    """

    file: str
    label: str | None
    probability: float | None
    top: tuple[tuple[str, float], ...]
    unknown: bool | None
    error: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields of the command line's JSON."""
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
    """Label images; see `predict_iter`, whose rows this gathers."""
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
    """Label images as they come; memory does not grow with their number.

    Args:
        images: Files, folders (with everything below them) and glob patterns.
        model: A bundle or its folder; None: the newest ``*.tlkit`` in the current folder.
        unknown_rate: Share of images of the known classes that may be called unknown, 0..0.5; 0: none is. None: as
            the bundle was trained with.
        tta: Take the mean over each image and its mirror image (test-time augmentation), in twice the time.
        engine: "auto": LiteRT on a CPU, Keras on a GPU; "litert"; "keras".
        workers: Reading threads, and cores to compute with at most; None: one a processor.
        progress: Told about every image.

    Yields:
        One row an image in the order found; an unreadable image becomes a row with ``error``.

    Raises:
        TlkitError: No bundle, a damaged one, no image at all, a rate that the bundle cannot tell, mirroring that
            is not known to be harmless, or the engine is not there.
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
    """How unlike the images trained on an image may be before it is called unknown; None: that cannot be told.

    Raises:
        TlkitError: The rate is out of range, or asked for where the bundle cannot tell.
    """
    if rate is not None:
        check_rate(rate)
        if bundle.ood is None:
            raise TlkitError(
                f"{bundle.path} cannot tell unknown images, so --unknown-rate has no meaning",
                "plan.json says why; a bundle of an earlier version has to be trained anew",
            )
    return None if bundle.ood is None else bundle.ood.threshold(bundle.unknown_rate if rate is None else rate)


def find_images(images: Sequence[PathLike]) -> list[Path]:
    """Files as they are, images below folders, matches of patterns; each once, in the order given.

    A name that is none of these stays in the list, so that it becomes a row that says so.

    Raises:
        TlkitError: Nothing is left.
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
    """The folders among files, folders and patterns: those that images are searched in."""
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
