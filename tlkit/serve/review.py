"""``tlkit.review``: a local page to look at doubtful labels and correct them."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tlkit.api.check import check, folder_to_check
from tlkit.api.places import check_written, places_of
from tlkit.api.review_apply import Applied, check_movable, free_output, move_files, take_back, write_table
from tlkit.api.review_items import CONFLICT, Item, check_by_bundle, items_of
from tlkit.api.review_merge import merge_into
from tlkit.api.review_state import Decision, Decisions
from tlkit.api.table_options import TableOptions
from tlkit.api.train.keywords import documented
from tlkit.bundle.load import Bundle, load
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.files import file_hash
from tlkit.images.batches import load_image
from tlkit.images.folder import ImageFolder
from tlkit.images.labelled import data_name
from tlkit.progress import Progress, SilentProgress

PathLike = str | os.PathLike[str]
SIDE = 1200  # pixels of the longer side of an image on the page
QUALITY = 90


class Review:
    """Everything that the page shows and does. Several threads may call it.

    Attributes:
        folder: The images.
        items: The images to look at.
        decisions: What was decided.
        applied: What was applied last, until it is taken back; None: nothing.
    """

    def __init__(
        self,
        folder: ImageFolder,
        items: Sequence[Item],
        decisions: Decisions,
        output: Path | None,
        bundle: Bundle | None,
    ) -> None:
        self.folder, self.items, self.decisions = folder, items, decisions
        self._output, self._bundle = output, bundle  # no output: files are moved
        self._paths = dict(zip(folder.files, folder.paths, strict=True))
        self._mutex = threading.Lock()
        self._maps: Any = None
        self._digest: str | None = None
        self.applied: Applied | None = None

    def decide(self, file: str, what: str, label: str = "") -> None:
        """Note a decision on an image.

        Raises:
            TlkitError: There is no such image or class, or the decisions were applied already.
        """
        if file not in self._paths:
            raise TlkitError("there is no such image")
        if what == "label" and label not in self.folder.classes:
            raise TlkitError(f"there is no class '{label}'")
        self._refuse_applied()
        self.decisions.add(Decision(file, what, label if what == "label" else ""))

    def undo(self) -> str | None:
        """Take back what was applied, or else the last decision; return the image that it was on."""
        if self.applied is not None:
            self.unapply()
            return None
        undone = self.decisions.undo()
        return None if undone is None else undone.file

    def apply(self) -> Applied:
        """Carry the decisions out.

        Raises:
            TlkitError: That was done already, or nothing can be written.
        """
        with self._mutex:
            self._refuse_applied()
            now = self.decisions.now
            if self._output is None:
                self.applied = move_files(self.folder, now)
            else:
                self.applied = write_table(self.folder, now, free_output(self._output))
                self._digest = file_hash(self.applied.output) if self.applied.output is not None else None
            return self.applied

    def unapply(self) -> None:
        """Take back what was applied.

        Raises:
            TlkitError: Nothing was, or it was changed since.
        """
        with self._mutex:
            if self.applied is None:
                raise TlkitError("nothing was applied")
            if left := take_back(self.applied, self._digest):
                raise TlkitError(f"{left[0][0]} cannot be taken back: {left[0][1]}")
            self.applied = None

    def _refuse_applied(self) -> None:
        if self.applied is not None:
            raise TlkitError("the decisions were applied", "press u to take that back")

    def picture(self, file: str, label: str | None = None) -> bytes | None:
        """Return an image as JPEG, or with a label what the model sees of that class in it; None: it cannot be made."""
        path = self._paths.get(file)
        if path is None or (label is not None and self._bundle is None):
            return None
        found = load_image(path, None, within=SIDE).image
        if found is None:
            return None
        if label is None:
            return _jpeg(found.pixels)
        return self._explained(path, found.pixels, label)

    def _explained(self, path: Path, pixels: Any, label: str) -> bytes | None:
        import numpy as np

        from tlkit.api.explain import class_maps
        from tlkit.report.overlay import overlay

        bundle = self._bundle
        small = load_image(path, None if bundle is None else bundle.input_size).image
        if bundle is None or small is None or label not in bundle.classes:
            return None
        with self._mutex:
            self._maps = self._maps or class_maps(bundle)
            (heat,) = self._maps(small.pixels[None], np.array([bundle.classes.index(label)]))
            return _jpeg(overlay(pixels, heat))

    def to_json(self) -> dict[str, Any]:
        """Return plain data: all that the page shows."""
        now = self.decisions.now
        items = []
        for each in self.items:
            its = now.get(each.file)
            said = None if its is None else {"what": its.what, "label": its.label, "by": its.by, "said": list(its.said)}
            items.append({**each.to_json(), "decision": said})
        return {
            "name": data_name(self.folder.source),
            "classes": list(self.folder.classes),
            "items": items,
            "explains": self._bundle is not None,
            "moves": self._output is None,
            "decisions": str(self.decisions.path),
            "applied": None if self.applied is None else self.applied.to_json(),
        }


def _jpeg(pixels: Any) -> bytes:
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=QUALITY)
    return data.getvalue()


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
        from tlkit.serve.review_server import run_review

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
