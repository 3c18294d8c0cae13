"""Write the metrics of a training run for TensorBoard."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tlkit.backbones.runtime import import_tensorflow
from tlkit.errors import TlkitError
from tlkit.libraries import install_extra


@contextlib.contextmanager
def board(folder: str | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Provide a function that writes a row of metrics for TensorBoard; without a folder it does nothing."""
    if folder is None:
        yield lambda _: None
        return
    tf = import_tensorflow()
    writer = tf.summary.create_file_writer(folder)

    def observe(row: dict[str, Any]) -> None:
        with writer.as_default():
            for name, value in row.items():
                if name != "step" and value is not None:
                    tf.summary.scalar(name, value, step=row["step"])
        writer.flush()

    try:
        yield observe
    finally:
        writer.close()


def check_board(folder: str) -> None:
    """Refuse a folder that cannot be created or written, before any work.

    Raises:
        TlkitError: The folder cannot be created or written.
    """
    place = next(each for each in (Path(folder), *Path(folder).parents) if os.path.lexists(each))
    try:
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        Path(tempfile.mkdtemp(dir=place, prefix=".tlkit-")).rmdir()
    except OSError as error:
        raise TlkitError(f"cannot write to {place}: {error.strerror or error}", "see --tensorboard") from None


def require_tensorboard() -> None:
    """Refuse to continue without the tensorboard package.

    Raises:
        TlkitError: TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise TlkitError("TensorBoard is not installed", f"{install_extra('tensorboard')}, or omit --tensorboard")
