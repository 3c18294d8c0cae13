"""What an unfinished run says of itself, ``run.json`` and ``decisions.json``, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tlkit.api.train.options import TrainOptions
from tlkit.bounded import read_json, why_not_json
from tlkit.errors import TlkitError
from tlkit.plan.fields import record_of
from tlkit.plan.plan import Plan
from tlkit.schema import Matching, Name

FORMAT = 2
RUN, DECISIONS = "run.json", "decisions.json"
MAX_BYTES = 4 << 20  # of each


@dataclass(frozen=True)
class RunNote:
    """Contents of ``run.json``.

    Attributes:
        format: `FORMAT`.
        tlkit: Version that wrote it.
        name: A random name, which is written into the bundle.
        target: Path of the bundle, of which only the name counts: the folder may have been moved.
        overwrite: Whether to replace what is there.
        request: The options of the run.
        plan: The plan it follows; None: it is not decided yet.
    """

    format: int
    tlkit: Name
    name: Annotated[str, Matching(r"[0-9a-f]{1,64}", "a name in hex")]
    target: Name
    overwrite: bool
    request: TrainOptions
    plan: Plan | None


def read_note(folder: Path) -> RunNote:
    """Read a run's ``run.json``.

    Raises:
        TlkitError: It cannot be read, another version wrote it, or a value is not as it must be.
    """
    note = _read(folder, RUN)
    if note.get("format") != FORMAT:
        version = str(note.get("tlkit"))[:20]
        raise TlkitError(f"{folder} was written by another version of tlkit ({version})", "train again")
    try:
        saved = record_of(RunNote, note, "run")
        Path("bundle").with_name(Path(saved.target).name)
    except TlkitError as error:
        raise damaged(folder, RUN, error.message) from error
    except ValueError as error:
        raise damaged(folder, RUN, "target is not the path of a bundle") from error
    return saved


def read_decisions(folder: Path) -> dict[str, Any]:
    """Read a run's ``decisions.json``, an object of any kind; empty if there is none.

    Raises:
        TlkitError: It cannot be read, or is not a JSON object.
    """
    return _read(folder, DECISIONS) if (folder / DECISIONS).exists() else {}


def damaged(folder: Path, name: str, reason: str) -> TlkitError:
    """Return the error for a file of a run that cannot be used."""
    return TlkitError(f"damaged run {folder}: cannot use {name}: {reason}", "delete the folder and train again")


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = read_json(folder / name, MAX_BYTES)
    except OSError as error:
        raise TlkitError(f"cannot read {folder / name}: {error.strerror or error}") from error
    except ValueError as error:
        raise damaged(folder, name, why_not_json(error)) from error
    if not isinstance(found, dict):
        raise damaged(folder, name, "it is not an object")
    return found
