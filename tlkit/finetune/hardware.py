"""Precision, devices and memory settings for fine-tuning."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

from tlkit.backbones.runtime import import_keras, import_tensorflow
from tlkit.errors import TlkitError

FLOAT32, BFLOAT16 = "float32", "bfloat16"
_BFLOAT16_FROM = (8, 0)  # lowest compute capability of NVIDIA GPUs with bfloat16 matrix units
# glibc's mallopt: parameters and values
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def choose_precision(wanted: bool | None) -> str:
    """Choose the compute precision: "float32" or "bfloat16".

    bfloat16 needs no loss scaling, unlike float16.

    Args:
        wanted: Whether the user asked for mixed precision; None: use it if all GPUs support bfloat16.
    """
    if wanted is not None:
        return BFLOAT16 if wanted else FLOAT32
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    able = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    return BFLOAT16 if able and all(each >= _BFLOAT16_FROM for each in able) else FLOAT32


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Build layers that compute in this precision; their weights are always float32."""
    keras = import_keras()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == BFLOAT16 else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """Turn a MemoryError, raised if not even one image at a time fits, into a clear message.

    Raises:
        TlkitError: Memory ran out.
    """
    try:
        yield
    except MemoryError:
        raise TlkitError("out of memory, even for one image at a time", "try a smaller --image-size") from None


def device_strategy() -> Any:
    """Return a ``tf.distribute.Strategy``: all GPUs of this machine if there are several, else the default."""
    tf = import_tensorflow()
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy(gpus) if len(gpus) > 1 else tf.distribute.get_strategy()


def keep_memory() -> bool:
    """Make glibc keep freed memory for the next step; return whether it does. Without glibc, do nothing.

    Every step allocates and frees the same large activations. By default glibc returns them to the system, which has
    to clear them again (`benchmarks/tune_speed.py --memory-kept` measures the cost).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    values = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28, _ARENA_MAX: 1}
    taken = [mallopt(name, value) for name, value in values.items()]
    return all(taken)
