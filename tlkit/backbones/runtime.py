"""The only module that imports TensorFlow and Keras."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tlkit.errors import TlkitError
from tlkit.libraries import NAMES, require_keras
from tlkit.progress import Progress
from tlkit.store.bound import keep_font_list

ADDRESS_SPACE = 1_600_000_000  # bytes that TensorFlow reserves when it starts


def import_keras() -> ModuleType:
    """Import Keras on the TensorFlow backend, without TensorFlow's log noise, and return it.

    Only the first call takes time (several seconds). A user's ``keras.json`` with another backend or channel order is
    overridden for this process.

    Raises:
        TlkitError: TensorFlow or Keras is not installed, or there is too little address space.
    """
    if _is_loaded():
        return sys.modules["keras"]
    require_keras("this")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keep_font_list()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # Keras imports it; it warns where it cannot write
    _check_address_space()
    with silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
        import tensorflow as tf

        tf.constant(0)  # starts the devices, whose messages come from native code too
    tf.get_logger().setLevel("ERROR")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    return keras  # type: ignore[no-any-return]


def _check_address_space() -> None:
    """Refuse to start TensorFlow where a limit (``ulimit -v``) would make it abort the process.

    Raises:
        TlkitError: There is such a limit.
    """
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # other systems
        return
    if limit not in (resource.RLIM_INFINITY, -1) and limit - used < ADDRESS_SPACE:
        raise TlkitError(
            f"TensorFlow needs {ADDRESS_SPACE / 1e9:.1f} GB of address space more than there is", "raise ulimit -v"
        )


def load_keras(progress: Progress) -> None:
    """Import Keras ahead of its first use, with a progress phase of its own, unless it is loaded already."""
    if not _is_loaded():
        with progress.phase("Loading TensorFlow", None):
            import_keras()


def _is_loaded() -> bool:
    return all(sys.modules.get(module) is not None for module in NAMES)


def import_tensorflow() -> ModuleType:
    """Import TensorFlow as quietly as `import_keras` and return it."""
    import_keras()
    return sys.modules["tensorflow"]


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Let TensorFlow compute in float32 on a GPU too, where it rounds factors to 10 bits (TF32) by default."""
    config = import_tensorflow().config.experimental
    before = config.tensor_float_32_execution_enabled()
    config.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        config.enable_tensor_float_32_execution(before)


_silencing = threading.Lock()
_silenced: list[tuple[int, int]] = []  # descriptors with a duplicate, while any thread is in `silent_stderr`
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
            numbers = {2, sys.stderr.fileno()}
            kept = [(number, os.dup(number)) for number in numbers]
        except (OSError, AttributeError, ValueError):  # no stderr at all, as in a windowed program
            return
        with Path(os.devnull).open("wb") as nowhere:
            for number in numbers:
                os.dup2(nowhere.fileno(), number)
        _silenced.extend(kept)


def _restore() -> None:
    global _depth
    with _silencing:
        _depth -= 1
        if _depth == 0:
            with contextlib.suppress(OSError, AttributeError, ValueError):
                sys.stderr.flush()
            while _silenced:
                number, kept = _silenced.pop()
                os.dup2(kept, number)
                os.close(kept)
