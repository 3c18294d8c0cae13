"""What was computed of images, kept on disk by image content, so that no image is worked on twice.

One folder per key. In it, immutable shards (`tlkit.store.shards`). So a killed run leaves whole shards or none, and
two runs at once at worst compute the same rows twice; there are no locks between processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.store.bound import NOTE, cache_folder, cache_limit, is_shard, make_entry, may_remove, prune
from tlkit.store.shards import SHARD_BYTES, DamagedError, Record, Shard, open_shard, write_shard

MERGE_ABOVE = 32  # small shards; each costs an open file
SMALL_BYTES = SHARD_BYTES // 4  # larger ones are never rewritten
MAPPED = 128  # shards mapped at once: each holds a file open, and a process may have few of them


class RecordStore:
    """Payloads of one dtype and shape, looked up by the SHA-256 of an image's bytes.

    Each row carries a checksum; a row where it does not match is as good as absent, as is a shard that was cut. A
    cache folder that cannot be written only costs the reuse: `add` then keeps nothing and `problem` says why.
    Threads may look up rows while another adds some.

    Args:
        section: Section of the cache: "features" or "images".
        name: Folder in the section; must be another one wherever payloads would differ.
        dtype: Of a payload, with its byte order.
        shape: Of a payload; no dimension is 0.
        note: Can be written as JSON; says in the folder, for people, what the rows depend on.
        root: The cache folder; None: the user's.
        mapped: Shards mapped into memory at once, at most; what is mapped counts as this process's memory. None:
            `MAPPED`.

    Attributes:
        section: Folder of the section.
        folder: Folder of the shards.
        problem: Why nothing is kept, or None.
        closed: Whether `close` was called.
    """

    def __init__(
        self,
        section: str,
        name: str,
        dtype: str,
        shape: tuple[int, ...],
        note: object,
        root: Path | None = None,
        mapped: int | None = None,
    ) -> None:
        self._root = root or cache_folder()
        self.section = self._root / section
        self.folder = self.section / name
        self.problem: str | None = None
        self.closed = False
        self._dtype, self._shape, self._note = np.dtype(dtype), shape, note
        self._shards: dict[str, Shard] = {}
        self._rows: dict[bytes, tuple[Shard, int]] = {}
        self._mapped: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self._most_mapped = MAPPED if mapped is None else mapped
        self._used: set[Path] = set()
        self._lock = threading.RLock()
        self.refresh()
        if self._shards:
            with contextlib.suppress(OSError):  # made before there were markers: told by its name and what is in it
                make_entry(self.folder)
        self._merge()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, content: bytes) -> Record | None:
        """What is kept of an image, or None if it is absent or damaged.

        The payload is a read-only view of the file: whoever keeps it for long makes a copy.
        """
        while (place := self._rows.get(content)) is not None:
            shard, row = place
            payloads = self._payloads(shard)
            if payloads is None:
                if shard.file.exists():
                    return None  # cannot be mapped, as on some network drives
                self._forget([shard])  # merged or removed by another process
                self.refresh()
            elif shard.intact(row, payloads):
                self._used.add(shard.file)
                return Record(payloads[row, ...], shard.fingerprint(row))
            else:
                self._look_elsewhere(content)
        return None

    def add(self, rows: Sequence[tuple[bytes, Record]]) -> None:
        """Keep one shard of new rows: content hash and what belongs to it. They are found after `refresh`."""
        if not rows or self.problem:
            return
        try:
            self._used.add(self._write(rows))
        except OSError as error:
            self.problem = f"{self.section.name} are not kept: {error.strerror or error} ({self.section})"

    def refresh(self) -> None:
        """Find what was added since, here or by other processes."""
        with self._lock:
            try:
                files = sorted(file for file in self.folder.glob("*.npy") if is_shard(file.name))
            except OSError:
                return
            for file in files:
                if file.name in self._shards:
                    continue
                try:
                    shard = open_shard(file, self._dtype, self._shape)
                except DamagedError:
                    if may_remove(self.folder) and not file.is_symlink():
                        with contextlib.suppress(OSError):
                            file.unlink()  # its rows are computed again
                except OSError:
                    continue  # gone, or not readable just now
                else:
                    self._shards[file.name] = shard
                    self._rows.update((shard.content(row), (shard, row)) for row in range(len(shard)))

    def close(self) -> None:
        """Mark the shards that were used as such, and keep the whole cache within its bound."""
        used = sorted((when, file) for file in self._used if (when := _last_use(file)) is not None)
        self._shards, self._rows, self._used, self.closed = {}, {}, set(), True
        self._mapped.clear()
        now = time.time_ns()
        for later, (_, file) in enumerate(used):
            with contextlib.suppress(OSError):  # removed by another process
                os.utime(file, ns=(now + later, now + later))  # they stay in the order of their age
        prune(self._root, cache_limit())

    def _payloads(self, shard: Shard) -> NDArray[Any] | None:
        """A shard's payloads, mapped; None if its file is gone."""
        with self._lock:
            mapped = self._mapped.pop(shard.file.name, None)
            if mapped is None:
                try:
                    mapped = shard.payloads()
                except (OSError, ValueError):
                    return None
            while len(self._mapped) >= self._most_mapped:
                self._mapped.popitem(last=False)
            self._mapped[shard.file.name] = mapped
            return mapped

    def _forget(self, shards: Sequence[Shard]) -> None:
        with self._lock:
            for shard in shards:
                self._shards.pop(shard.file.name, None)
                self._mapped.pop(shard.file.name, None)
            self._rows = {
                shard.content(row): (shard, row)
                for shard in self._shards.values()
                for row in range(len(shard))
                if shard.checked[row] != 2
            }

    def _look_elsewhere(self, content: bytes) -> None:
        """A row turned out damaged: another shard may have the image too."""
        with self._lock:
            for shard in self._shards.values():
                row = shard.find(content)
                if row is not None:
                    self._rows[content] = (shard, row)
                    return
            self._rows.pop(content, None)

    def _write(self, rows: Sequence[tuple[bytes, Record]]) -> Path:
        try:
            return self._write_once(rows)
        except FileNotFoundError:  # another process just took the empty folder away
            return self._write_once(rows)

    def _write_once(self, rows: Sequence[tuple[bytes, Record]]) -> Path:
        make_entry(self.folder)
        with contextlib.suppress(FileExistsError), (self.folder / NOTE).open("x", encoding="utf-8") as note:
            note.write(json.dumps(self._note, indent=1))
        return write_shard(self.folder, rows, self._dtype, self._shape)

    def _merge(self) -> None:
        """Many small shards become few.

        A file is removed only once another holds all its good rows, so two processes may merge the same ones, and
        either may be killed: at worst rows are kept twice. Whoever has the old files open keeps them.
        """
        small = [shard for shard in self._shards.values() if shard.size < SMALL_BYTES]
        if len(small) <= MERGE_ABOVE or not may_remove(self.folder):
            return
        for group in _groups(small):
            try:
                done = self._join(group)
            except OSError:
                return
            self._forget(group)
            for shard in done:
                with contextlib.suppress(OSError):
                    shard.file.unlink()
        self.refresh()

    def _join(self, group: Sequence[Shard]) -> list[Shard]:
        """Write the good rows of some shards to one; returns the shards that could be read."""
        rows: dict[bytes, Record] = {}
        done = []
        for shard in group:
            payloads = self._payloads(shard)
            if payloads is None:
                continue
            good = [row for row in range(len(shard)) if shard.intact(row, payloads)]
            rows.update((shard.content(row), Record(payloads[row, ...], shard.fingerprint(row))) for row in good)
            done.append(shard)
        if rows:
            when = max(_last_use(shard.file) or 0 for shard in done)
            os.utime(self._write(list(rows.items())), ns=(when, when))
        return done


def _groups(shards: Iterable[Shard]) -> list[list[Shard]]:
    """Shards that make one of at most `SHARD_BYTES` together; what would stay alone is left out."""
    groups: list[list[Shard]] = [[]]
    for shard in shards:
        if sum(each.size for each in groups[-1]) + shard.size > SHARD_BYTES:
            groups.append([])
        groups[-1].append(shard)
    return [group for group in groups if len(group) > 1]


def _last_use(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None
