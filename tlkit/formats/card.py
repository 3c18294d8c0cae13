"""What an exported network says of itself: its card, and the lines of its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlkit.jsontext import json_text
from tlkit.linear.ood import OodStatistics
from tlkit.version import VERSION

CARD, LABELS = "tlkit.json", "labels.txt"
"""Names of the card and of the labels, in formats that keep them as files."""

RESIZE = "stretch to size with an antialiased bicubic filter, after turning the image upright as its EXIF data says"


def make_card(
    manifest: Mapping[str, Any], name: str, precision: str, ood: OodStatistics | None = None
) -> dict[str, Any]:
    """Return the card of an exported network: plain data for JSON.

    Args:
        manifest: Contents of the bundle's ``tlkit.json``.
        name: Name of the bundle's folder.
        precision: One of `tlkit.plan.choices.PRECISIONS`.
        ood: The bundle's OOD statistics; None if it has none.

    Returns:
        ``tlkit``: version of the exporter. ``classes``: names, in the order of the probabilities. ``input``: ``size``
        [height, width] in pixels, ``colour`` and ``range`` of the values, ``resize``: how images are brought to that
        size. ``temperature``: by which the logits were divided, as part of the weights; None: they were not.
        ``unknown``: ``rate`` 0..1 of known images that may be called unknown, and the ``threshold`` of the OOD score
        (None: nothing is unknown) that belongs to it; None without OOD statistics. ``precision``. ``source``: what the
        network was exported from, with the SHA-256 of the bundle's manifest, which holds those of its files.
    """
    rate = float((manifest.get("unknown") or {}).get("rate", 0.0))
    limit = None if ood is None else ood.threshold(rate)
    return {
        "tlkit": VERSION,
        "classes": list(manifest["classes"]),
        "input": {"size": list(manifest["input_size"]), "colour": "RGB", "range": [0, 255], "resize": RESIZE},
        "temperature": (manifest.get("calibration") or {}).get("temperature"),
        "unknown": None if limit is None else {"rate": rate, "threshold": limit if limit < float("inf") else None},
        "precision": precision,
        "source": {
            "name": name,
            "sha256": manifest["digest"],
            "tlkit": manifest.get("tlkit"),
            "created": manifest.get("created"),
            "backbone": manifest["backbone"],
            "strategy": manifest["strategy"],
        },
    }


def card_text(card: Mapping[str, Any]) -> str:
    """Return a card as JSON in ASCII: names of any kind are in it, also those that UTF-8 cannot encode."""
    return json_text(dict(card))


def labels_text(classes: Sequence[str]) -> str:
    """Return the contents of ``labels.txt``: one line per class, even if a name has line breaks."""
    return "".join(" ".join(name.splitlines()) + "\n" for name in classes)


def labels_bytes(classes: Sequence[str]) -> bytes:
    r"""Return `labels_text` in UTF-8; what that cannot encode becomes escapes such as ``\udcff``."""
    return labels_text(classes).encode("utf-8", "backslashreplace")
