"""Run a bundle over image files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import batch_size
from tlkit.bundle.load import Bundle
from tlkit.errors import TlkitError
from tlkit.images.batches import Loaded, load_batches
from tlkit.plan.choices import AUTO

NOT_FINITE = "the network gives no finite answer for it"


@dataclass(frozen=True, eq=False)
class Answer:
    """What a bundle says of one image.

    Attributes:
        item: The image, or why there is none.
        probabilities: float32 [classes], finite; None where it cannot be read, or the network gives none.
        error: Why there are none, else None.
        ood_score: Out-of-distribution score, around 0 for images of the trained classes; None if the image cannot be
            read or the bundle has no OOD statistics.
    """

    item: Loaded
    probabilities: NDArray[np.float32] | None = None
    ood_score: float | None = None
    error: str | None = None


def answers(
    paths: Sequence[Path],
    bundle: Bundle,
    *,
    engine: str = AUTO,
    workers: int | None = None,
    fingerprints: bool = False,
    mirrored: bool = False,
) -> Iterator[Answer]:
    """What a bundle says of images, in their order.

    Images are decoded by threads while others are computed; what is ready is passed on, and memory does not grow
    with their number.

    Args:
        paths: The files.
        bundle: What answers.
        engine: "auto", "litert" or "keras".
        workers: Reading threads, and cores to compute with at most; None: all.
        fingerprints: Also compute the perceptual hash of what is read.
        mirrored: Take the mean of what is said of an image and of its mirror image; see `check_mirroring`.

    Raises:
        TlkitError: The engine is not there.
    """
    forward, ood, classes = bundle.forward(engine, len(paths), workers), bundle.ood, len(bundle.classes)
    most = batch_size()
    for batch in load_batches(
        paths, bundle.input_size, most, workers=workers, ahead=3 * most, fingerprints=fingerprints
    ):
        pixels = [item.image.pixels for item in batch if item.image is not None]
        found = forward(np.stack(pixels)) if pixels else np.zeros((0, classes), np.float32)
        if mirrored and pixels:
            other = forward(np.ascontiguousarray(np.stack(pixels)[:, :, ::-1]))[:, :classes]
            # a new array: what a network gives may be its own memory, which may only be read
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
    """Refuse test-time augmentation where mirroring is not known to be harmless.

    Raises:
        TlkitError: It does harm, or nobody has looked.
    """
    flips = bundle.manifest.get("flips")
    if not flips or not (flips.get("images") or flips.get("pictures")):  # "pictures": bundles of tlkit 0.1
        raise TlkitError(
            f"whether mirrored images mean the same was not measured for {bundle.path}, so --tta is not possible",
            "training with --strategy auto measures it",
        )
    if not flips["harmless"]:
        raise TlkitError(
            f"mirrored images mean something else to {bundle.path}, so --tta would do harm: probes were right on "
            f"{flips['plain']:.1%} of images and on {flips['mirrored']:.1%} of them mirrored",
            "leave --tta out",
        )
