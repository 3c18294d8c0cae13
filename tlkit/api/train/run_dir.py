"""The folder of an unfinished run, beside the bundle it will become: ``NAME.tlkit-run``."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlkit.api.train.options import TrainOptions
from tlkit.bundle.save import MANIFEST, SUFFIX, choose_output
from tlkit.errors import TlkitError
from tlkit.finetune.checkpoint import STATE
from tlkit.version import VERSION

FORMAT = 1
RUN, SETTLED = "run.json", "settled.json"
RUN_SUFFIX = f"{SUFFIX}-run"


@dataclass(frozen=True)
class RunFolder:
    """A run that is or was under way.

    Attributes:
        path: Its folder.
        name: Random; the bundle it writes carries it.
        options: What was asked for.
        target: Where the bundle goes.
        overwrite: Whether a bundle that lay there when the run began may be replaced.
        resumed: Whether the run is being taken up again.
    """

    path: Path
    name: str
    options: TrainOptions
    target: Path
    overwrite: bool
    resumed: bool = field(default=False)

    @property
    def has_state(self) -> bool:
        """Whether training has got as far as a saved state."""
        return (self.path / STATE).is_file()

    def may_replace(self) -> bool:
        """Whether what lies at the target is this run's own, or was to be overwritten anyway."""
        return self.overwrite or _run_of(self.target) == self.name

    def settled(self) -> dict[str, Any]:
        """What the run has decided so far: its recipe, its data, what it wrote."""
        try:
            found = json.loads((self.path / SETTLED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def settle(self, **values: Any) -> None:
        """Add to what was decided.

        Raises:
            TlkitError: It cannot be written.
        """
        _write(self.path / SETTLED, {**self.settled(), **values})

    def remove(self) -> None:
        """Take the folder away: the run is over, or has not begun to train."""
        gone = self.path.with_name(f".{self.path.name}-{self.name}")
        with contextlib.suppress(OSError):  # renamed first: a part of a run would be neither one nor none
            self.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def run_folder(target: Path) -> Path:
    """Where the run that makes ``target`` keeps its state."""
    name = target.name.removesuffix(SUFFIX)
    return target.with_name(f"{name}{RUN_SUFFIX}")


def begin_run(options: TrainOptions, target: Path, overwrite: bool) -> RunFolder:
    """Make the folder of a new run.

    Raises:
        TlkitError: There is one of an unfinished run, and it is not to be overwritten; or it cannot be written.
    """
    path = run_folder(target)
    if os.path.lexists(path):
        if not (path / RUN).is_file():
            raise TlkitError(f"not the folder of a run, so not overwritten: {path}", "choose another --output")
        if not overwrite:
            hint = f"go on with it: tlkit train --resume {path.name}; or begin anew with --overwrite"
            raise TlkitError(f"there is an unfinished run: {path}", hint)
        RunFolder(path, secrets.token_hex(8), options, target, overwrite).remove()
    name = secrets.token_hex(8)
    note = {"format": FORMAT, "tlkit": VERSION, "name": name, "target": str(target), "overwrite": overwrite}
    part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{path.name}-"))
    try:
        _write(part / RUN, {**note, "options": options.to_json()})
        part.rename(path)
    except OSError as error:
        raise TlkitError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return RunFolder(path, name, options, target, overwrite)


def open_run(folder: str | os.PathLike[str]) -> RunFolder:
    """The run that a folder belongs to.

    Args:
        folder: Of the run, or of the bundle it makes.

    Raises:
        TlkitError: There is no such run, or it is of another version.
    """
    given = Path(os.path.abspath(Path(folder).expanduser()))  # noqa: PTH100
    path = given if (given / RUN).is_file() else run_folder(given)
    if not (path / RUN).is_file():
        if not given.exists():
            raise TlkitError(f"no such run: {given}", f"an unfinished run is a folder that ends in {RUN_SUFFIX}")
        if (given / MANIFEST).is_file():
            raise TlkitError(f"nothing to resume: {given} is a finished bundle", "train on from it with --from")
        raise TlkitError(f"not the folder of a run: {given} (no {RUN} in it)")
    try:
        note = json.loads((path / RUN).read_text(encoding="utf-8"))
        if note["format"] != FORMAT:
            raise TlkitError(f"{path} was written by another version of tlkit ({note.get('tlkit')})", "train anew")
        name, options = str(note["name"]), TrainOptions.from_json(note["options"])
        target, overwrite = path.with_name(Path(note["target"]).name), bool(note["overwrite"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TlkitError(f"damaged run {path}: {RUN} cannot be read", "delete the folder and train anew") from error
    return RunFolder(path, name, options, target, overwrite, resumed=True)


def free_target(images: Path, output: str | os.PathLike[str] | None, overwrite: bool) -> Path:
    """As `choose_output`; a name given by default is also free of unfinished runs."""
    return choose_output(
        images, output, overwrite, lambda target: os.path.lexists(target) or os.path.lexists(run_folder(target))
    )


def _run_of(bundle: Path) -> str | None:
    """The name of the run that wrote a bundle."""
    try:
        return str(json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, data: dict[str, Any]) -> None:
    """Replace a small file at once."""
    part = file.with_suffix(".part")
    try:
        with part.open("w", encoding="utf-8") as out:
            json.dump(data, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise TlkitError(f"cannot write {file}: {error.strerror or error}") from error
