"""Choose the bundle that a command works with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlkit.bundle.load import Bundle
    from tlkit.progress import Progress


def chosen_bundle(model: Path | None, show: Progress) -> Bundle:
    """Load the named bundle, or the newest in the current folder, and say which one.

    Raises:
        TlkitError: There is no bundle, or it is damaged.
    """
    from tlkit.bundle.load import load

    bundle = load(model)
    if model is None:
        show.note(f"model: {bundle.path}")
    return bundle
