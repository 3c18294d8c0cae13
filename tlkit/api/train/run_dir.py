"""The folder of an unfinished run, beside the bundle it will write: ``NAME.tlkit-run``."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tlkit.api.train.options import TrainOptions
from tlkit.api.train.run_note import DECISIONS, FORMAT, RUN, read_decisions, read_note
from tlkit.bounded import read_json
from tlkit.bundle.beside import RUN as HIDDEN
from tlkit.bundle.beside import hidden_folder, is_being_written
from tlkit.bundle.manifest import MAX_MANIFEST
from tlkit.bundle.save import MANIFEST, SUFFIX, choose_output
from tlkit.context import Context
from tlkit.durable import rename_new, sync_folder
from tlkit.errors import TlkitError
from tlkit.files import check_path, replace_json
from tlkit.finetune.checkpoint import STATE
from tlkit.plan.choices import AUTO
from tlkit.plan.plan import Plan
from tlkit.version import VERSION

RUN_SUFFIX = f"{SUFFIX}-run"


@dataclass(frozen=True)
class Place:
    """Where a bundle goes.

    Attributes:
        target: Its folder.
        overwrite: Whether to replace what is there.
    """

    target: Path
    overwrite: bool = False


@dataclass(frozen=True)
class RunDir:
    """An unfinished run.

    Attributes:
        path: Its folder.
        name: A random name, which is written into its bundle.
        request: The options of the run.
        plan: The plan it follows; None: it is not decided yet.
        place: Where the bundle goes, and whether to replace one that was there when the run started.
        resumed: Whether the run is being resumed.
    """

    path: Path
    name: str
    request: TrainOptions
    plan: Plan | None
    place: Place
    resumed: bool = field(default=False)

    @property
    def has_state(self) -> bool:
        """Whether training has saved a state."""
        return (self.path / STATE).is_file()

    def may_replace(self) -> bool:
        """Whether the bundle at the target is this run's own, or is to be overwritten anyway."""
        return self.place.overwrite or _run_of(self.place.target) == self.name

    def follow(self, plan: Plan) -> RunDir:
        """Return the run with a plan that is now decided, and keep it.

        Raises:
            TlkitError: It cannot be written.
        """
        run = replace(self, plan=plan)
        replace_json(self.path / RUN, _note_of(run))
        return run

    def decisions(self) -> dict[str, Any]:
        """Read what the run has decided so far: its recipe, its data.

        Raises:
            TlkitError: It cannot be read.
        """
        return read_decisions(self.path)

    def decide(self, **values: Any) -> None:
        """Add decisions.

        Raises:
            TlkitError: It cannot be written.
        """
        replace_json(self.path / DECISIONS, {**self.decisions(), **values})

    def remove(self) -> None:
        """Remove the folder: the run is finished, or has not started to train."""
        gone = self.path.with_name(f".{self.place.target.name}-{HIDDEN}-{self.name[:8]}")
        with contextlib.suppress(OSError):  # renamed first, so that a half-removed run is never found
            self.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


class RunKeeper:
    """Makes the folder of a run that trains weights, and keeps it only while the run can be resumed.

    Args:
        request: The options of the run.
        place: Where the bundle goes.
        context: Context of the run, whose progress reporter says how to resume.
        resumed: The run to resume.
    """

    def __init__(self, request: TrainOptions, place: Place, context: Context, resumed: RunDir | None) -> None:
        self._request, self._place, self._context = request, place, context
        self.run = resumed

    def begin(self, plan: Plan, *, decided: bool) -> RunDir | None:
        """Make the run's folder; None if only a head is solved, or "auto" has not decided yet.

        Args:
            plan: What to do.
            decided: Whether all is decided, so that a resumed run follows this plan.
        """
        if self.run is None and plan.tunes and plan.strategy != AUTO:
            self.run = begin_run(self._request, plan if decided else None, self._place)
        if self.run is not None and self.run.plan is None and decided:
            self.run = self.run.follow(plan)
        return self.run

    @contextlib.contextmanager
    def watching(self) -> Iterator[RunKeeper]:
        """After an interrupt, say how to resume; after an error, remove a folder that cannot be resumed."""
        try:
            yield self
        except KeyboardInterrupt:
            if self.run is not None:
                self._context.show.note(f"to resume: tlkit train --resume {shlex.quote(str(self.run.path))}")
            raise
        except TlkitError:
            if self.run is not None and not self.run.has_state and not self.run.resumed:
                self.run.remove()
            raise

    def finish(self, interrupted: bool) -> Path | None:
        """Remove the folder, or return it if the run was interrupted."""
        if self.run is None:
            return None
        if interrupted:
            return self.run.path
        self.run.remove()
        return None


