"""Whether a data set's images may be mirrored, looked at with its own backbone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tlkit.api.train.dataset import Dataset
from tlkit.backbones.engines import Forward, batch_size
from tlkit.backbones.extractor import TOP, Extractor, columns_of
from tlkit.images.batches import load_images
from tlkit.images.folder import TRAIN
from tlkit.linear.flip_check import LOOKED_AT, FlipCheck, check_flips, chosen_for_check
from tlkit.progress import Progress
from tlkit.store.features import rounded

Pixels = Callable[[list[int]], NDArray[np.uint8]]


def look_at_flips(
    data: Dataset,
    extractor: Extractor,
    pixels_of: Pixels,
    *,
    seed: int,
    workers: int | None,
    show: Progress,
    most: int = LOOKED_AT,
    forward: Forward | None = None,
) -> FlipCheck:
    """Run some training images through the backbone mirrored, and ask probes that have not seen them.

    Args:
        data: Images, split and features, the top's among them.
        extractor: What computed them.
        pixels_of: Gives uint8 [n, h, w, 3] of images by their index into the data set's folder.
        seed: Of the sample and the folds.
        workers: Cores; None: all.
        show: Told about every image.
        most: Images looked at, at most.
        forward: The extractor's forward pass, where there is one already.
    """
    train = data.of(TRAIN)
    places = chosen_for_check([data.folder.labels[index] for index in train], seed, most)
    chosen = [train[place] for place in places]
    plain = data.features.matrix[[data.rows[index] for index in chosen]][:, columns_of(data.features.taps, [TOP])]
    forward, top = forward or extractor.forward(workers), columns_of(extractor.taps, [TOP])
    mirrored, together = [], batch_size()
    with show.phase("Mirrored images", len(chosen)) as advance:
        for start in range(0, len(chosen), together):
            part = chosen[start : start + together]
            mirrored.append(rounded(forward(np.ascontiguousarray(pixels_of(part)[:, :, ::-1])))[:, top])
            advance(len(part))
    labels, groups = [data.folder.labels[i] for i in chosen], [data.groups[i] for i in chosen]
    return check_flips(plain, np.concatenate(mirrored), labels, groups, seed)


def read_pixels(data: Dataset, size: int, workers: int | None) -> Pixels:
    """A function that reads images anew, where they are not decoded yet; one that has become unreadable is grey."""

    def pixels_of(chosen: list[int]) -> NDArray[np.uint8]:
        images = load_images([data.folder.paths[i] for i in chosen], (size, size), workers=workers)
        grey = np.full((size, size, 3), 127, dtype=np.uint8)
        return np.stack([grey if item.image is None else item.image.pixels for item in images])

    return pixels_of
