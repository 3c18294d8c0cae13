"""Save the state of a training run atomically, so that a run killed at any time can resume."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.bounded import parse_json
from tlkit.errors import TlkitError
from tlkit.npz import read_npz

STATE = "state.npz"
MAX_BYTES = 64 << 30
_NOTE = "note"
_FORMAT = 1

Arrays = dict[str, NDArray[Any]]


def save_state(folder: Path, arrays: Mapping[str, NDArray[Any]], note: dict[str, Any]) -> None:
    """Replace the state in a folder atomically: readers find the old or the new state, never a partial one.

    Args:
        folder: An existing folder.
        arrays: Arrays by name; "note" is reserved.
        note: Plain data to save with them.

    Raises:
        TlkitError: The state cannot be written; the old one is kept.
    """
    text = json.dumps({"format": _FORMAT, "names": sorted(arrays), **note})
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".state-", suffix=".part")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **{_NOTE: np.frombuffer(text.encode(), np.uint8), **arrays})  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            part.replace(folder / STATE)
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
    except OSError as error:
        raise TlkitError(f"cannot save the state in {folder}: {error.strerror or error}") from error


def remove_state(folder: Path) -> None:
    """Remove the state saved in a folder, if there is one."""
    (folder / STATE).unlink(missing_ok=True)


def load_state(folder: Path) -> tuple[Arrays, dict[str, Any]] | None:
    """Return the arrays and note saved by `save_state`, or None if there are none.

    Raises:
        TlkitError: The state is damaged or from another version.
    """
    try:
        arrays = read_npz(folder / STATE, MAX_BYTES)
        note = parse_json(arrays.pop(_NOTE).tobytes(), finite=False)
        known = isinstance(note, dict) and note.pop("format", None) == _FORMAT
        if known and note.pop("names", None) != sorted(arrays):
            raise ValueError("arrays are missing")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        raise damaged_state(folder, error) from error
    if not known:
        raise TlkitError(f"{folder / STATE} was written by another version of tlkit", "start a new run")
    for left in folder.glob(".state-*.part"):  # left by a run killed while saving
        with contextlib.suppress(OSError):
            left.unlink()
    return arrays, note


def damaged_state(folder: Path, error: Exception) -> TlkitError:
    """Return the error for a state that cannot be used."""
    reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:120]
    return TlkitError(f"damaged state {folder / STATE}: {reason}", "delete this file to restart the run")
