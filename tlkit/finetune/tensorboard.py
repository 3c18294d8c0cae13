"""Figures of a training run for TensorBoard."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

from tlkit.backbones.runtime import import_tensorflow
from tlkit.errors import TlkitError


@contextlib.contextmanager
def board(folder: str | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Something that writes each row of figures for TensorBoard, where that was asked for."""
    if folder is None:
        yield lambda row: None
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


def require_tensorboard() -> None:
    """Raise where the package is missing.

    Raises:
        TlkitError: It is.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise TlkitError("TensorBoard is not installed", 'pip install "tlkit[tensorboard]", or leave --tensorboard out')
