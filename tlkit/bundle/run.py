"""Run a bundle over image files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import Forward, batch_size
from tlkit.bundle.load import Bundle
from tlkit.errors import TlkitError
from tlkit.images.batches import Loaded, load_batches, load_image
from tlkit.images.given import GivenImage
from tlkit.plan.choices import AUTO
from tlkit.words import plural

BATCH_BYTES = 64 << 20  # bytes of pixels in a batch; three more are read ahead
NOT_FINITE = "the network returned no finite probabilities"


@dataclass(frozen=True, eq=False)
class Answer:
    """A bundle's prediction for one image.

    Attributes:
        item: The image, or why it cannot be read.
        probabilities: float32 [classes], finite; None if the image cannot be read or they are not finite.
        error: Why there are no probabilities, else None.
        ood_score: Out-of-distribution score, around 0 for images of the trained classes; None if the image cannot be
            read or the bundle has no OOD statistics.
    """

    item: Loaded
    probabilities: NDArray[np.float32] | None = None
    ood_score: float | None = None
    error: str | None = None


def answers(
    paths: Sequence[Path | GivenImage],
    bundle: Bundle,
    *,
    engine: str = AUTO,
    workers: int | None = None,
    fingerprints: bool = False,
    mirrored: bool = False,
) -> Iterator[Answer]:
    """Yield a bundle's predictions for images, in order.

    Threads decode images while the network runs. Results are yielded as soon as they are ready, and memory use does
    not grow with the number of images.

    Args:
        paths: Image files, or images in memory.
        bundle: The bundle to run.
        engine: "auto", "litert" or "keras".
        workers: Maximum number of reading threads and CPU cores; None: all.
        fingerprints: Also compute the perceptual hash of each image.
        mirrored: Average the predictions for each image and its mirror image; see `check_mirroring`.

    Raises:
        TlkitError: The engine is not available.
    """
    forward = bundle.forward(engine, len(paths), workers)
    height, width = bundle.input_size
    size = max(1, min(batch_size(), BATCH_BYTES // (3 * height * width)))
    for batch in load_batches(
        paths, bundle.input_size, size, workers=workers, ahead=3 * size, fingerprints=fingerprints
    ):
        yield from _answered(batch, bundle, forward, mirrored)


def answer(
    image: Path | GivenImage, bundle: Bundle, *, mirrored: bool = False, forward: Forward | None = None
) -> Answer:
    """Return a bundle's prediction for one image, without further threads; the same as `answers` yields for it.

    Args:
        image: An image file, or an image in memory.
        bundle: The bundle to run.
        mirrored: See `answers`.
        forward: What `Bundle.forward` returned earlier; None: ask for it.
    """
    run = forward or bundle.forward(images=1)
    (found,) = _answered([load_image(image, bundle.input_size)], bundle, run, mirrored)
    return found


def _answered(batch: Sequence[Loaded], bundle: Bundle, forward: Forward, mirrored: bool) -> Iterator[Answer]:
    """Yield the predictions for images that were read."""
    ood, classes = bundle.ood, len(bundle.classes)
    pixels = [item.image.pixels for item in batch if item.image is not None]
    found = forward(np.stack(pixels)) if pixels else np.zeros((0, classes), np.float32)
    if mirrored and pixels:
        other = forward(np.ascontiguousarray(np.stack(pixels)[:, :, ::-1]))[:, :classes]
        # make a new array: the output may be the network's own read-only memory
        found = np.concatenate([(found[:, :classes] + other) / 2, found[:, classes:]], axis=1)
    scores = ood.score(found[:, classes:]).tolist() if ood and len(found) else [None] * len(found)
    rows = zip(found[:, :classes], scores, strict=True)
    for item in batch:
        if item.image is None:
            yield Answer(item, error=item.error)
            continue
        values, score = next(rows)
        yield Answer(item, values, score) if np.isfinite(values).all() else Answer(item, error=NOT_FINITE)


def check_mirroring(bundle: Bundle) -> None:
    """Refuse test-time augmentation unless mirroring was found harmless.

    Raises:
        TlkitError: Mirroring is harmful, or it was not checked.
    """
    flips = bundle.manifest.get("flips")
    seen = int(flips.get("images") or flips.get("pictures") or 0) if flips else 0  # "pictures": bundles of tlkit 0.1
    if not flips or not seen:
        raise TlkitError(
            f"--tta requires a bundle whose training checked mirrored images; {bundle.path} has no such check",
            "train with --strategy auto, which makes the check",
        )
    if not flips["harmless"]:
        raise TlkitError(
            f"--tta does not apply to {bundle.path}: mirroring changes the class of its images (probe accuracy "
            f"{flips['plain']:.1%}, mirrored {flips['mirrored']:.1%}, {plural(seen, 'image')})",
            "omit --tta",
        )
