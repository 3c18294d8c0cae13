"""The feature store: feature vectors kept on disk by image content, so that each is computed only once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.store.bound import cache_limit
from tlkit.store.records import RecordStore
from tlkit.store.shards import CONTENT_BYTES, PRINT_BYTES, Record

FORMAT = 3
MAX_MAPPED = 4  # shards of at most 64 MiB that are mapped at once in a pass with constant memory use
DTYPE = "<f2"  # of the vectors on disk, part of the key; benchmarks/store_precision.py shows that it costs no accuracy


@dataclass(frozen=True)
class FeatureKey:
    """Everything that a stored vector depends on besides the image's bytes."""

    backbone: str
    weights: str
    height: int
    width: int
    reading: int
    taps: tuple[tuple[str, int], ...]

    def digest(self) -> str:
        """Return a folder name for this key."""
        text = json.dumps([FORMAT, DTYPE, asdict(self)], sort_keys=True)
        return f"{self.backbone}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"

    @property
    def columns(self) -> int:
        """The length of one vector."""
        return sum(width for _, width in self.taps)


@dataclass(frozen=True)
class Stored:
    """The stored data of one image: its vector, float32 [columns], and its perceptual hash (empty: blank)."""

    vector: NDArray[np.float32]
    fingerprint: bytes


def rounded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors, float32, rounded as the store will return them.

    Newly computed vectors are rounded before use, so that a run gives the same result with computed and with stored
    features.
    """
    limit = np.finfo(DTYPE).max
    return np.asarray(np.clip(vectors, -limit, limit).astype(DTYPE), dtype=np.float32)


def row_bytes(key: FeatureKey) -> int:
    """Return the bytes that the features of one image take on disk."""
    return CONTENT_BYTES + PRINT_BYTES + 4 + key.columns * np.dtype(DTYPE).itemsize


class FeatureStore:
    """Vectors of one key, looked up by the SHA-256 of an image's bytes.

    Damaged rows count as missing. If the cache folder cannot be written, `add` keeps nothing and `problem` says why;
    vectors are then computed again in the next run. Added rows are found by the next store with the same key.

    Args:
        key: What the vectors depend on.
        root: The cache folder; None: the user's.
        max_mapped: Maximum number of shards mapped into memory at once; None: the default of `RecordStore`.
    """

    def __init__(self, key: FeatureKey, root: Path | None = None, max_mapped: int | None = None) -> None:
        self.key = key
        self._records = RecordStore("features", key.digest(), DTYPE, (key.columns,), asdict(key), root, max_mapped)
        self.section, self.folder = self._records.section, self._records.folder

    def __len__(self) -> int:
        return len(self._records)

    @property
    def problem(self) -> str | None:
        """Why nothing can be kept, or None."""
        return self._records.problem

    def get(self, content: bytes) -> Stored | None:
        """Return the stored data of an image, or None if it is missing or damaged."""
        record = self._records.get(content)
        return None if record is None else Stored(np.array(record.payload, dtype=np.float32), record.fingerprint)

    def add(self, rows: Sequence[tuple[bytes, Stored]]) -> None:
        """Keep new rows, (content hash, data), as one shard."""
        self._records.add([(content, Record(stored.vector, stored.fingerprint)) for content, stored in rows])

    def close(self) -> None:
        """Record which shards were used, and keep the whole cache within its size limit."""
        self._records.close()


class SpareStore:
    """A store for a long pass, which keeps in a folder of its own what the cache cannot keep.

    So a pass that was killed can resume even if the cache cannot be written, and a pass that would fill over half of
    the cache does not push everything else out of it.

    Args:
        key: What the vectors depend on.
        images: Maximum number of images.
        spare: Folder for a second store, created if needed and laid out like a cache; the caller removes it.
    """

    def __init__(self, key: FeatureKey, images: int, spare: Path) -> None:
        self._cache = FeatureStore(key, max_mapped=MAX_MAPPED)
        self._spare = FeatureStore(key, spare, MAX_MAPPED)
        self._too_many = images * key.columns * np.dtype(DTYPE).itemsize > cache_limit() / 2

    @property
    def problem(self) -> str | None:
        """Why nothing can be kept, or None."""
        return self._spare.problem

    @property
    def why_spare(self) -> str | None:
        """Why vectors are kept in the spare folder; None: they are not."""
        return "the features would fill over half of the cache" if self._too_many else self._cache.problem

    def get(self, content: bytes) -> Stored | None:
        """Return the stored data of an image from either store, or None."""
        return self._cache.get(content) or self._spare.get(content)

    def add(self, rows: Sequence[tuple[bytes, Stored]]) -> None:
        """Keep new rows as one shard."""
        if not self._too_many:
            self._cache.add(rows)
        if self.why_spare is not None:
            self._spare.add(rows)

    def close(self) -> None:
        """Close the cache as `FeatureStore.close` does; the spare folder stays as it is."""
        self._cache.close()
