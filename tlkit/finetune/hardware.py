"""What fine-tuning runs on: precision, devices, and memory that is not handed back between steps."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

from tlkit.backbones.runtime import import_keras, import_tensorflow
from tlkit.errors import TlkitError

FLOAT32, BFLOAT16 = "float32", "bfloat16"
_BFLOAT16_FROM = (8, 0)  # compute capability of the first NVIDIA GPUs whose matrix units take bfloat16
# glibc's mallopt: parameters and values
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def choose_precision(wanted: bool | None) -> str:
    """What is computed in: "float32" or "bfloat16".

    Args:
        wanted: Whether the user asked for mixed precision; None: where it helps, which is on GPUs made for bfloat16.
            It needs no loss scaling, unlike float16.
    """
    if wanted is not None:
        return BFLOAT16 if wanted else FLOAT32
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    able = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    return BFLOAT16 if able and all(each >= _BFLOAT16_FROM for each in able) else FLOAT32


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers that are built meanwhile compute in this precision; their weights are float32 in any case."""
    keras = import_keras()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == BFLOAT16 else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Where not even one image at a time fits into memory, that is told as what it is.

    Raises:
        TlkitError: Memory ran out.
    """
    try:
        yield
    except MemoryError:
        raise TlkitError("out of memory, even for one image at a time", "try a smaller --image-size") from None


def device_strategy() -> Any:
    """A ``tf.distribute.Strategy``: all GPUs of this machine where there are several, else the default."""
    tf = import_tensorflow()
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy(gpus) if len(gpus) > 1 else tf.distribute.get_strategy()


def keep_memory() -> bool:
    """Ask the C library to keep freed memory for the next step (glibc; elsewhere nothing happens).

    Every step allocates and frees the same large activations. By default glibc gives each back to the system, and
    the system clears it anew (`benchmarks/tune_speed.py --memory-kept` measures what that costs).
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
