"""Feature maps at the end of a network's frozen part, computed once per image and cached on disk.

The frozen part returns the same in every epoch, so it runs only once: on the original image and on a few augmented
versions, one of which is drawn in each epoch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import Forward, LiteRTNetwork, batch_size, keras_forward
from tlkit.backbones.extractor import Extractor
from tlkit.backbones.litert import heads as lite_heads
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.stages import Stage
from tlkit.images.read import READING_VERSION
from tlkit.plan.choices import LITERT
from tlkit.progress import Advance, Progress, ignore
from tlkit.store.decoded import Decoded
from tlkit.store.records import RecordStore
from tlkit.store.shards import SHARD_BYTES, Record

FORMAT = 1
DTYPE = "<f2"

Augment = Callable[[NDArray[np.uint8], Sequence[int]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Maps:
    """Feature maps of images. Close when done.

    Attributes:
        contents: SHA-256 of each image's bytes as hex, by image index.
        store: The maps on disk, float16 [versions, h, w, channels] per image.
        memory: Maps that could not be stored on disk, by content hash.
        recompute: Recomputes maps by image index: the cache may lose them at any time.
    """

    contents: Sequence[str]
    store: RecordStore = field(repr=False)
    memory: dict[bytes, NDArray[np.float16]] = field(repr=False)
    recompute: Callable[[Sequence[int]], dict[bytes, NDArray[np.float16]]] = field(repr=False)

    def get(self, images: Sequence[int], versions: Sequence[int]) -> NDArray[np.float16]:
        """Return one version of each image, float16 [n, h, w, channels].

        Raises:
            KeyError: An image is not one of those computed.
        """
        kept = {image: self._kept(image) for image in images}
        lost = [image for image, its in kept.items() if its is None]
        new = self.recompute(lost) if lost else {}
        rows = []
        for image, version in zip(images, versions, strict=True):
            its = kept[image]
            rows.append((new[bytes.fromhex(self.contents[image])] if its is None else its)[version])
        return np.stack(rows)

    def _kept(self, image: int) -> NDArray[np.float16] | None:
        content = bytes.fromhex(self.contents[image])
        if content in self.memory:
            return self.memory[content]
        record = self.store.get(content)
        return None if record is None else record.payload

    def close(self) -> None:
        """Close the files and keep the cache within its size limit."""
        self.store.close()
        self.memory.clear()


def compute_maps(
    decoded: Decoded,
    images: Sequence[int],
    extractor: Extractor,
    stage: Stage,
    *,
    versions: int,
    kind: str,
    augment: Augment,
    workers: int | None,
    progress: Progress,
) -> Maps:
    """Run the frozen part once on every image and version that is not cached.

    Args:
        decoded: Pixels of the images.
        images: Indices into ``decoded``.
        extractor: The backbone.
        stage: The last frozen stage.
        versions: Number of versions per image; version 0 is the original.
        kind: Describes the augmentation, including everything it depends on besides the image's bytes.
        augment: Makes the other versions, from uint8 [n, h, w, 3] and the `version_seed` of each image.
        workers: CPU cores to use; None: all.
        progress: Progress reporter.
    """
    shape = (versions, stage.height, stage.width, stage.channels)
    key = {
        "backbone": extractor.backbone.key,
        "weights": extractor.weights_hash,
        "size": extractor.input_size,
        "reading": READING_VERSION,
        "boundary": stage.name,
        "versions": kind if versions > 1 else "plain",
        "count": versions,
    }
    digest = hashlib.sha256(json.dumps([FORMAT, key], sort_keys=True).encode()).hexdigest()[:24]
    store = RecordStore("maps", f"{extractor.backbone.key}-{stage.name}-{digest}", DTYPE, shape, key)
    known = {decoded.contents[image] for image in images}
    memory: dict[bytes, NDArray[np.float16]] = {}

    def recompute(lost: Sequence[int]) -> dict[bytes, NDArray[np.float16]]:
        """Compute maps again and store them: on disk, or in memory if that fails."""
        missing: dict[bytes, int] = {}
        for image in lost:
            if decoded.contents[image] not in known:
                raise KeyError(decoded.contents[image])
            missing.setdefault(bytes.fromhex(decoded.contents[image]), image)
        new: dict[bytes, NDArray[np.float16]] = {}
        forward = lower_part(extractor, stage, workers)
        for group in _computed(decoded, missing, forward, shape, augment, ignore):
            store.add(group)
            new.update((content, record.payload) for content, record in group)
        store.refresh()
        memory.update((content, each) for content, each in new.items() if store.get(content) is None)
        return new

    maps = Maps(decoded.contents, store, memory, recompute)
    try:
        missing: dict[bytes, int] = {}
        for image in images:
            content = bytes.fromhex(decoded.contents[image])
            if store.get(content) is None:
                missing.setdefault(content, image)
        _fill(maps, decoded, missing, extractor, stage, shape, augment, workers, progress)
    except BaseException:
        store.close()
        raise
    return maps


def _fill(
    maps: Maps,
    decoded: Decoded,
    missing: dict[bytes, int],
    extractor: Extractor,
    stage: Stage,
    shape: tuple[int, ...],
    augment: Augment,
    workers: int | None,
    progress: Progress,
) -> None:
    if not missing:
        return
    forward = lower_part(extractor, stage, workers)
    kept: list[tuple[bytes, Record]] = []

    def keep() -> None:
        maps.store.add(kept)
        if maps.store.problem:
            maps.memory.update((content, record.payload) for content, record in kept)
        kept.clear()

    try:
        with progress.phase(f"Frozen part, up to {stage.name}", len(missing) * shape[0]) as advance:
            for group in _computed(decoded, missing, forward, shape, augment, advance):
                kept.extend(group)
                if len(kept) * 2 * math.prod(shape) >= SHARD_BYTES // 2:
                    keep()
    finally:
        keep()  # also if interrupted: keep what has been computed
    maps.store.refresh()


def _computed(
    decoded: Decoded,
    missing: dict[bytes, int],
    forward: Forward,
    shape: tuple[int, ...],
    augment: Augment,
    advance: Advance,
) -> Iterator[list[tuple[bytes, Record]]]:
    """Yield batches of (content hash, all versions of the image)."""
    size = max(1, min(batch_size(), SHARD_BYTES // (2 * math.prod(shape))))
    limit = np.finfo(DTYPE).max
    todo = list(missing.items())
    for start in range(0, len(todo), size):
        some = todo[start : start + size]
        pixels = decoded.pixels([image for _, image in some])
        block = np.empty((len(some), *shape), DTYPE)
        for version in range(shape[0]):
            seeds = [version_seed(content, version) for content, _ in some]
            given = augment(pixels, seeds) if version else pixels
            block[:, version] = np.clip(forward(given), -limit, limit)
            advance(len(some))
        yield [(content, Record(row, b"")) for (content, _), row in zip(some, block, strict=True)]


def version_seed(content: bytes, version: int) -> int:
    """Return the seed of one version of an image. It depends only on the image's bytes, as the cache does."""
    return int.from_bytes(content[:7], "big") * 256 + version


def lower_part(extractor: Extractor, stage: Stage, workers: int | None = None) -> Forward:
    """Return a function from uint8 [n, h, w, 3] (RGB, 0..255) to a stage's output, float32 [n, h, w, channels]."""
    if extractor.engine == LITERT and extractor.graph is not None:
        names = [name for name, _ in extractor.taps]
        part = lite_heads.cut_at(extractor.graph, names.index(stage.name)) if stage.name in names else None
        if part is not None:
            return LiteRTNetwork(part, workers)
    model = extractor.network.model
    lower: Any = import_keras().Model(model.input, model.get_layer(stage.layer).output)
    return keras_forward(lower)
