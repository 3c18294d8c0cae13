"""``tlkit backbones fetch``: download weights ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlkit.backbones import catalog
from tlkit.backbones.catalog.fetch import Fetched, fetch
from tlkit.progress import Progress, SilentProgress


def fetch_weights(names: Sequence[str], progress: Progress | None = None) -> list[Fetched]:
    """Download the ImageNet weights of backbones that are not on this machine yet, one after another.

    Args:
        names: Any spellings of catalogue names.
        progress: Progress reporter, in megabytes.

    Raises:
        TlkitError: A name is unknown (raised before any download), or as `tlkit.backbones.catalog.fetch.fetch`; files
            downloaded before that are kept.
    """
    rows = list(dict.fromkeys(catalog.get(name) for name in names))
    return [fetch(row, progress or SilentProgress()) for row in rows]


def to_json(fetched: Sequence[Fetched]) -> dict[str, Any]:
    """Return plain data."""
    return {
        "fetched": [
            {
                "name": each.name,
                "file": None if each.file is None else str(each.file),
                "bytes": each.bytes,
                "had": each.had,
                "verified": each.verified,
            }
            for each in fetched
        ]
    }
