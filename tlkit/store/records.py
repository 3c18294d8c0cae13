"""A store on disk for results computed from images, looked up by image content.

Each key has a folder of immutable shards (`tlkit.store.shards`). A killed run leaves only complete shards. There are no
locks between processes: at worst, two simultaneous runs compute the same rows twice.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tlkit.store.bound import cache_folder, cache_limit, prune
from tlkit.store.marker import NOTE, is_shard, make_entry, may_remove
from tlkit.store.network import is_network
from tlkit.store.shards import SHARD_BYTES, DamagedError, Payloads, Record, Shard, open_shard, write_shard

MERGE_ABOVE = 32  # small shards; each needs an open file
SMALL_BYTES = SHARD_BYTES // 4  # larger shards are never rewritten
MAX_MAPPED = 128  # shards mapped at once: each keeps a file open, and the number of open files is limited


class RecordStore:
    """Payloads of one dtype and shape, looked up by the SHA-256 of an image's bytes.

    Each row has a checksum. Rows with a wrong checksum and truncated shards count as missing. If the cache folder
    cannot be written, `add` keeps nothing and `problem` says why. Threads may look up rows while another thread adds
    some. On a network drive, payloads are read instead of mapped.

    Args:
        section: Section of the cache: "features" or "images".
        name: Folder in the section; must differ whenever payloads would differ.
        dtype: dtype of a payload, with its byte order.
        shape: Shape of a payload; no dimension is 0.
        note: JSON data written to the folder, which tells people what the rows depend on.
        root: The cache folder; None: the user's.
        max_mapped: Maximum number of shards mapped into memory at once; mapped shards count as this process's memory.
            None: `MAX_MAPPED`.

    Attributes:
        section: Folder of the section.
        folder: Folder of the shards.
        problem: Why nothing can be kept, or None.
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
        max_mapped: int | None = None,
    ) -> None:
        self._root = root or cache_folder()
        self.section = self._root / section
        self.folder = self.section / name
        self.problem: str | None = None
        self.closed = False
        self._dtype, self._shape, self._note = np.dtype(dtype), shape, note
        self._shards: dict[str, Shard] = {}
        self._rows: dict[bytes, tuple[Shard, int]] = {}
        self._mapped: OrderedDict[str, Payloads] = OrderedDict()
        self._max_mapped = MAX_MAPPED if max_mapped is None else max_mapped
        self._used: set[Path] = set()
        self._lock = threading.RLock()
        self._is_network = is_network(self._root)
        self.refresh()
        if self._shards:
            with contextlib.suppress(OSError):  # a folder from before there were markers, known by its name and shards
                make_entry(self.folder)
        self._merge()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, content: bytes) -> Record | None:
        """Return the record of an image, or None if it is missing or damaged.

        The payload is a read-only view of the file; copy it to keep it for long.
        """
        while (place := self._rows.get(content)) is not None:
            shard, row = place
            payloads = self._payloads(shard)
            try:
                if payloads is not None and shard.intact(row, payloads):
                    self._used.add(shard.file)
                    return Record(payloads[row, ...], shard.fingerprint(row))
            except OSError:  # removed by another machine that shares the cache
                payloads = None
            if payloads is not None:
                self._look_elsewhere(content)
                continue
            if os.path.exists(shard.file) and not self._is_network:  # noqa: PTH110  (unlike Path.exists, never raises)
                return None  # it cannot be mapped
            self._forget([shard])  # merged or removed by another process
            self.refresh(without=shard.file.name)
        return None

    def add(self, rows: Sequence[tuple[bytes, Record]]) -> None:
        """Keep new rows, (content hash, record), as one shard. They are found after `refresh`."""
        if not rows or self.problem:
            return
        try:
            self._used.add(self._write(rows))
        except OSError as error:
            self.problem = f"{self.section.name} cannot be kept: {error.strerror or error} ({self.section})"

    def refresh(self, without: str = "") -> None:
        """Find rows added since the last refresh, by this or other processes.

        Args:
            without: Name of a shard to leave out.
        """
        with self._lock:
            try:
                files = sorted(file for file in self.folder.glob("*.npy") if is_shard(file.name))
            except OSError:
                return
            for file in files:
                if file.name in self._shards or file.name == without:
                    continue
                try:
                    shard = open_shard(file, self._dtype, self._shape)
                except DamagedError:
                    # another machine may not see all of a new file yet
                    if not self._is_network and may_remove(self.folder) and not os.path.islink(file):  # noqa: PTH114
                        with contextlib.suppress(OSError):
                            file.unlink()  # its rows are computed again
                except OSError:
                    continue  # gone, or not readable at the moment
                else:
                    self._shards[file.name] = shard
                    self._rows.update((shard.content(row), (shard, row)) for row in range(len(shard)))

    def close(self) -> None:
        """Record which shards were used, and keep the whole cache within its size limit."""
        used = sorted((when, file) for file in self._used if (when := _last_use(file)) is not None)
        self._shards, self._rows, self._used, self.closed = {}, {}, set(), True
        self._mapped.clear()
        now = time.time_ns()
        for later, (_, file) in enumerate(used):
            with contextlib.suppress(OSError):  # removed by another process
                os.utime(file, ns=(now + later, now + later))  # their order by age stays
        prune(self._root, cache_limit())

    def _payloads(self, shard: Shard) -> Payloads | None:
        """Return the payloads of a shard; None if its file is gone."""
        with self._lock:
            mapped = self._mapped.pop(shard.file.name, None)
            if mapped is None:
                try:
                    mapped = shard.payloads(mapped=not self._is_network)
                except (OSError, ValueError):
                    return None
            while len(self._mapped) >= self._max_mapped:
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
        """Replace a damaged row by one of another shard, if that has the image too."""
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
        except OSError as error:  # another process or machine has just removed the empty folder
            if error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            return self._write_once(rows)

    def _write_once(self, rows: Sequence[tuple[bytes, Record]]) -> Path:
        make_entry(self.folder)
        with contextlib.suppress(FileExistsError), (self.folder / NOTE).open("x", encoding="utf-8") as note:
            note.write(json.dumps(self._note, indent=1))
        return write_shard(self.folder, rows, self._dtype, self._shape)

    def _merge(self) -> None:
        """Merge many small shards into few.

        A file is removed only after all its good rows are in another, so it is safe if two processes merge the same
        shards or one is killed: at worst, rows are kept twice. Processes that have the old files open can go on
        reading them.
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
        """Write the good rows of some shards to one; return the shards that could be read."""
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
    """Group shards so that each group fits in `SHARD_BYTES`; groups of one shard are left out."""
    groups: list[list[Shard]] = [[]]
    for shard in shards:
        if sum(member.size for member in groups[-1]) + shard.size > SHARD_BYTES:
            groups.append([])
        groups[-1].append(shard)
    return [group for group in groups if len(group) > 1]


def _last_use(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None
