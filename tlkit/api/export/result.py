"""What an export comes to: `Exported`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.api.export.check import Agreement


@dataclass(frozen=True)
class ExportedFile:
    """A network in one format.

    Attributes:
        format: Name of the format.
        path: The file or folder.
        size: Its bytes.
        agreement: How it compares with ``predict``; None: it was converted, but its runtime cannot be had here.
    """

    format: str
    path: Path
    size: int
    agreement: Agreement | None

    def to_json(self) -> dict[str, Any]:
        """Return plain data; ``agreement`` is null for what was not run."""
        return {
            "format": self.format,
            "path": str(self.path),
            "size_bytes": self.size,
            "agreement": None if self.agreement is None else self.agreement.to_json(),
        }


@dataclass(frozen=True)
class Exported:
    """A bundle in other formats.

    Attributes:
        model: The bundle's folder.
        folder: The folder that was written.
        precision: "fp32", "fp16" or "int8".
        images: What the exports were checked on, such as "16 images held out from training".
        original_size: Bytes of the bundle's network.
        files: The exports, in the order asked for.
        card: What each of them says of itself, see `tlkit.formats.card.make_card`.
    """

    model: Path
    folder: Path
    precision: str
    images: str
    original_size: int
    files: tuple[ExportedFile, ...]
    card: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "model": str(self.model),
            "folder": str(self.folder),
            "precision": self.precision,
            "checked_on": self.images,
            "original_size_bytes": self.original_size,
            "exports": [each.to_json() for each in self.files],
            "card": dict(self.card),
        }
