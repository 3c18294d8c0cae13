"""The images that an export is checked on, and those from which int8 takes the range of values."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlkit.api.evaluate import used_in
from tlkit.api.inputs import find_images
from tlkit.bundle.load import Bundle
from tlkit.errors import TlkitError
from tlkit.images.batches import load_images
from tlkit.images.class_names import matched_names
from tlkit.images.folder import TRAIN
from tlkit.images.given import GivenImage
from tlkit.images.labelled import labelled_images
from tlkit.images.table.text import names_table
from tlkit.plan.choices import INT8
from tlkit.progress import Progress
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.inputs import Images

MAX_IMAGES, MAX_IMAGES_INT8 = 200, 1000
"""Images that an export is checked on, at most; more for int8, whose accuracy may change."""
MAX_BYTES = 512 << 20  # of their pixels
CALIBRATION = 64
"""Images from which int8 takes the range of values, at most."""
GENERATED = 32
MAX_SEARCHED = 5000  # images of a folder that is only named like the bundle

Pixels = NDArray[np.uint8]
Wanted = Callable[[bytes], bool]


@dataclass(frozen=True, eq=False)
class CheckImages:
    """Images to check exports on.

    Attributes:
        pixels: uint8 [n, height, width, 3], n at least 1.
        labels: Class index of each among the bundle's classes; None: not known.
        what: What they are, such as "16 images held out from training".
        calibration: uint8 [m, height, width, 3], images to calibrate int8 with; empty for other precisions.
    """

    pixels: Pixels
    labels: tuple[int | None, ...]
    what: str
    calibration: Pixels


@dataclass(frozen=True, eq=False)
class _Pool:
    """Images to choose from, in random order: files or images in memory, each with its class index, if known."""

    items: tuple[Path | GivenImage, ...]
    labels: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class _Taken:
    """Images that were read: pixels, class indices, hashes; and why one could not be read, if any."""

    pixels: Pixels
    labels: tuple[int | None, ...]
    contents: frozenset[bytes]
    error: str | None


@dataclass(frozen=True)
class _Reader:
    """Reads images of a bundle's size."""

    bundle: Bundle
    show: Progress
    workers: int | None

    def take(self, pool: _Pool, most: int, title: str, wanted: Wanted | None = None) -> _Taken:
        """Read images until there are enough; those that ``wanted`` refuses, by their content, do not count."""
        pixels = np.empty((min(most, len(pool.items)), *self.bundle.input_size, 3), np.uint8)
        labels: list[int | None] = []
        contents, error = set(), None
        with self.show.phase(title, len(pixels)) as advance:
            for item in load_images(pool.items, self.bundle.input_size, workers=self.workers, wanted=wanted):
                if item.image is not None:
                    advance(1)
                    pixels[len(labels)] = item.image.pixels
                    labels.append(pool.labels[item.index])
                    contents.add(item.content)
                error = error or (f"{pool.items[item.index]}: {item.error}" if item.error else None)
                if len(labels) == len(pixels):
                    break
        return _Taken(pixels[: len(labels)], tuple(labels), frozenset(contents), error)


