"""The bundles that are served, by name, and how one is replaced while requests are answered."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.api.classifier import Classifier, load
from tlkit.api.predict import Asked, Prediction, prediction_of, unknown_limit
from tlkit.bundle.run import answer
from tlkit.bundle.save import MANIFEST, SUFFIX
from tlkit.errors import TlkitError
from tlkit.images.batches import load_image
from tlkit.images.given import GivenImage
from tlkit.serve.drift import Drift, expected_of

if TYPE_CHECKING:
    from tlkit.evaluation.grad_cam import ClassMaps

MAX_DRAWN = 800  # pixels of the longer side of an explanation
PNG_LEVEL = 1  # of compression: the drawing is sent once

Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Result:
    """What was found for one image.

    Attributes:
        row: The prediction.
        seconds: Time to read and classify it.
        explanation: PNG of Grad-CAM over the image, if asked for and possible.
    """

    row: Prediction
    seconds: float
    explanation: bytes | None = None


class Model:
    """One bundle, ready to answer in several threads.

    Args:
        name: Its name in addresses.
        classifier: The opened bundle.
        workers: How many images are computed at a time.
        unknown_rate: As for `tlkit.api.predict.predict_iter`.

    Raises:
        TlkitError: It has no network that runs here, or cannot flag unknown images at such a rate.
    """

    def __init__(self, name: str, classifier: Classifier, workers: int, unknown_rate: float | None = None) -> None:
        self.name = name
        self.classifier = classifier
        self.loaded = time.time()
        self.stamp = stamp_of(classifier.path)
        self.limit = unknown_limit(classifier, unknown_rate)
        self.unknown_rate = None if self.limit is None else unknown_rate or classifier.unknown_rate
        self._forward = classifier.forward(images=1, workers=workers, per_core=True)
        expected = expected_of(classifier.ood, self.limit, classifier.manifest["split"], len(classifier.classes))
        self.drift = Drift(classifier.classes, expected)
        self._explaining = threading.Lock()
        self._maps = self._lite_maps()
        height, width = classifier.input_size
        self._forward(np.zeros((1, height, width, 3), np.uint8))  # the first run takes longer

    def _lite_maps(self) -> ClassMaps | None:
        """Prepare Grad-CAM while the bundle's file is sure to be the one that was opened."""
        from tlkit.evaluation.grad_cam import ClassMaps

        lite = self.classifier.lite
        if lite is None:
            return None
        try:
            return ClassMaps.from_lite(lite.read_bytes())
        except (ValueError, RuntimeError, AttributeError, OSError):
            return None  # said when somebody asks for it

    def predict(self, image: GivenImage, top: int, explain: bool) -> Result:
        """Classify one image; called in a thread of the engine.

        Args:
            image: The image.
            top: How many classes to list.
            explain: Whether to draw Grad-CAM.

        Raises:
            TlkitError: The network cannot run.
        """
        began = time.perf_counter()
        found = answer(image, self.classifier, forward=self._forward)
        row = prediction_of(image.name, found, self.classifier.classes, Asked(self.limit, top=top))
        seconds = time.perf_counter() - began
        drawn = self._drawn(image, row.label) if explain and row.label is not None else None
        return Result(row, seconds, drawn)

    def probabilities(self, image: GivenImage) -> tuple[Result, list[float]]:
        """Classify one image and return all probabilities too, in the order of the classes."""
        result = self.predict(image, len(self.classifier.classes), explain=False)
        by_name = dict(result.row.top)
        return result, [by_name[name] for name in self.classifier.classes] if by_name else []

    def _drawn(self, image: GivenImage, label: str) -> bytes | None:
        from PIL import Image

        from tlkit.report.overlay import overlay

        small = load_image(image, self.classifier.input_size).image
        whole = load_image(image, None, within=MAX_DRAWN).image
        if small is None or whole is None:
            return None
        index = self.classifier.classes.index(label)
        with self._explaining:  # one interpreter
            if self._maps is None:
                self._maps = self._keras_maps()
            heat = self._maps(small.pixels[None], np.array([index]))[0]
        file = io.BytesIO()
        Image.fromarray(overlay(whole.pixels, heat)).save(file, "PNG", compress_level=PNG_LEVEL)
        return file.getvalue()

    def _keras_maps(self) -> ClassMaps:
        from tlkit.api.explain import class_maps

        if stamp_of(self.classifier.path) != self.stamp:
            raise TlkitError(f"{self.classifier.path} was replaced since it was opened")
        return class_maps(self.classifier)

    def to_json(self) -> dict[str, Any]:
        """Return what is known of the bundle, and what recent images were like, as plain data."""
        manifest = self.classifier.manifest
        kept = ("created", "tlkit", "backbone", "strategy", "metrics", "digest")
        return {
            "name": self.name,
            "classes": list(self.classifier.classes),
            "input_size": list(self.classifier.input_size),
            "unknown_rate": self.unknown_rate,
            **{key: manifest.get(key) for key in kept},
            "loaded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.loaded)),
            "recent": self.drift.to_json(),
        }


