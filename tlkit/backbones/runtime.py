"""The only module that imports TensorFlow and Keras."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tlkit.progress import Progress


def import_keras() -> ModuleType:
    """Import Keras on the TensorFlow backend, without TensorFlow's log noise, and return it.

    Only the first call takes time (several seconds). A user's ``keras.json`` with another backend or channel order is
    overridden for this process.
    """
    if _is_loaded():
        return sys.modules["keras"]
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
        import tensorflow as tf

        tf.constant(0)  # starts the devices, whose messages come from native code too
    tf.get_logger().setLevel("ERROR")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    return keras  # type: ignore[no-any-return]


def load_keras(progress: Progress) -> None:
    """Import Keras ahead of its first use, with a progress phase of its own, unless it is loaded already."""
    if not _is_loaded():
        with progress.phase("Loading TensorFlow", None):
            import_keras()


def _is_loaded() -> bool:
    return "keras" in sys.modules and "tensorflow" in sys.modules


def import_tensorflow() -> ModuleType:
    """Import TensorFlow as quietly as `import_keras` and return it."""
    import_keras()
    return sys.modules["tensorflow"]


_silencing = threading.Lock()
_silenced: list[int] = []  # a duplicate of descriptor 2, while any thread is in `silent_stderr`
_depth = 0


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Discard what native code writes to file descriptor 2, unless ``TLKIT_DEBUG`` is set.

    TensorFlow logs to it before its log level can be set, LiteRT at any time. Python's ``sys.stderr`` is silenced too;
    progress bars write to a duplicate and stay visible. Threads may overlap: the last one to leave restores it.
    """
    if os.environ.get("TLKIT_DEBUG", "") not in ("", "0"):
        yield
        return
    _silence()
    try:
        yield
    finally:
        _restore()


def _silence() -> None:
    global _depth
    with _silencing:
        _depth += 1
        if _depth > 1:
            return
        try:
            sys.stderr.flush()
            kept = os.dup(2)
        except (OSError, AttributeError, ValueError):  # no stderr at all, as in a windowed program
            return
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        _silenced.append(kept)


def _restore() -> None:
    global _depth
    with _silencing:
        _depth -= 1
        if _depth == 0 and _silenced:
            kept = _silenced.pop()
            os.dup2(kept, 2)
            os.close(kept)