def check_images(
    bundle: Bundle,
    images: Images | None,
    calibration: Images | None,
    precision: str,
    show: Progress,
    workers: int | None = None,
) -> CheckImages:
    """Read the images for the check: held-out ones if they can be found, else others, else generated ones.

    Args:
        bundle: The bundle.
        images: Images to check on; of a folder of classes, or a table, the labels are used too. None: those in a
            folder that is named like the bundle, if the bundle was trained on it; else ``calibration``.
        calibration: Images to calibrate int8 with; None: images that were used in training, if they are found.
        precision: One of `tlkit.plan.choices.PRECISIONS`.
        show: Progress reporter.
        workers: Number of reading threads; None: all.

    Raises:
        TlkitError: No image is found or can be read where the user says there are some, or there are none to calibrate
            int8 with.
    """
    height, width = bundle.input_size
    most = min(MAX_IMAGES_INT8 if precision == INT8 else MAX_IMAGES, max(1, MAX_BYTES // (3 * height * width)))
    reader = _Reader(bundle, show, workers)
    sample = None if calibration is None else _pool(calibration, bundle)
    given = _trained_on(bundle) if images is None else _pool(images, bundle)

    def used(content: bytes) -> str:
        return used_in(bundle, content.hex())

    def known(content: bytes) -> bool:
        """Whether it is an image that the user named, or one that the bundle was trained or measured on."""
        return images is not None or used(content) != ""

    values = np.zeros((0, height, width, 3), np.uint8)
    spent: frozenset[bytes] = frozenset()
    error: str | None = None
    if precision == INT8:
        taken = _to_calibrate(reader, sample, given, lambda content: used(content) == TRAIN, known)
        values, spent = taken.pixels, taken.contents

    def fresh(content: bytes) -> bool:
        return known(content) and content not in spent

    choices: list[tuple[_Pool, Wanted, str]] = []
    if given is not None:
        choices.append((given, lambda content: used(content) != TRAIN and fresh(content), "held out from training"))
        choices.append((given, fresh, "that training used too"))
        choices.append((given, known, "by which it was calibrated"))
    if sample is not None:
        choices.append((sample, lambda content: content not in spent, "of the sample for calibration"))
        choices.append((sample, lambda _: True, "by which it was calibrated"))
    for pool, wanted, what in choices:
        taken = reader.take(pool, most, "Reading images to check on", wanted)
        if taken.labels:
            return CheckImages(taken.pixels, taken.labels, f"{plural(len(taken.labels), 'image')} {what}", values)
        error = taken.error or error
    if images is not None or sample is not None:
        raise TlkitError("no image to check the export on can be read", error)
    made = _generated(GENERATED, bundle.input_size)
    return CheckImages(made, (None,) * GENERATED, f"{GENERATED} generated images, as no real ones were found", values)


def _to_calibrate(reader: _Reader, sample: _Pool | None, given: _Pool | None, *preferred: Wanted) -> _Taken:
    """Read the images to calibrate int8 with: from the sample, else those used in training, else any.

    Raises:
        TlkitError: There are none.
    """
    title = "Reading images for calibration"
    choices: list[tuple[_Pool, Wanted | None]] = []
    if sample is not None:
        choices = [(sample, None)]
    elif given is not None:
        choices = [(given, wanted) for wanted in preferred]
    error = "such as the training images; 32 to 64 are enough"
    for pool, wanted in choices:
        taken = reader.take(pool, CALIBRATION, title, wanted)
        if len(taken.labels):
            return taken
        error = taken.error or error
    raise TlkitError("int8 needs images to take the range of values from: --calibration IMAGES", error)


def _pool(images: Images, bundle: Bundle) -> _Pool:
    """Find images, with their labels where they are in folders of the bundle's classes, or in a table."""
    if isinstance(images, (str, Path)):
        path = Path(images)
        if path.is_dir() or names_table(path):
            labelled = _labelled(path, bundle)
            if labelled is not None:
                return labelled
    found: list[tuple[Path | GivenImage, int | None]] = [(item, None) for item in find_images(images)]
    return _shuffled(found)


def _labelled(path: Path, bundle: Bundle) -> _Pool | None:
    """Return the images of the bundle's classes; None: there are none."""
    try:
        folder = labelled_images(path, min_classes=1)
    except TlkitError:
        return None
    number = {name: index for index, name in enumerate(bundle.classes)}
    matches = matched_names(folder.classes, bundle.classes)
    names = [folder.classes[label] for label in folder.labels]
    rows = [(file, number[matches[name]]) for file, name in zip(folder.paths, names, strict=True) if name in matches]
    return _shuffled(rows) if rows else None


def _shuffled(rows: Sequence[tuple[Path | GivenImage, int | None]]) -> _Pool:
    mixed = list(rows)
    random.Random(0).shuffle(mixed)  # of each class some, the same ones each time
    return _Pool(tuple(item for item, _ in mixed), tuple(label for _, label in mixed))


def _trained_on(bundle: Bundle) -> _Pool | None:
    """Return the images of a folder that is named like the bundle, beside it or here; None: there is none."""
    for folder in _places(bundle.path):
        if folder.is_dir() and (found := _labelled(folder, bundle)) is not None:
            return _Pool(found.items[:MAX_SEARCHED], found.labels[:MAX_SEARCHED])
    return None


def _places(bundle: Path) -> Iterator[Path]:
    """Yield where the images of ``garden.tlkit`` or ``garden-2.tlkit`` may be: in ``garden``."""
    place = bundle.absolute()
    for name in dict.fromkeys((place.stem, re.sub(r"-\d+$", "", place.stem))):
        for folder in dict.fromkeys((place.parent, Path.cwd())):
            if folder / name != place:
                yield folder / name


def _generated(count: int, size: tuple[int, int]) -> Pixels:
    """Make images, uint8 [count, height, width, 3]: blurred noise of several scales, the same ones each time."""
    rng, (height, width) = np.random.default_rng(0), size
    made = np.empty((count, height, width, 3), np.uint8)
    for index in range(count):
        side = 2 + 2 ** (index % 5)
        coarse = Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8))
        made[index] = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return made
