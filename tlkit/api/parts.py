"""The parts that shards write: JSON Lines, what the part says of itself first, then a row for each image."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tlkit.api.inputs import PathLike
from tlkit.api.shards import Share
from tlkit.errors import TlkitError
from tlkit.jsontext import json_text
from tlkit.schema import Count, Digest, Length, OneOf, Positive, WrongDataError, parsed
from tlkit.version import VERSION
from tlkit.words import plural, some

MAX_LINE = 1 << 24  # bytes of a row; no network has vectors that long
FORMAT = 1
PREDICT, EMBED, CHECK, FEATURES = "predict", "embed", "check", "features"
NAMES = "give the files named .part-1-of-8 and so on"


@dataclass(frozen=True)
class Manifest:
    """What a part says of itself.

    Attributes:
        part: Version of its format.
        tlkit: Version that wrote it.
        command: The command whose part it is.
        number: Which share it is, from 1.
        of: How many there are.
        rows: Number of rows in it.
        images: Number of images of all shares.
        listing: SHA-256 of the names of all images: the same in every part.
        asked: What was asked of which network: the same in every part.
        note: What may differ between parts, such as paths.
    """

    part: int
    tlkit: Annotated[str, Length(0, 100)]
    command: Annotated[str, OneOf((PREDICT, EMBED, CHECK, FEATURES))]
    number: Positive
    of: Positive
    rows: Count
    images: Count
    listing: Digest
    asked: Any
    note: Any = None

    @classmethod
    def of_share(cls, command: str, share: Share, asked: Any, note: Any = None) -> Manifest:
        """Describe the part of a share.

        Args:
            command: The command.
            share: The share.
            asked: As in `Manifest`, plain data.
            note: Likewise.
        """
        return cls(
            FORMAT,
            VERSION,
            command,
            share.shard.number,
            share.shard.of,
            len(share.places),
            share.images,
            share.listing,
            json.loads(json_text(asked)),
            json.loads(json_text(note)),
        )


def write_part(path: Path, manifest: Manifest, places: Sequence[int], rows: Iterable[Any]) -> None:
    """Write a part.

    Args:
        path: The file.
        manifest: What it says of itself.
        places: Where each image is in the list of all.
        rows: The row of each, plain data.

    Raises:
        OSError: It cannot be written.
    """
    with path.open("w", encoding="utf-8") as out:
        out.write(f"{json_text(asdict(manifest))}\n")
        for place, row in zip(places, rows, strict=True):
            out.write(f"{json_text({'place': place, 'row': row})}\n")


@dataclass(frozen=True)
class Parts:
    """All parts of one run.

    Attributes:
        found: What each file says of itself.
        first: What the part with number 1 says.
    """

    found: Mapping[Path, Manifest]
    first: Manifest = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", min(self.found.values(), key=lambda each: each.number))

    def __str__(self) -> str:
        return plural(len(self.found), "part")

    def rows(self) -> Iterator[Any]:
        """Yield the row of each image, in the order of the list of all, each exactly once.

        Memory does not grow with the number of rows.

        Raises:
            TlkitError: A part cannot be read or is damaged, or they do not hold every image once.
        """
        expected = 0
        for place, row in heapq.merge(*map(_read_rows, self.found), key=lambda each: each[0]):
            if place != expected:
                raise self._uneven(place, expected)
            expected += 1
            yield row
        if expected != self.first.images:
            raise self._uneven(expected, self.first.images)

    def damaged(self) -> TlkitError:
        """Return the error for a row that cannot be understood."""
        return TlkitError(f"one of the {self} is damaged: {some(map(str, self.found))}", "run the shards again")

    def _uneven(self, place: int, expected: int) -> TlkitError:
        return TlkitError(
            f"the {self} do not hold every image once: {place:,} after {expected:,}", "run the shards again"
        )


def open_parts(parts: PathLike | Sequence[PathLike]) -> Parts:
    """Read what parts say of themselves, and check that they belong together and are all there.

    Args:
        parts: The parts, in any order, or folders of them.

    Raises:
        TlkitError: There are none, one cannot be read or is no part, one is missing or there twice, or they are of
            different commands, images, networks or options.
    """
    found = {path: _read_manifest(path) for path in _files(parts)}
    _check(found)
    return Parts(found)


def _files(parts: PathLike | Sequence[PathLike]) -> list[Path]:
    """List the parts, those in folders too, each once."""
    given = [parts] if isinstance(parts, (str, os.PathLike)) else list(parts)
    found: dict[Path, Path] = {}
    for each in map(Path, given):
        inside = sorted(each.glob("*.part-*-of-*")) if each.is_dir() else [each]
        found.update({path.absolute(): path for path in inside if not path.is_dir()})
    if not found:
        raise TlkitError(f"no parts in {some(map(str, given))}", NAMES)
    return list(found.values())


def _check(found: dict[Path, Manifest]) -> None:
    head, first = next(iter(found.items()))
    numbers: dict[int, Path] = {}
    for path, its in found.items():
        if its.command != first.command:
            raise TlkitError(f"{path} is of tlkit {its.command}, and {head} of {first.command}", "merge one command")
        if its.of != first.of:
            raise TlkitError(f"{path} is one of {its.of} parts, and {head} one of {first.of}", "give parts of one run")
        if (its.listing, its.images) != (first.listing, first.images):
            raise TlkitError(
                f"{path} and {head} are of different images: {its.images:,} and {first.images:,} in all",
                "images came or went in between: run the shards again",
            )
        if its.asked != first.asked:
            raise TlkitError(f"{path} and {head} are of different bundles or options", "run one of them again")
        if its.number in numbers:
            raise TlkitError(f"{path} and {numbers[its.number]} are the same part", "leave one out")
        numbers[its.number] = path
    if missing := [f"part {number}" for number in range(1, first.of + 1) if number not in numbers]:
        verb = "is" if len(missing) == 1 else "are"
        raise TlkitError(f"{some(missing)} of {first.of} {verb} missing", f"run --shard {missing[0][5:]}/{first.of}")


def _read_manifest(path: Path) -> Manifest:
    try:
        with path.open("rb") as file:
            found: Manifest = parsed(Manifest, json.loads(file.readline(MAX_LINE)), "manifest")
    except OSError as error:
        raise TlkitError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, RecursionError, WrongDataError) as error:
        raise TlkitError(f"not a part that --shard wrote: {path}", NAMES) from error
    if found.part != FORMAT or found.number > found.of:
        raise TlkitError(f"not a part that --shard wrote: {path}", NAMES)
    return found


def _read_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the rows of a part, each with its place in the list of all."""
    try:
        with path.open("rb") as file:
            file.readline(MAX_LINE)
            while line := file.readline(MAX_LINE):
                data = json.loads(line)
                yield parsed(Count, data["place"], "place"), data["row"]
    except OSError as error:
        raise TlkitError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TlkitError(f"{path} is damaged", "run that shard again") from error
