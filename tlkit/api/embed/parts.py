"""Vectors in the parts that shards write: one of ``tlkit embed``, or of ``tlkit features``."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.embed.source import Source
from tlkit.backbones.extractor import columns_of
from tlkit.backbones.features import NOT_FINITE, Store, each_feature, feature_key
from tlkit.images.duplicates import FINGERPRINT_BYTES
from tlkit.schema import Digest, WrongDataError, parsed
from tlkit.store.features import DTYPE


def asked_of(source: Source) -> dict[str, Any]:
    """Return what vectors depend on besides the image, plain data: the same on every machine."""
    key = feature_key(source.extractor)
    return {
        "backbone": key.backbone,
        "weights": key.weights,
        "size": key.height,
        "reading": key.reading,
        "taps": [list(tap) for tap in key.taps],
        "blocks": [list(block) for block in source.blocks],
    }


def vector_text(vector: NDArray[np.float32], dtype: str = DTYPE) -> str:
    """Return a vector as text, rounded to ``dtype``, by default half precision, as the store has rounded it."""
    return base64.b64encode(np.asarray(vector, dtype=dtype).tobytes()).decode()


def vector_from(text: Any, columns: int, dtype: str = DTYPE) -> NDArray[np.float32]:
    """Return the vector, float32 [columns], of `vector_text`.

    Raises:
        WrongDataError: It is something else.
    """
    try:
        found = np.frombuffer(base64.b64decode(text, validate=True), dtype=dtype)
    except (ValueError, TypeError) as error:
        raise WrongDataError("a vector is damaged") from error
    if len(found) != columns or not np.isfinite(found).all():
        raise WrongDataError("a vector is damaged")
    return found.astype(np.float32)


def vector_rows(
    paths: Sequence[Path], source: Source, store: Store, workers: int | None
) -> Generator[dict[str, Any], None, None]:
    """Yield the row of each image, plain data: its file, content and vector, or why it cannot be read."""
    columns = columns_of(source.extractor.taps, [name for name, _ in source.blocks])
    with contextlib.closing(each_feature(paths, source.extractor, store=store, workers=workers)) as found:
        for item, stored, _ in found:
            file = str(paths[item.index])
            if stored is None:
                yield {"file": file, "error": item.error or NOT_FINITE}
            else:
                yield {
                    "file": file,
                    "error": None,
                    "sha256": item.content.hex(),
                    "print": stored.fingerprint.hex(),
                    "vector": vector_text(stored.vector[columns]),
                }


@dataclass(frozen=True, eq=False)
class VectorRow:
    """A row of `vector_rows`.

    Attributes:
        file: The path.
        error: Why there is no vector; None: there is one.
        content: SHA-256 of the file's bytes as hex; "" if it could not be read.
        fingerprint: Perceptual hash; empty: a blank image.
        vector: float32 [columns]; None likewise.
    """

    file: str
    error: str | None
    content: str
    fingerprint: bytes
    vector: NDArray[np.float32] | None


def vector_row(data: Any, columns: int) -> VectorRow:
    """Return a row of a part.

    Args:
        data: Plain data.
        columns: Length of a vector.

    Raises:
        WrongDataError, KeyError, TypeError, ValueError: It is something else.
    """
    file, error = parsed(str, data["file"], "file"), parsed(str | None, data["error"], "error")
    if error is not None:
        return VectorRow(file, error, "", b"", None)
    fingerprint = bytes.fromhex(data["print"])
    if len(fingerprint) not in (0, FINGERPRINT_BYTES):
        raise WrongDataError("a fingerprint is damaged")
    content = parsed(Digest, data["sha256"], "sha256")
    return VectorRow(file, None, content, fingerprint, vector_from(data["vector"], columns))
