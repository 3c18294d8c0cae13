"""What the page of a review shows and does."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlkit.api.review_apply import Applied, free_output, move_files, take_back, write_table
from tlkit.api.review_items import Item
from tlkit.api.review_state import Decision, Decisions
from tlkit.bundle.load import Bundle
from tlkit.errors import TlkitError
from tlkit.files import file_hash
from tlkit.images.batches import load_image
from tlkit.images.folder import ImageFolder
from tlkit.images.labelled import data_name

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
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=QUALITY)
    return data.getvalue()
