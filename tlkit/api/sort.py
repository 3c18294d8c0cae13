"""``tlkit.sort_into`` and ``tlkit.undo``: put images into a folder for each class, and take that back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.api.inputs import PathLike, find_images, listed
from tlkit.api.places import places_named
from tlkit.api.predict import Asked, Prediction, rows_of
from tlkit.api.prediction_rows import Counts, kind_of
from tlkit.api.table_options import FileOptions
from tlkit.api.train.keywords import documented
from tlkit.bundle.load import Bundle, load
from tlkit.errors import TlkitError
from tlkit.moves.batch import Mover, TakenBack, Wanted, Went, take_back_all
from tlkit.moves.folders import folder_names
from tlkit.moves.journal import ACTIONS, COPY, read_journal
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress
from tlkit.remote import is_remote

if TYPE_CHECKING:
    from tlkit.api.inputs import Images
    from tlkit.images.given import GivenImage

ASIDE = ("unknown", "review", "unreadable")
"""Folders beside those of the classes, named like the fields of `Counts`."""


@dataclass(frozen=True)
class Sorted:
    """The result of sorting images into folders.

    Attributes:
        model: The bundle.
        into: The folder of folders.
        action: "copy", "move" or "link".
        journal: What `undo` needs; None after a dry run.
        counts: How many images there are of each kind, without those of an earlier run.
        files: Where each image went, in the order found.
        resumed: Number of images that went where they belong in an earlier run.
        seconds: Time taken.
    """

    model: Path
    into: Path
    action: str
    journal: Path | None
    counts: Counts
    files: Sequence[Went]
    resumed: int
    seconds: float

    @property
    def stayed(self) -> list[Went]:
        """Images that could not be copied, moved or linked."""
        return [each for each in self.files if each.target is None]

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "model": str(self.model),
            "into": str(self.into),
            "action": self.action,
            "journal": None if self.journal is None else str(self.journal),
            **self.counts.to_json(),
            "resumed": self.resumed,
            "files": [
                {"file": each.source, "to": None if each.target is None else str(each.target), "error": each.error}
                for each in self.files
            ],
            "seconds": self.seconds,
        }


@documented(FileOptions)
def sort_into(  # noqa: PLR0913  (one argument an option)
    images: Images,
    into: PathLike,
    model: PathLike | Bundle | None = None,
    *,
    action: str = COPY,
    dry_run: bool = False,
    unknown_rate: float | None = None,
    threshold: float | None = None,
    precision: float | None = None,
    each_class: bool = False,
    tta: bool = False,
    engine: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Sorted:
    """Label images and put each into the folder of its class.

    Images unlike those of training go into ``unknown``, those below the threshold or not sure enough for the precision
    into ``review``, and those that cannot be read into ``unreadable``. No file is ever replaced: one whose name is
    taken gets a number. A journal beside the folder, ``INTO.journal.jsonl``, says where every file came from: `undo`
    takes it back. The same call again goes on with a run that was killed or interrupted.

    Args:
        images: Files, folders, patterns, tables: see `tlkit.predict_iter`; no images in memory.
        into: The folder of class folders, new or not; it cannot lie inside a folder of the images.
        model: A bundle or its folder; None: the newest ``*.tlkit`` in the current folder.
        action: "copy", "move", or "link" (symbolic links).
        dry_run: Say where every file would go, and write nothing.
        unknown_rate: See `tlkit.predict_iter`.
        threshold: Probability, 0..1, below which an image goes into ``review``; None: none does.
        precision: Share of the images in the class folders that is to be right: what is not sure enough goes into
            ``review``; see `tlkit.predict_iter`.
        each_class: See `tlkit.predict_iter`.
        tta: See `tlkit.predict_iter`.
        engine: See `tlkit.predict_iter`.
        workers: See `tlkit.predict_iter`.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: As `tlkit.predict_iter`; an image is in memory, the folder is inside the images or cannot be
            written, there is no such action, another run uses the folder, or an unfinished run was asked for something
            else.
    """
    start, show, target = time.perf_counter(), progress or SilentProgress(), Path(into).expanduser()
    if action not in ACTIONS:
        raise TlkitError(f"unknown action '{action}'", f"one of {', '.join(ACTIONS)}")
    images = listed(images)  # an iterator can be used only once
    bundle = model if isinstance(model, Bundle) else load(model)
    asked = Asked.of(
        bundle,
        unknown_rate=unknown_rate,
        threshold=threshold,
        precision=precision,
        each_class=each_class,
        top=1,
        tta=tta,
        show=show,
    )
    found = _files(images, target, FileOptions.of("sort_into", options), show)
    mover = Mover(target, action, _asked(images, bundle, asked))
    counts, folders = Counts(), _Folders(bundle.classes)

    def rows(chosen: Sequence[Path]) -> Generator[Wanted, None, None]:
        with show.phase("Sorting", len(chosen)) as advance:
            for row in rows_of(chosen, bundle, asked, engine, workers):
                counts.add(row)
                yield Wanted(row.file, folders.of(row), row.label, row.probability)
                advance(1)

    went: list[Went]
    if dry_run:
        went = [Went(each.source, target / each.folder / Path(each.source).name) for each in rows(found)]
    else:
        with mover, contextlib.closing(rows([path for path in found if not mover.is_placed(str(path))])) as wanted:
            went = list(mover.send(wanted))
    return Sorted(
        model=bundle.path,
        into=target,
        action=action,
        journal=None if dry_run else target.with_name(mover.journal.name),
        counts=counts,
        files=went,
        resumed=mover.resumed,
        seconds=round(time.perf_counter() - start, 3),
    )


def undo(journal: PathLike, *, dry_run: bool = False, progress: Progress | None = None) -> TakenBack:
    """Take back what `sort_into` did, as its journal says: every file goes back where it was, copies and links go.

    What was changed since stays where it is, and is named. Nothing is replaced, and no copy is removed whose original
    is gone. It may be killed and repeated.

    Args:
        journal: The journal.
        dry_run: Change nothing; count what would be taken back.
        progress: Progress reporter.

    Raises:
        TlkitError: It is no journal, was taken back before, or is in use.
    """
    found = read_journal(Path(journal).expanduser())
    with (progress or SilentProgress()).phase("Taking back", len(found.steps)) as advance:
        return take_back_all(found, advance, dry_run=dry_run)


class _Folders:
    """The folder of each class, and those beside them."""

    def __init__(self, classes: Sequence[str]) -> None:
        names = folder_names(classes, ASIDE)
        self._classes = dict(zip(classes, names, strict=False))
        self._aside = dict(zip(ASIDE, names[len(classes) :], strict=True))

    def of(self, row: Prediction) -> str:
        """Return the folder of an image."""
        kind = kind_of(row)
        return self._classes[str(row.label)] if kind == "labelled" else self._aside[kind]


def _files(images: Sequence[Path | GivenImage], into: Path, table: FileOptions, show: Progress) -> list[Path]:
    """Find the images, all of which must be files, and not where they are to go.

    Raises:
        TlkitError: One is in memory, none is found, or the folder is inside one of theirs.
    """
    if places_named(images, table.columns).hold(into / "class"):
        raise TlkitError(f"--sort-into is inside the image folder: {into}", "choose another folder")
    files = []
    for image in find_images(images, table, show):
        if not isinstance(image, Path):
            raise TlkitError(f"{image} is in memory, so it cannot be sorted into a folder", "give paths of files")
        if is_remote(image):
            raise TlkitError(f"{image} is in an object store, so it cannot be sorted into a folder", "use --output")
        files.append(image)
    return files


def _asked(images: Sequence[Path | GivenImage], bundle: Bundle, asked: Asked) -> dict[str, Any]:
    """What decides where files go, as plain data."""
    return {
        "images": [str(each if not isinstance(each, Path) else each.absolute()) for each in images],
        "model": bundle.manifest["digest"],
        "unknown_limit": None if asked.limit is None else str(asked.limit),
        **{name.strip("-"): value for name, value in asked.to_json().items()},
        "tta": asked.tta,
    }
