"""A share of the images for each of several machines: which ones, and the file that each writes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from tlkit.api.predict import Prediction
from tlkit.api.prediction_rows import Format, Write, prediction_from
from tlkit.errors import TlkitError
from tlkit.images.given import GivenImage
from tlkit.jsontext import json_text
from tlkit.schema import Count, Digest, Length, Positive, WrongDataError, parsed
from tlkit.version import VERSION

AUTO = "auto"
MAX_SHARDS = 1_000_000
MAX_LINE = 1 << 24
FORMAT = 1
HINT = "for example --shard 2/8, or --shard auto/8 in an array job"


@dataclass(frozen=True)
class Shard:
    """One share of the work.

    Attributes:
        number: Which one, from 1.
        of: How many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] | None = None) -> Shard:
        """Read ``i/n``, ``auto/n`` or ``auto``.

        Args:
            text: "2/8": the second of eight. "auto/8": the number is taken from the array job (Kubernetes, Slurm, AWS
                Batch). "auto": so is how many there are, which only Slurm tells.
            environment: Environment variables; None: those of the process.

        Raises:
            TlkitError: It is nothing of these, out of range, or this is no array job.
        """
        number, _, of = text.strip().partition("/")
        given = _array(os.environ if environment is None else environment) if number == AUTO else None
        if number == AUTO and given is None:
            raise TlkitError("--shard auto: this is no array job of Kubernetes, Slurm or AWS Batch", HINT)
        if given is not None and not of and given.of:
            return given
        try:
            found = cls(given.number if given is not None else int(number), int(of))
        except ValueError:
            raise TlkitError(f"--shard must be like 2/8, not '{text[:40]}'", HINT) from None
        if not 1 <= found.number <= found.of <= MAX_SHARDS:
            raise TlkitError(f"there is no shard {found.number} of {found.of}", "they are numbered from 1")
        return found

    def has(self, name: str) -> bool:
        """Return whether an image of this name is in this share. Any machine says the same."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    def part(self, target: Path) -> Path:
        """Return the file of this share: ``labels.csv.part-2-of-8``."""
        return target.with_name(f"{target.name}.part-{self.number}-of-{self.of}")


def _array(environment: Mapping[str, str]) -> Shard | None:
    """Return the share of an array job; ``of`` is 0 if the environment does not say how many there are."""
    try:
        if "SLURM_ARRAY_TASK_ID" in environment:
            first, step = (int(environment.get(f"SLURM_ARRAY_TASK_{name}", 1)) for name in ("MIN", "STEP"))
            index = (int(environment["SLURM_ARRAY_TASK_ID"]) - first) // max(1, step)
            return Shard(index + 1, int(environment.get("SLURM_ARRAY_TASK_COUNT", 0)))
        for name in ("JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX"):
            if name in environment:
                return Shard(int(environment[name]) + 1, 0)
    except ValueError:
        return None
    return None


@dataclass(frozen=True)
class Manifest:
    """What a part says of itself.

    Attributes:
        part: Version of its format.
        tlkit: Version that wrote it.
        number: Which share it is, from 1.
        of: How many there are.
        rows: Number of rows in it.
        images: Number of images of all shares.
        listing: SHA-256 of the names of all images: the same in every part.
        asked: What was asked of which bundle: the same in every part.
        top: Number of classes with a column each in CSV.
        review: Whether CSV has a column that says which images to review.
    """

    part: int
    tlkit: Annotated[str, Length(0, 100)]
    number: Positive
    of: Positive
    rows: Count
    images: Count
    listing: Digest
    asked: Any
    top: Positive
    review: bool


@dataclass(frozen=True, eq=False)
class Share:
    """The images of one share.

    Attributes:
        shard: Which share.
        found: Its images.
        places: Where each is in the list of all.
        images: Number of images of all shares.
        listing: SHA-256 of the names of all images.
    """

    shard: Shard
    found: Sequence[Path]
    places: Sequence[int]
    images: int
    listing: str

    def manifest(self, asked: Any, top: int, review: bool) -> Manifest:
        """Describe the part."""
        return Manifest(
            FORMAT,
            VERSION,
            self.shard.number,
            self.shard.of,
            len(self.found),
            self.images,
            self.listing,
            json.loads(json_text(asked)),
            top,
            review,
        )


def share_of(found: Sequence[Path | GivenImage], folders: Sequence[Path], shard: Shard) -> Share:
    """Choose the images of a share by their names: below the folder that was given, so that it may lie anywhere.

    Args:
        found: All images, from `tlkit.api.inputs.find_images`.
        folders: The folders that were given.
        shard: Which share.

    Raises:
        TlkitError: An image is in memory.
    """
    digest, chosen, places = hashlib.sha256(), [], []
    starts = [f"{folder}{os.sep}" for folder in folders]
    for place, path in enumerate(found):
        if not isinstance(path, Path):
            raise TlkitError(f"--shard does not apply to images in memory, such as {path}", "give paths of files")
        name = str(path)
        for start in starts:
            if name.startswith(start):
                name = name[len(start) :]
                break
        name = name.replace(os.sep, "/")
        digest.update(name.encode("utf-8", "surrogatepass") + b"\0")
        if shard.has(name):
            chosen.append(path)
            places.append(place)
    return Share(shard, chosen, places, len(found), digest.hexdigest())


def part_format(manifest: Manifest, places: Sequence[int]) -> Format:
    """Return the writer of a part: JSON Lines, the manifest first, then each row with its place in the list of all."""

    @contextmanager
    def opened(path: Path) -> Iterator[Write]:
        left = iter(places)
        with path.open("w", encoding="utf-8") as out:
            out.write(f"{json_text(asdict(manifest))}\n")

            def write(row: Prediction) -> None:
                out.write(f"{json_text({'place': next(left), 'row': row.to_json()})}\n")

            yield write

    return opened


def read_manifest(path: Path) -> Manifest:
    """Read what a part says of itself.

    Raises:
        TlkitError: It cannot be read, or is no part.
    """
    try:
        with path.open("rb") as file:
            found = parsed(Manifest, json.loads(file.readline(MAX_LINE)), "manifest")
    except OSError as error:
        raise TlkitError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, RecursionError, WrongDataError) as error:
        raise _no_part(path) from error
    if found.part != FORMAT:
        raise _no_part(path)
    manifest: Manifest = found
    return manifest


def read_rows(path: Path) -> Iterator[tuple[int, Prediction]]:
    """Yield the rows of a part, each with its place in the list of all.

    Raises:
        TlkitError: It cannot be read, or is damaged.
    """
    try:
        with path.open("rb") as file:
            file.readline(MAX_LINE)
            while line := file.readline(MAX_LINE):
                data = json.loads(line)
                yield parsed(Count, data["place"], "place"), prediction_from(data["row"])
    except OSError as error:
        raise TlkitError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TlkitError(f"{path} is damaged", "run that shard again") from error


def _no_part(path: Path) -> TlkitError:
    return TlkitError(f"not a part that --shard wrote: {path}", "give the files named .part-1-of-8 and so on")
