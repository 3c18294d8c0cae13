"""What a reviewer decided, as a file to which every decision is added at once, so that a killed process loses none."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from tlkit.bounded import read_limited
from tlkit.durable import new_file
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.locks import HeldError, locked
from tlkit.schema import Length, OneOf, WrongDataError, parsed

FORMAT = 1
MAX_BYTES = 256 << 20
LABEL, EXCLUDE, SKIP, CONFLICT = "label", "exclude", "skip", "conflict"
_Text = Annotated[str, Length(0, 100_000)]


@dataclass(frozen=True)
class Header:
    """The first line of a file of decisions.

    Attributes:
        review: Version of its format.
        images: Name of the folder or table that was reviewed.
    """

    review: int
    images: _Text


@dataclass(frozen=True)
class Decision:
    """What was decided of one image.

    Attributes:
        file: The image, relative to the folder of the images.
        what: "label", "exclude", "skip", or "conflict": people decided differently.
        label: Its class, with "label"; else empty.
        by: The other file that it comes from; empty: decided here.
        said: With "conflict": what each said, by file.
    """

    file: _Text
    what: Annotated[str, OneOf((LABEL, EXCLUDE, SKIP, CONFLICT))]
    label: _Text = ""
    by: _Text = ""
    said: tuple[tuple[_Text, _Text], ...] = ()

    @property
    def short(self) -> str:
        """What was decided, in a word: the label, or "excluded"."""
        return self.label if self.what == LABEL else "excluded"

    @property
    def counts(self) -> bool:
        """Whether it says what the image is."""
        return self.what in (LABEL, EXCLUDE)


def replayed(path: Path) -> tuple[Header, list[Decision], list[str]]:
    """Read a file of decisions: its header, what was decided in order, and the files that were merged into it.

    A last line that was cut off is left out.

    Raises:
        TlkitError: It cannot be read, or is no such file.
    """
    hint = "give a file of decisions that tlkit review wrote"
    steps: list[Decision] = []
    merged: list[str] = []
    header: Header | None = None
    try:
        lines = read_limited(path, MAX_BYTES).split(b"\n")[:-1]
        for line in lines:
            data = json.loads(line)
            if header is None:
                header = parsed(Header, data, "header")
            elif "undo" in data:
                steps = steps[:-1]
            elif "merged" in data:
                merged.append(parsed(str, data["merged"], "merged"))
            else:
                steps.append(parsed(Decision, data, "decision"))
    except OSError as error:
        raise TlkitError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, RecursionError, WrongDataError) as error:
        raise TlkitError(f"not a file of decisions: {path}", hint) from error
    if header is None or header.review != FORMAT:
        raise TlkitError(f"not a file of decisions: {path}", hint)
    return header, steps, merged


def latest(steps: Sequence[Decision]) -> dict[str, Decision]:
    """Return the last decision of each image; one that was skipped last keeps what was decided before."""
    found: dict[str, Decision] = {}
    for step in steps:
        if step.what != SKIP or step.file not in found:
            found[step.file] = step
    return found


class Decisions:
    """The decisions of a review, in a file. Use it as a context manager; several threads may call it.

    Args:
        path: The file; made with the first decision.
        images: Name of what is reviewed.

    Raises:
        TlkitError: The file is none of decisions, or of other images.
    """

    def __init__(self, path: Path, images: str) -> None:
        self.path = path
        self._images = images
        self._mutex = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._steps: list[Decision] = []
        self.merged: list[str] = []
        if os.path.lexists(path):
            self._load()

    def _load(self) -> None:
        header, self._steps, self.merged = replayed(self.path)
        if header.images != self._images:
            raise TlkitError(
                f"{self.path} has decisions on other images: {header.images}", "choose another file with --decisions"
            )

    def __enter__(self) -> Decisions:
        try:
            self._stack.enter_context(locked(self.path.with_name(f"{self.path.name}.lock")))
        except HeldError as error:
            raise TlkitError(f"another review uses {self.path}: {error.holder}", "end it, or wait for it") from None
        except OSError as error:
            raise TlkitError(f"cannot write {self.path}: {error.strerror or error}") from error
        if os.path.lexists(self.path):  # it may have grown before it was locked
            self._load()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def now(self) -> dict[str, Decision]:
        """The decision on each image that there is one on."""
        with self._mutex:
            return latest(self._steps)

    @property
    def steps(self) -> int:
        """Number of decisions that can be undone."""
        with self._mutex:
            return len(self._steps)

    def add(self, decision: Decision) -> None:
        """Note a decision.

        Raises:
            TlkitError: The file cannot be written.
        """
        with self._mutex:
            self._write({key: value for key, value in asdict(decision).items() if value})
            self._steps.append(decision)

    def undo(self) -> Decision | None:
        """Take the last decision back and return it; None: there is none."""
        with self._mutex:
            if not self._steps:
                return None
            self._write({"undo": self._steps[-1].file})
            return self._steps.pop()

    def note_merged(self, name: str) -> None:
        """Note that another file was merged, so that this is not done twice."""
        with self._mutex:
            self._write({"merged": name})
            self.merged.append(name)

    def _write(self, data: Mapping[str, Any]) -> None:
        try:
            if not os.path.lexists(self.path):
                with new_file(self.path) as part:
                    part.write_text(f"{json_text(asdict(Header(FORMAT, self._images)))}\n", encoding="utf-8")
            with self.path.open("r+b") as file:
                end = file.seek(0, os.SEEK_END)
                if end:
                    file.seek(end - 1)
                    if file.read(1) != b"\n":  # cut off by a power cut
                        file.seek(0)
                        file.truncate(file.read().rfind(b"\n") + 1)
                        file.seek(0, os.SEEK_END)
                file.write(f"{json_text(data)}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise TlkitError(f"cannot write {self.path}: {error.strerror or error}") from error