def run_folder(target: Path) -> Path:
    """The folder in which the run that writes ``target`` keeps its state."""
    name = target.name.removesuffix(SUFFIX)
    return target.with_name(f"{name}{RUN_SUFFIX}")


def refuse_unfinished(place: Place) -> None:
    """Refuse, before any work, to start beside an unfinished run.

    Raises:
        TlkitError: There is one, and it is not to be overwritten; or something else is there.
    """
    path = run_folder(place.target)
    if not os.path.lexists(path):
        return
    if not (path / RUN).is_file():
        raise TlkitError(f"{path} exists and is not the folder of a run", "choose another --output")
    if not place.overwrite:
        hint = f"resume it: tlkit train --resume {shlex.quote(path.name)}; or start again with --overwrite"
        raise TlkitError(f"there is an unfinished run: {path}", hint)


def begin_run(request: TrainOptions, plan: Plan | None, place: Place) -> RunDir:
    """Make the folder of a new run.

    Raises:
        TlkitError: As `refuse_unfinished`, or it cannot be written.
    """
    path, name = run_folder(place.target), secrets.token_hex(8)
    run = RunDir(path, name, request, plan, place)
    refuse_unfinished(place)
    if os.path.lexists(path):
        run.remove()
    part: Path | None = None
    try:
        part = hidden_folder(place.target, HIDDEN)
        replace_json(part / RUN, _note_of(run))
        sync_folder(part)
        rename_new(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise TlkitError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return run


def _note_of(run: RunDir) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "tlkit": VERSION,
        "name": run.name,
        "target": str(run.place.target),
        "overwrite": run.place.overwrite,
        "request": run.request.to_json(),
        "plan": None if run.plan is None else run.plan.to_json(),
    }


def open_run(folder: str | os.PathLike[str]) -> RunDir:
    """Open the run that a folder belongs to.

    Args:
        folder: The run's folder, or the bundle it writes.

    Raises:
        TlkitError: There is no such run, or another version wrote it.
    """
    given = Path(os.path.abspath(Path(folder).expanduser()))  # noqa: PTH100
    check_path(given, "--resume")
    path = given if (given / RUN).is_file() else run_folder(given)
    if not (path / RUN).is_file():
        if not given.exists():
            raise TlkitError(f"no such run: {given}", f"an unfinished run is a folder that ends in {RUN_SUFFIX}")
        if (given / MANIFEST).is_file():
            raise TlkitError(f"nothing to resume: {given} is a finished bundle", "start from it with --from")
        raise TlkitError(f"not the folder of a run: {given} (no {RUN} in it)")
    note = read_note(path)
    place = Place(path.with_name(Path(note.target).name), note.overwrite)
    return RunDir(path, note.name, note.request, note.plan, place, resumed=True)


def is_taken(target: Path) -> bool:
    """Whether there is a bundle or an unfinished run of this name, or a run that is alive will write one."""
    return os.path.lexists(target) or os.path.lexists(run_folder(target)) or is_being_written(target)


def free_place(images: Path, output: str | None, overwrite: bool, name: str | None = None) -> Place:
    """Choose where the bundle goes, before any work; a default name also avoids unfinished runs and those alive.

    Raises:
        TlkitError: As `tlkit.bundle.save.choose_output` and `refuse_unfinished`.
    """
    if output is not None:
        refuse_unfinished(Place(Path(os.path.abspath(Path(output).expanduser())), overwrite))  # noqa: PTH100
    place = Place(choose_output(images, output, overwrite, is_taken, name), overwrite)
    refuse_unfinished(place)
    return place


def resumed_place(run: RunDir) -> Place:
    """Where the bundle of a resumed run goes.

    Raises:
        TlkitError: Something else is there by now.
    """
    overwrite = run.may_replace()
    if os.path.lexists(run.place.target) and not overwrite:
        raise TlkitError(f"output exists: {run.place.target}", "move it away, then resume")
    return replace(run.place, overwrite=overwrite)


def _run_of(bundle: Path) -> str | None:
    """The name of the run that wrote a bundle."""
    try:
        found = read_json(bundle / MANIFEST, MAX_MANIFEST)
    except (OSError, ValueError):
        return None
    name = found.get("run") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None
