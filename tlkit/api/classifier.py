"""``tlkit.load``: a bundle as an object that programs hold on to."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from tlkit.api.inputs import PathLike, is_single, listed
from tlkit.api.predict import TOP, Asked, Prediction, prediction_of
from tlkit.bundle.load import Bundle
from tlkit.bundle.load import load as load_bundle
from tlkit.bundle.run import answer, answers
from tlkit.errors import TlkitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlkit.api.inputs import ImageLike, Images

COLUMNS = ("image", "bytes", "content", "path", "file")
"""Columns of a batch in which `Classifier.predict_batch` looks for images, the first that is there."""


class Classifier(Bundle):
    """A trained classifier: opened once, then used from any number of threads and processes.

    Threads may share it. Pickled, it is only its path: a process that gets it opens the bundle there, once. It answers
    as ``tlkit predict`` does, to the last bit. TensorFlow is imported only if the bundle has no network for LiteRT.

    Attributes:
        path: The bundle's folder.
        classes: Class names, in the order of the columns of `predict_proba`.
        input_size: Size (height, width) in pixels to which images are resized.
    """

    @property
    def unknown(self) -> float | None:
        """Share of images of known classes that may be flagged as unknown, 0..1; None if the bundle cannot tell."""
        return None if self.ood is None else self.unknown_rate

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of what the bundle says of itself in ``tlkit.json``: backbone, metrics, versions and so on."""
        return copy.deepcopy(self.manifest)

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The class names as an array, as scikit-learn has them."""
        return np.array(self.classes)

    @overload
    def predict(  # type: ignore[overload-overlap]
        self,
        images: ImageLike,
        *,
        unknown_rate: float | None = ...,
        threshold: float | None = ...,
        precision: float | None = ...,
        each_class: bool = ...,
        top: int = ...,
        tta: bool = ...,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        images: Iterable[ImageLike],
        *,
        unknown_rate: float | None = ...,
        threshold: float | None = ...,
        precision: float | None = ...,
        each_class: bool = ...,
        top: int = ...,
        tta: bool = ...,
    ) -> list[Prediction]: ...

    def predict(
        self,
        images: Any,
        *,
        unknown_rate: float | None = None,
        threshold: float | None = None,
        precision: float | None = None,
        each_class: bool = False,
        top: int = TOP,
        tta: bool = False,
    ) -> Prediction | list[Prediction]:
        """Label one image, or each of a list.

        Args:
            images: The path of a file, the bytes of one, a Pillow image, or a uint8 array [height, width, 3] (RGB),
                [height, width] (grey) or [height, width, 4] (RGBA); or a list of these, or an array
                [n, height, width, 3]. For folders and patterns, use `tlkit.predict`.
            unknown_rate: Share of images of known classes that may be flagged as unknown, 0..0.5; 0: flag none; None:
                as set in training.
            threshold: Probability, 0..1, below which a row says that a person should review it; None: no row does.
            precision: Share of the rows for no review that is to be right; see `tlkit.predict_iter`.
            each_class: See `tlkit.predict_iter`.
            top: Number of most probable classes in a row, at least 1.
            tta: Average over each image and its mirror image; takes twice the time.

        Returns:
            One row for one image, else as many as there are images, in their order. An image that cannot be read has
            its reason in ``error``.

        Raises:
            TlkitError: Something else is given, the bundle cannot flag unknown images or promise such a precision,
                options contradict each other, or mirroring is not known to be harmless.
        """
        asked = Asked.of(
            self,
            unknown_rate=unknown_rate,
            threshold=threshold,
            precision=precision,
            each_class=each_class,
            top=top,
            tta=tta,
        )
        items = listed(images)
        if is_single(images):
            return prediction_of(str(items[0]), answer(items[0], self, mirrored=tta), self.classes, asked)
        found = answers(items, self, mirrored=tta)
        return [prediction_of(str(item), each, self.classes, asked) for item, each in zip(items, found, strict=True)]

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """Return class probabilities, float32 [n, classes], rows sum to 1.

        Args:
            images: As for `predict`; one image gives one row.

        Raises:
            TlkitError: As for `predict`, or an image cannot be read.
        """
        items = listed(images)
        rows = np.zeros((len(items), len(self.classes)), np.float32)
        for index, (item, found) in enumerate(zip(items, answers(items, self), strict=True)):
            if found.probabilities is None:
                raise TlkitError(f"cannot read {item}: {found.error}")
            rows[index] = found.probabilities
        return rows

    def predict_batch(self, batch: Mapping[str, Any], column: str | None = None) -> dict[str, Any]:
        """Label a batch of rows, such as those of Ray Data, Spark or pandas.

        Args:
            batch: Columns by name, each with one value a row: a dict of lists or arrays, or a data frame.
            column: Name of the column of images, each as for `predict`; None: the first of `COLUMNS` that is there.

        Returns:
            The other columns as they are, and four arrays [n]: ``label`` (object: str, or None if the image could not
            be read), ``probability`` (float32; NaN likewise), ``unknown`` (object: bool, or None if the bundle cannot
            tell) and ``error`` (object: str, or None).

        Raises:
            TlkitError: There is no such column, or it holds no images.
        """
        names = list(batch.keys())
        wanted = column if column is not None else next((name for name in COLUMNS if name in names), None)
        if wanted is None or wanted not in names:
            raise TlkitError(
                f"no column of images in the batch, which has {', '.join(map(str, names)) or 'no columns'}",
                f"name it with column=, or call it {COLUMNS[0]}",
            )
        rows = self.predict(list(batch[wanted]))
        return {
            **{name: batch[name] for name in names if name != wanted},
            "label": _objects([row.label for row in rows]),
            "probability": np.array(
                [np.nan if row.probability is None else row.probability for row in rows], np.float32
            ),
            "unknown": _objects([row.unknown for row in rows]),
            "error": _objects([row.error for row in rows]),
        }


def load(model: PathLike | None = None) -> Classifier:
    """Open a bundle, verify its format version and the hash of every file, and return it as a classifier.

    Args:
        model: The bundle's folder; None: the newest ``*.tlkit`` in the current folder.

    Raises:
        TlkitError: There is no bundle, it has a newer format, or a file is missing or changed; or ``model`` is no path.
    """
    bundle = load_bundle(model)
    # absolute: it is used for long, and the program may go to another folder
    return Classifier(bundle.path.absolute(), bundle.manifest)


def _objects(values: list[Any]) -> NDArray[np.object_]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
