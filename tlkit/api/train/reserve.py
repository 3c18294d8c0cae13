"""The name of a bundle, reserved from the start of a run to its end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tlkit.api.train.run_dir import (
    Place,
    RunDir,
    free_place,
    open_run,
    resumed_place,
    run_folder,
)
from tlkit.bundle.beside import is_being_written, lock_file, sweep, sweep_folder
from tlkit.errors import TlkitError
from tlkit.locks import HeldError, Holder, holder_of, locked


@contextlib.contextmanager
def reserved(images: Path, output: str | None, overwrite: bool, name: str | None = None) -> Iterator[Place]:
    """Choose where the bundle goes and keep other runs from that name; remove what killed runs left there.

    Args:
        images: The image folder, or the table of labels.
        output: The folder that the user asked for; None: a free name in the current folder.
        overwrite: Whether an existing bundle may be replaced.
        name: What to call the bundle if nobody said; None: as the images.

    Raises:
        TlkitError: As `free_place`, or a run that is alive writes this bundle.
    """
    own_name = output is not None or overwrite
    while True:
        if output is not None:
            _refuse_busy(Path(os.path.abspath(Path(output).expanduser())))  # noqa: PTH100
        place = free_place(images, output, overwrite, name)
        with contextlib.ExitStack() as stack:
            try:
                _enter(stack, place.target)
            except HeldError as error:
                if own_name:
                    raise _busy(place.target, error.holder) from None
                continue  # the next free name
            sweep(place.target)
            if not own_name and (os.path.lexists(place.target) or os.path.lexists(run_folder(place.target))):
                continue  # another run was quicker, and has ended already
            sweep_folder(place.target.parent)
            yield place
            return


@contextlib.contextmanager
def reserved_run(folder: str | os.PathLike[str]) -> Iterator[tuple[RunDir, Place]]:
    """Open an unfinished run, keep others from resuming it too, and say where its bundle goes.

    Raises:
        TlkitError: As `open_run` and `resumed_place`, or another process works on it.
    """
    run = open_run(folder)
    with contextlib.ExitStack() as stack:
        try:
            _enter(stack, run.place.target)
        except HeldError as error:
            raise _busy(run.place.target, error.holder) from None
        sweep(run.place.target)
        run = open_run(folder)  # as it is now that nobody else works on it
        yield run, resumed_place(run)


def _enter(stack: contextlib.ExitStack, target: Path) -> None:
    try:
        stack.enter_context(locked(lock_file(target)))
    except OSError as error:
        raise TlkitError(f"cannot write to {target.parent}: {error.strerror or error}") from error


def _refuse_busy(target: Path) -> None:
    if is_being_written(target):
        raise _busy(target, holder_of(lock_file(target)))


def _busy(target: Path, holder: Holder | None) -> TlkitError:
    who = f" ({holder})" if holder is not None else ""
    return TlkitError(
        f"another run is writing {target}{who}", "wait for it to end, or choose another name with --output"
    )
