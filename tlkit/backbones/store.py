"""The feature store: vectors kept on disk by picture content, so that no picture is computed twice.

One folder per key (backbone, weights, input size, reading version, taps). In it, immutable shards: a shard is one
``.npy`` file of records, written under another name and renamed when whole. So a killed run leaves whole shards
or none, and two runs at once at worst compute the same rows twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlkit.cache import cache_folder, cache_limit, prune
from tlkit.images.duplicates import FINGERPRINT_BYTES

FORMAT = 2
MERGE_ABOVE = 32  # shards; each costs an open file and a look-up table


@dataclass(frozen=True)
class FeatureKey:
    """What a stored vector depends on besides the picture's bytes."""

    backbone: str
    weights: str
    height: int
    width: int
    reading: int
    taps: tuple[tuple[str, int], ...]

    def digest(self) -> str:
        """A folder name for this key."""
        text = json.dumps([FORMAT, asdict(self)], sort_keys=True)
        return f"{self.backbone}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"

    @property
    def columns(self) -> int:
        """Length of one vector."""
        return sum(width for _, width in self.taps)


@dataclass(frozen=True)
class Stored:
    """What is kept of one picture: its vector, float32 [columns], and its perceptual hash (empty: blank)."""

    vector: NDArray[np.float32]
    fingerprint: bytes


class FeatureStore:
    """Vectors of one key, looked up by the SHA-256 of a picture's bytes.

    Rows are float32; each carries a checksum and one that does not match is as good as absent. A cache folder
    that cannot be written only costs the reuse: `add` then keeps nothing and `problem` says why.
    """

    def __init__(self, key: FeatureKey, root: Path | None = None) -> None:
        self.key = key
        self.section = (root or cache_folder()) / "features"
        self.folder = self.section / key.digest()
        self.problem: str | None = None
        vector = ("vector", "<f4", (key.columns,))
        self._record = np.dtype([("content", "V32"), ("crc", "<u4"), ("print", f"V{1 + FINGERPRINT_BYTES}"), vector])
        self._rows: dict[bytes, tuple[int, int]] = {}
        self._shards: list[NDArray[np.void]] = []
        self._open()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, content: bytes) -> Stored | None:
        """What is kept of a picture, or None if it is absent or damaged."""
        place = self._rows.get(content)
        if place is None:
            return None
        record = self._shards[place[0]][place[1]]
        if _checksum(record) != int(record["crc"]):
            self._rows.pop(content, None)
            return None
        length, *digits = record["print"].tobytes()
        return Stored(np.asarray(record["vector"], dtype=np.float32), bytes(digits[:length]))

    def add(self, rows: Sequence[tuple[bytes, Stored]]) -> None:
        """Keep one shard of new rows: content hash and what belongs to it."""
        if not rows or self.problem:
            return
        records = np.zeros(len(rows), dtype=self._record)
        for record, (content, stored) in zip(records, rows, strict=True):
            record["content"] = np.void(content)
            # a length before the bytes: trailing zeros would otherwise be lost
            record["print"] = np.void(bytes([len(stored.fingerprint)]) + stored.fingerprint.ljust(FINGERPRINT_BYTES))
            record["vector"] = stored.vector
            record["crc"] = _checksum(record)
        try:
            self._write(records)
        except OSError as error:
            self.problem = f"features are not kept: {error.strerror or error} ({self.section})"

    def close(self) -> None:
        """Mark this key as used now and keep the whole store within its bound."""
        self._shards, self._rows = [], {}
        with contextlib.suppress(OSError):
            if self.folder.is_dir():
                os.utime(self.folder)
            prune(self.section, cache_limit(), keep=self.folder)

    def _write(self, records: NDArray[np.void]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "key.json"
        if not note.exists():
            note.write_text(json.dumps(asdict(self.key), indent=1))
        part = self.folder / f"{uuid.uuid4().hex}.part"
        try:
            with part.open("wb") as file:
                np.save(file, records)
                file.flush()
                os.fsync(file.fileno())
            return part.rename(part.with_suffix(".npy"))
        finally:
            part.unlink(missing_ok=True)

    def _open(self) -> None:
        try:
            files = sorted(self.folder.glob("*.npy"))
        except OSError:
            return
        for file in files:
            self._read_shard(file)
        if len(self._shards) > MERGE_ABOVE:
            self._merge(files)

    def _read_shard(self, file: Path) -> None:
        try:
            shard = np.load(file, mmap_mode="r", allow_pickle=False)
            if shard.dtype != self._record or shard.ndim != 1:
                raise ValueError("another layout")
        except (OSError, ValueError, EOFError):
            with contextlib.suppress(OSError):
                file.unlink()  # damaged: its rows are computed again
            return
        number = len(self._shards)
        self._shards.append(shard)
        for row, content in enumerate(shard["content"]):
            self._rows[content.tobytes()] = (number, row)

    def _merge(self, files: list[Path]) -> None:
        """Many small shards become one; readers that still have the old ones open keep them."""
        rows = [self._shards[shard][row] for shard, row in self._rows.values()]
        try:
            merged = self._write(np.asarray(rows, dtype=self._record))
        except OSError:
            return
        self._shards, self._rows = [], {}
        self._read_shard(merged)
        for file in files:
            with contextlib.suppress(OSError):
                file.unlink()


def _checksum(record: np.void) -> int:
    """CRC-32 over everything a record says of a picture."""
    return zlib.crc32(record["content"].tobytes() + record["print"].tobytes() + record["vector"].tobytes())
