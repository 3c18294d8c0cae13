"""Check whether a dataset's images may be mirrored, with its own backbone."""

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
from tlkit.store.disk_matrix import in_memory
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
    """Run some training images mirrored through the backbone, and test them on cross-validated probes.

    Args:
        dataset: Images, split and features, including those of the top.
        extractor: The backbone that computed the features.
        pixels_of: Returns uint8 [n, h, w, 3] of images by their index into the dataset's folder.
        context: Context of the run; its seed draws the sample and the folds.
        most: Maximum number of images.
        forward: The extractor's forward pass, if there is one already.
    """
    train, labels, groups = dataset.of(TRAIN), dataset.labels(TRAIN), dataset.groups(TRAIN)
    places = balanced_sample(labels, context.seed, most)
    chosen = [train[place] for place in places]
    forward, top = forward or extractor.forward(context.workers), columns_of(extractor.taps, [TOP])
    mirrored, together = [], batch_size()
    with context.show.phase("Checking mirrored images", len(chosen)) as advance:
        for start in range(0, len(chosen), together):
            part = chosen[start : start + together]
            mirrored.append(rounded(forward(np.ascontiguousarray(pixels_of(part)[:, :, ::-1])))[:, top])
            advance(len(part))
    plain = in_memory(dataset.features_of(chosen, [TOP]))
    return check_flips(
        plain, np.concatenate(mirrored), [labels[i] for i in places], [groups[i] for i in places], context.seed
    )


def read_pixels(dataset: Dataset, size: int, workers: int | None) -> Pixels:
    """Return a function that reads images; one that has become unreadable is grey."""

    def pixels_of(chosen: list[int]) -> NDArray[np.uint8]:
        images = load_images([dataset.folder.paths[i] for i in chosen], (size, size), workers=workers)
        grey = np.full((size, size, 3), 127, dtype=np.uint8)
        return np.stack([grey if item.image is None else item.image.pixels for item in images])

    return pixels_of
