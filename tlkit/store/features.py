"""The feature store: vectors kept on disk by image content, so that no image is computed twice."""

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
from tlkit.store.shards import Record

FORMAT = 3
MAX_MAPPED = 4  # shards, of at most 64 MiB, mapped at once in a pass whose memory must not grow
DTYPE = "<f2"  # of the vectors on disk, part of the key; benchmarks/store_precision.py has what it costs: nothing


@dataclass(frozen=True)
class FeatureKey:
    """What a stored vector depends on besides the image's bytes."""

    backbone: str
    weights: str
    height: int
    width: int
    reading: int
    taps: tuple[tuple[str, int], ...]

    def digest(self) -> str:
        """A folder name for this key."""
        text = json.dumps([FORMAT, DTYPE, asdict(self)], sort_keys=True)
        return f"{self.backbone}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"

    @property
    def columns(self) -> int:
        """Length of one vector."""
        return sum(width for _, width in self.taps)


@dataclass(frozen=True)
class Stored:
    """What is kept of one image: its vector, float32 [columns], and its perceptual hash (empty: blank)."""

    vector: NDArray[np.float32]
    fingerprint: bytes


def rounded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the store will give back of these vectors, float32: whoever computes them uses them so from the start.

    So a run gives the same whether it computed its features or found them.
    """
    limit = np.finfo(DTYPE).max
    return np.asarray(np.clip(vectors, -limit, limit).astype(DTYPE), dtype=np.float32)


class FeatureStore:
    """Vectors of one key, looked up by the SHA-256 of an image's bytes.

    What is damaged is as good as absent. A cache folder that cannot be written only costs the reuse: `add` then
    keeps nothing and `problem` says why. Rows that are added are found by the next store of the same key.

    Args:
        key: What the vectors depend on.
        root: The cache folder; None: the user's.
        mapped: Shards mapped into memory at once, at most; None: as many as is quick.
    """

    def __init__(self, key: FeatureKey, root: Path | None = None, mapped: int | None = None) -> None:
        self.key = key
        self._records = RecordStore("features", key.digest(), DTYPE, (key.columns,), asdict(key), root, mapped)
        self.section, self.folder = self._records.section, self._records.folder

    def __len__(self) -> int:
        return len(self._records)

    @property
    def problem(self) -> str | None:
        """Why nothing is kept, or None."""
        return self._records.problem

    def get(self, content: bytes) -> Stored | None:
        """What is kept of an image, or None if it is absent or damaged."""
        record = self._records.get(content)
        return None if record is None else Stored(np.array(record.payload, dtype=np.float32), record.fingerprint)

    def add(self, rows: Sequence[tuple[bytes, Stored]]) -> None:
        """Keep one shard of new rows: content hash and what belongs to it."""
        self._records.add([(content, Record(stored.vector, stored.fingerprint)) for content, stored in rows])

    def close(self) -> None:
        """Mark what was used as such, and keep the whole cache within its bound."""
        self._records.close()


class SpareStore:
    """A store for a long pass: what the cache cannot keep is kept in a folder of the pass's own.

    So a pass that was killed goes on where it stopped also where the cache cannot be written, and one that would fill
    over half of the cache does not push everything else out of it.

    Args:
        key: What the vectors depend on.
        images: How many there may be.
        spare: Where a second store is made if it is needed, laid out as a cache; whoever names it removes it.
    """

    def __init__(self, key: FeatureKey, images: int, spare: Path) -> None:
        self._cache = FeatureStore(key, mapped=MAX_MAPPED)
        self._spare = FeatureStore(key, spare, MAX_MAPPED)
        self._too_many = images * key.columns * np.dtype(DTYPE).itemsize > cache_limit() / 2

    @property
    def problem(self) -> str | None:
        """Why nothing is kept, or None."""
        return self._spare.problem

    @property
    def why_spare(self) -> str | None:
        """Why vectors are kept in the folder of the pass's own; None: they are not."""
        return "the features would fill over half of the cache" if self._too_many else self._cache.problem

    def get(self, content: bytes) -> Stored | None:
        """What is kept of an image in either store, or None."""
        return self._cache.get(content) or self._spare.get(content)

    def add(self, rows: Sequence[tuple[bytes, Stored]]) -> None:
        """Keep one shard of new rows."""
        if not self._too_many:
            self._cache.add(rows)
        if self.why_spare is not None:
            self._spare.add(rows)

    def close(self) -> None:
        """As `FeatureStore.close`, of the cache; the folder of the pass's own stays as it is."""
        self._cache.close()
