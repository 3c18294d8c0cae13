"""Whether a dataset's images may be mirrored, looked at with its own backbone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tlkit.api.train.dataset import Dataset
from tlkit.backbones.engines import Forward, batch_size
from tlkit.backbones.extractor import TOP, Extractor, columns_of
from tlkit.context import Context
from tlkit.images.batches import load_images
from tlkit.images.folder import TRAIN
from tlkit.linear.flip_check import MAX_CHECKED, balanced_sample, check_flips
from tlkit.plan.plan import Flips
from tlkit.store.features import rounded

Pixels = Callable[[list[int]], NDArray[np.uint8]]


def look_at_flips(
    dataset: Dataset,
    extractor: Extractor,
    pixels_of: Pixels,
    context: Context,
    *,
    most: int = MAX_CHECKED,
    forward: Forward | None = None,
) -> Flips:
    """Run some training images through the backbone mirrored, and ask probes that have not seen them.

    Args:
        dataset: Images, split and features, the top's among them.
        extractor: What computed them.
        pixels_of: Gives uint8 [n, h, w, 3] of images by their index into the dataset's folder.
        context: Of the run; its seed is that of the sample and the folds.
        most: Images looked at, at most.
        forward: The extractor's forward pass, where there is one already.
    """
    train, labels, groups = dataset.of(TRAIN), dataset.labels(TRAIN), dataset.groups(TRAIN)
    places = balanced_sample(labels, context.seed, most)
    chosen = [train[place] for place in places]
    forward, top = forward or extractor.forward(context.workers), columns_of(extractor.taps, [TOP])
    mirrored, together = [], batch_size()
    with context.show.phase("Mirrored images", len(chosen)) as advance:
        for start in range(0, len(chosen), together):
            part = chosen[start : start + together]
            mirrored.append(rounded(forward(np.ascontiguousarray(pixels_of(part)[:, :, ::-1])))[:, top])
            advance(len(part))
    plain = dataset.features_of(chosen, [TOP])
    return check_flips(
        plain, np.concatenate(mirrored), [labels[i] for i in places], [groups[i] for i in places], context.seed
    )


def read_pixels(dataset: Dataset, size: int, workers: int | None) -> Pixels:
    """A function that reads images anew, where they are not decoded yet; one that has become unreadable is grey."""

    def pixels_of(chosen: list[int]) -> NDArray[np.uint8]:
        images = load_images([dataset.folder.paths[i] for i in chosen], (size, size), workers=workers)
        grey = np.full((size, size, 3), 127, dtype=np.uint8)
        return np.stack([grey if item.image is None else item.image.pixels for item in images])

    return pixels_of
