"""The rows of a long run, each written down as soon as it is known, so that a run that was killed goes on."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tlkit.api.work_dir import WorkFolder
from tlkit.errors import TlkitError
from tlkit.files import replace_json
from tlkit.images.given import GivenImage
from tlkit.jsontext import json_text
from tlkit.remote import RemotePath, stamp_of

RUN, ROWS = "run.json", "rows.jsonl"
SYNC_SECONDS = 2.0  # a power cut loses at most the rows of so long


class RunRows:
    """The rows of a run, beside what tells whether the file of each has changed.

    Args:
        folder: Where they are kept.
        found: The images.

    Attributes:
        reused: Number of rows of an earlier run.
        done: Number of rows.
    """

    def __init__(self, folder: WorkFolder, found: Sequence[Path | GivenImage]) -> None:
        self.reused = self.done = 0
        self._folder, self._found = folder, found
        self._file = folder.spare / ROWS
        self._out: IO[bytes] | None = None
        self._synced = time.monotonic()

    def open(self, signature: dict[str, Any], *, resume: bool) -> None:
        """Begin, or go on where an earlier run ended.

        Args:
            signature: What must be the same for rows of an earlier run to be used, plain data.
            resume: Whether to go on with an earlier run.

        Raises:
            TlkitError: There is an unfinished run, and it is not to be resumed or was asked for something else.
        """
        spare = self._folder.spare
        if spare.exists():
            self._check(signature, resume=resume)
        else:
            spare.mkdir()
            replace_json(spare / RUN, signature)
        self._out = self._file.open("ab")
        end = 0
        for row, stamp, place in self._lines():
            index = self.reused
            if index == len(self._found) or stamp != _stamp(self._found[index]):
                break
            if not isinstance(row, dict) or row.get("file") != str(self._found[index]):
                break
            self.reused, end = index + 1, place
        self._out.truncate(end)
        self.done = self.reused

    def _check(self, signature: dict[str, Any], *, resume: bool) -> None:
        folder, target = self._folder.path, self._folder.target
        if not resume:
            raise TlkitError(
                f"an unfinished run of {target} is in {folder}",
                "go on with it by --resume, or remove that folder to begin again",
            )
        try:
            before = json.loads((self._folder.spare / RUN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        wanted = json.loads(json_text(signature))
        if before != wanted:
            names = [name for name in wanted if not isinstance(before, dict) or before.get(name) != wanted[name]]
            raise TlkitError(
                f"the unfinished run of {target} differs in {', '.join(names)}",
                f"give the same as then, or remove {folder} to begin again",
            )

    def add(self, row: dict[str, Any]) -> None:
        """Write down the row of the next image; its "file" is the image's path."""
        assert self._out is not None
        text = json_text({"row": row, "stamp": _stamp(self._found[self.done])})
        self._out.write(f"{text}\n".encode())
        self._out.flush()
        self.done += 1
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._out.fileno())
            self._synced = time.monotonic()

    def written(self) -> Iterator[Any]:
        """Yield all rows, plain data."""
        for row, _, _ in self._lines():
            yield row

    def close(self) -> None:
        """Close the file of rows; without any, nothing is left to resume."""
        if self._out is not None:
            self._out.close()
        if self._out is not None and not self.done:
            with contextlib.suppress(OSError):
                self._file.unlink()
                (self._folder.spare / RUN).unlink()
                self._folder.spare.rmdir()

    def _lines(self) -> Iterator[tuple[Any, Any, int]]:
        """Yield each whole row, the stamp of its file, and where its line ends."""
        place = 0
        with self._file.open("rb") as file:
            for text in file:
                place += len(text)
                try:
                    data = json.loads(text)
                    row, stamp = data["row"], data.get("stamp")
                except (ValueError, KeyError, TypeError, AttributeError):  # cut off
                    return
                yield row, stamp, place


def _stamp(image: Path | GivenImage) -> list[Any] | None:
    """Return what tells whether a file is still the same: its size and time."""
    if isinstance(image, GivenImage):
        return None
    if isinstance(image, RemotePath):
        return stamp_of(image)
    try:
        its = os.stat(image)  # noqa: PTH116  (of text that is no path too)
    except (OSError, ValueError):
        return None
    return [its.st_size, its.st_mtime_ns]
