"""``tlkit.review``: a local page to look at doubtful labels and correct them."""

from __future__ import annotations

import contextlib
import os
import secrets
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tlkit.api.check import check, folder_to_check
from tlkit.api.places import check_written, places_of
from tlkit.api.review_apply import Applied, check_movable
from tlkit.api.review_items import CONFLICT, Item, check_by_bundle, items_of
from tlkit.api.review_merge import merge_into
from tlkit.api.review_state import Decisions
from tlkit.api.table_options import TableOptions
from tlkit.api.train.keywords import documented
from tlkit.bundle.load import Bundle, load
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.folder import ImageFolder
from tlkit.images.labelled import data_name
from tlkit.progress import Progress, SilentProgress
from tlkit.serve.review_page import Review
from tlkit.serve.review_server import run_review

PathLike = str | os.PathLike[str]


@documented(TableOptions)
def review(  # noqa: PLR0913  (one argument an option)
    images: PathLike,
    model: PathLike | Bundle | None = None,
    *,
    output: PathLike | None = None,
    decisions: PathLike | None = None,
    move: bool = False,
    merge: Sequence[PathLike] | PathLike = (),
    every: bool = False,
    apply: bool = False,
    port: int = 0,
    browser: bool = True,
    started: Callable[[str], None] | None = None,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Applied | None:
    """Show doubtful labels on a local page, until the page is closed with "done" or the process is interrupted.

    Nothing changes on disk but the file of decisions, to which every decision is added at once, before "apply" is
    pressed on the page: that writes a new labels table, or moves files by a journal (see `tlkit.undo`).

    Args:
        images: A folder of class folders, or a table of files and labels, as for training.
        model: A bundle, whose predictions show wrong labels and unknown images; None: cross-validated probes.
        output: The labels table; None: ``NAME-labels.csv`` in the current folder.
        decisions: The file of decisions, which another review goes on with; None: ``NAME.review.jsonl`` in the
            current folder.
        move: Move files into the folders of their classes, and excluded ones into ``NAME-excluded`` beside the images,
            instead of writing a table.
        merge: Labels tables or files of decisions of other people, to be merged first.
        every: Whether to show all images, after those in doubt.
        apply: Apply the decisions so far, without a page.
        port: Port on 127.0.0.1; 0: any free one.
        browser: Whether to open the page in the browser.
        started: Called with the page's address, which has the token in it.
        workers: Threads to read images with; None: all cores.
        seed: Random seed of the cross-validation.
        progress: Progress reporter.
        options: As follows.

    Returns:
        What was applied last; None: nothing was.

    Raises:
        TypeError: There is no such option.
        TlkitError: There is no such folder or bundle, a file cannot be written or is among the images, another review
            uses the decisions, or the port is taken.
    """
    table, show = TableOptions.of("review", options), progress or SilentProgress()
    folder = folder_to_check(images, table, show)
    name = data_name(folder.source)
    target = None if move else Path(output or f"{name}-labels.csv").expanduser()
    notes = Path(decisions or f"{name}.review.jsonl").expanduser()
    _check_places(folder, images, table, target if output is not None else None, notes)
    if move:
        check_movable(folder)
    context = Context(show, workers, seed)
    bundle = None if model is None else model if isinstance(model, Bundle) else load(model)
    others = [merge] if isinstance(merge, str | os.PathLike) else list(merge)
    with Decisions(notes, name) as made:
        for other in others:
            merge_into(made, Path(other).expanduser(), folder, table, show)
        if apply:
            return Review(folder, [], made, target, None).apply()
        unknown: set[str] = set()
        if bundle is None:
            asked: dict[str, Any] = {"workers": workers, "seed": seed, "progress": show, **table.given()}
            found = check(images, **asked)
        else:
            found, unknown = check_by_bundle(folder, bundle, context)
        items = [*_conflicts(folder, made), *items_of(folder, found, unknown, every=every)]
        items = list({each.file: each for each in reversed(items)}.values())[::-1]
        held = Review(folder, items, made, target, bundle)

        def begun(url: str) -> None:
            if started is not None:
                started(url)
            if browser:
                with contextlib.suppress(Exception):  # there may be no browser here
                    webbrowser.open(url)

        run_review(held, secrets.token_urlsafe(24), port, begun)
        return held.applied


def _check_places(folder: ImageFolder, images: PathLike, table: TableOptions, output: Path | None, notes: Path) -> None:
    check_written([Path(images)], table.columns, {"--output": output})
    if not notes.exists():
        check_written([Path(images)], table.columns, {"--decisions": notes})
    if places_of(folder).hold(notes):
        raise TlkitError(f"--decisions is inside the image folder: {notes}", "choose another path")


def _conflicts(folder: ImageFolder, made: Decisions) -> list[Item]:
    labels = {file: folder.classes[label] for file, label in zip(folder.files, folder.labels, strict=True)}
    return [
        Item(file, labels[file], CONFLICT, "; ".join(f"{who} says {what}" for who, what in its.said))
        for file, its in made.now.items()
        if its.what == "conflict" and file in labels
    ]
