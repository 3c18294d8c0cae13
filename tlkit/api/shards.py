"""The share of the images that one of several machines takes: which one, and which images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlkit.errors import TlkitError
from tlkit.images.given import GivenImage

AUTO = "auto"
MAX_SHARDS = 1_000_000
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


@dataclass(frozen=True, eq=False)
class Share:
    """The images of one share.

    Attributes:
        shard: Which share.
        places: Where each of its images is in the list of all.
        images: Number of images of all shares.
        listing: SHA-256 of the names of all images.
    """

    shard: Shard
    places: Sequence[int]
    images: int
    listing: str


def share_of(names: Iterable[str], shard: Shard) -> Share:
    """Choose the images of a share by their names.

    Args:
        names: Names of all images, the same on every machine.
        shard: Which share.
    """
    digest, places, count = hashlib.sha256(), [], 0
    for place, name in enumerate(names):
        digest.update(name.encode("utf-8", "surrogatepass") + b"\0")
        if shard.has(name):
            places.append(place)
        count = place + 1
    return Share(shard, places, count, digest.hexdigest())


def names_below(found: Iterable[Path | GivenImage], folders: Sequence[Path]) -> Iterator[str]:
    """Yield the name of each image below the folder that was given, which may lie elsewhere on each machine.

    Args:
        found: All images, from `tlkit.api.inputs.find_images`.
        folders: The folders that were given.

    Raises:
        TlkitError: An image is in memory.
    """
    starts = [f"{folder}{os.sep}" for folder in folders]
    for path in found:
        if not isinstance(path, Path):
            raise TlkitError(f"--shard does not apply to images in memory, such as {path}", "give paths of files")
        name = str(path)
        start = next((start for start in starts if name.startswith(start)), "")
        yield name[len(start) :].replace(os.sep, "/")