class Models:
    """All bundles that are served.

    Args:
        paths: Their folders; empty: the newest ``*.tlkit`` in the current folder.
        workers: How many images are computed at a time.
        unknown_rate: As for `Model`.

    Raises:
        TlkitError: There is no bundle, one is damaged, or two have the same name.
    """

    def __init__(self, paths: Sequence[Path], workers: int, unknown_rate: float | None = None) -> None:
        self._make = partial(_opened, workers=workers, unknown_rate=unknown_rate)
        self._models: dict[str, Model] = {}
        chosen: Sequence[Path | None] = paths or [None]
        for path in chosen:
            model = self._make(path)
            if model.name in self._models:
                raise TlkitError(f"two bundles are called {model.name}", "give one another name, or serve it by a link")
            self._models[model.name] = model
        self._refused: dict[str, Stamp] = {}

    @property
    def names(self) -> list[str]:
        """The names, in the order in which the bundles were given."""
        return list(self._models)

    def all(self) -> list[Model]:
        """Return the bundles, in that order."""
        return list(self._models.values())

    def get(self, name: str | None) -> Model | None:
        """Return a bundle by its name, the first one without a name; None if there is no such bundle."""
        return next(iter(self._models.values())) if name is None else self._models.get(name)

    def reload(self, *, again: bool = True) -> list[tuple[str, TlkitError | None]]:
        """Open the bundles that were replaced. Requests that are being answered keep the earlier one.

        Args:
            again: Whether to try one again that could not be opened.

        Returns:
            The name of each that was replaced, and why it could not be opened; such a bundle stays as it was.
        """
        said: list[tuple[str, TlkitError | None]] = []
        for name, model in list(self._models.items()):
            stamp = stamp_of(model.classifier.path)
            if stamp == model.stamp or (not again and stamp == self._refused.get(name, model.stamp)):
                continue
            if stamp is None and not again:
                continue  # being replaced
            try:
                fresh = self._make(model.classifier.path)
                if fresh.classifier.manifest.get("digest") == model.classifier.manifest.get("digest"):
                    fresh.drift = model.drift  # the same bundle, copied
                self._models[name] = fresh
                self._refused.pop(name, None)
                said.append((name, None))
            except TlkitError as error:
                self._refused[name] = stamp
                said.append((name, error))
        return said


def _opened(path: Path | None, workers: int, unknown_rate: float | None) -> Model:
    classifier = load(path)
    return Model(classifier.path.name.removesuffix(SUFFIX), classifier, workers, unknown_rate)


def stamp_of(bundle: Path) -> Stamp:
    """Return what tells a bundle from a later one in its place; None if there is none."""
    try:
        found = os.stat(bundle / MANIFEST)  # noqa: PTH116
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
