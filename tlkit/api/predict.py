"""``tlkit.predict``: label pictures with a bundle."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.bundle.load import Bundle, load
from tlkit.errors import TlkitError
from tlkit.images.batches import Loaded, load_pictures
from tlkit.images.folder import natural, walk_pictures
from tlkit.progress import Progress, SilentProgress

BATCH = 32
TOP = 5

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Prediction:
    """What a bundle says of one picture.

    Attributes:
        file: The path as given or found.
        label: The most probable class; None if the picture could not be read.
        probability: Its probability, 0..1; None likewise.
        top: (class, probability) of the most probable classes, best first, at most `TOP`.
        unknown: Whether the picture is unlike anything trained on; None where the bundle cannot tell.
        error: Why the picture could not be read, else None.
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
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Label pictures; see `predict_iter`, whose rows this gathers."""
    return list(predict_iter(images, model, workers=workers, progress=progress))


def predict_iter(
    images: Sequence[PathLike],
    model: PathLike | Bundle | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """Label pictures one batch at a time; memory does not grow with their number.

    Args:
        images: Files, folders (with everything below them) and glob patterns.
        model: A bundle or its folder; None: the newest ``*.tlkit`` in the current folder.
        workers: Reading threads; None: one a processor.
        progress: Told about every picture.

    Yields:
        One row a picture in the order found; an unreadable picture becomes a row with ``error``.

    Raises:
        TlkitError: No bundle, a damaged one, or no picture at all.
    """
    bundle = model if isinstance(model, Bundle) else load(model)
    paths = find_pictures(images)
    with (progress or SilentProgress()).phase("Predicting", len(paths)) as advance:
        rows = load_pictures(paths, bundle.input_size, workers=workers, ahead=3 * BATCH)
        while batch := list(islice(rows, BATCH)):
            yield from _label(batch, paths, bundle)
            advance(len(batch))


def find_pictures(images: Sequence[PathLike]) -> list[Path]:
    """Files as they are, pictures below folders, matches of patterns; each once, in the order given.

    A name that is none of these stays in the list, so that it becomes a row that says so.

    Raises:
        TlkitError: Nothing is left.
    """
    found: dict[Path, None] = {}
    for image in images:
        path = Path(image)
        if path.is_dir():
            found.update(dict.fromkeys(walk_pictures(path)))
        elif not path.exists() and glob.has_magic(str(path)) and (hits := glob.glob(str(path), recursive=True)):  # noqa: PTH207
            for hit in map(Path, natural(hits)):
                found.update(dict.fromkeys(walk_pictures(hit) if hit.is_dir() else [hit]))
        else:
            found[path] = None
    if not found:
        where = ", ".join(str(image) for image in images) or "nothing"
        raise TlkitError(f"no pictures in {where}")
    return list(found)


def _label(batch: list[Loaded], paths: list[Path], bundle: Bundle) -> Iterator[Prediction]:
    readable = [item for item in batch if item.picture is not None]
    scores = {}
    if readable:
        output = bundle.probabilities(np.stack([item.picture.pixels for item in readable if item.picture is not None]))
        scores = {item.index: output[row] for row, item in enumerate(readable)}
    for item in batch:
        file = str(paths[item.index])
        if item.index not in scores:
            yield Prediction(file, None, None, (), None, item.error)
            continue
        values = scores[item.index]
        best = np.argsort(-values, kind="stable")[:TOP]
        top = tuple((bundle.classes[i], float(values[i])) for i in best)
        yield Prediction(file, *top[0], top, None, None)
