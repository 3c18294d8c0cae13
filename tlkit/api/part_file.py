"""One part of a run that several machines share, in a file; a run that was killed goes on by the same call."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlkit.api.parts import Manifest, write_part
from tlkit.api.run_rows import RunRows
from tlkit.api.shards import Share
from tlkit.api.work_dir import remove_left_over, work_folder
from tlkit.errors import TlkitError
from tlkit.files import ImagePlaces, check_free
from tlkit.progress import Progress
from tlkit.words import plural

Rows = Callable[[Sequence[Path]], Generator[dict[str, Any], None, None]]


@dataclass(frozen=True)
class Part:
    """The result of writing a part.

    Attributes:
        output: The file.
        shard: Which share it is, such as "2/8".
        images: Number of images in it.
        skipped: (file, reason) of each that cannot be read.
        reused: Number of rows that come from a run that was resumed.
        seconds: Time taken.
    """

    output: Path
    shard: str
    images: int
    skipped: tuple[tuple[str, str], ...]
    reused: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        skipped = [{"file": file, "error": reason} for file, reason in self.skipped]
        return {**asdict(self), "output": str(self.output), "skipped": skipped}


def check_part_target(target: Path, places: ImagePlaces, option: str) -> None:
    """Check that a part can be written, before any work.

    Args:
        target: The part.
        places: Where the images lie.
        option: Name of the option, for messages.

    Raises:
        TlkitError: It cannot.
    """
    if os.path.lexists(target):
        remove_left_over(target)
    check_free(target, places, option)


def run_part(
    target: Path,
    manifest: Manifest,
    share: Share,
    found: Sequence[Path],
    compute: Rows,
    show: Progress,
    phase: str,
) -> Part:
    """Compute the rows of a share and write its part.

    Args:
        target: The new file.
        manifest: What the part says of itself.
        share: The share.
        found: Its images.
        compute: Returns the rows of images, in order: plain data, whose "file" is the path, and whose "error" is not
            None for an image that cannot be read.
        show: Progress reporter.
        phase: What the progress is called.

    Raises:
        TlkitError: The file cannot be written, another run is writing it, or there is an unfinished run that was
            asked for something else.
    """
    start, skipped = time.perf_counter(), []
    with work_folder(target) as folder:
        rows = RunRows(folder, found)
        try:
            rows.open({"command": manifest.command, "options": manifest.asked}, resume=True)
            with (
                show.phase(phase, len(found)) as advance,
                contextlib.closing(compute(found[rows.reused :])) as new,
            ):
                advance(rows.reused)
                for row in new:
                    rows.add(row)
                    advance(1)
            write_part(folder.part, manifest, share.places, rows.written())
            skipped = [(row["file"], row["error"]) for row in rows.written() if row["error"] is not None]
            folder.finish()
        except KeyboardInterrupt:
            show.note(f"{rows.done:,} of {plural(len(found), 'image')} done; to go on, run the same command again")
            raise
        except OSError as error:
            raise TlkitError(f"cannot write {target}: {error.strerror or error}") from error
        finally:
            rows.close()
    shard = f"{share.shard.number}/{share.shard.of}"
    return Part(target, shard, len(found), tuple(skipped), rows.reused, round(time.perf_counter() - start, 3))
