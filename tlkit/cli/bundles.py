"""Which bundle a command works with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlkit.bundle.load import Bundle
    from tlkit.progress import Progress


def chosen_bundle(model: Path | None, show: Progress) -> Bundle:
    """The bundle that was named, else the newest in the current folder, which is said.

    Raises:
        TlkitError: There is none, or it is damaged.
    """
    from tlkit.bundle.load import load

    bundle = load(model)
    if model is None:
        show.note(f"model: {bundle.path}")
    return bundle
