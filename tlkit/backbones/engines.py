"""The engines that run a network: LiteRT on the CPU, Keras on a GPU or if LiteRT is not installed.

LiteRT (XNNPACK kernels) is several times as fast as Keras on a CPU and starts immediately; benchmarks/README.md has the
measurements.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.runtime import import_tensorflow, silent_stderr
from tlkit.errors import TlkitError
from tlkit.images.batches import cpu_count
from tlkit.libraries import has_keras, is_installed, require_keras
from tlkit.plan.choices import AUTO, ENGINES, KERAS, LITERT

AGREEMENT = 1e-4  # largest difference in probability between engines; above, the slower one is used
MAX_TENSOR = 2 << 30  # bytes of one tensor of a network that may come from a stranger
MEMORY = 1 << 30  # bytes of weights that all interpreters together may hold: each has its own copy
BATCH = 32  # images at a time, more with many cores: the end of a batch leaves some of them idle
MIN_IMAGES_FOR_GPU = 500  # images; for fewer, a GPU is not worth importing TensorFlow

Forward = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Check = Callable[[Sequence[int], Sequence[Sequence[int]]], None]


def check_engine(name: str) -> str:
    """Return ``name`` if that engine can run here.

    Raises:
        TlkitError: There is no such engine, or it is not installed.
    """
    if name not in ENGINES:
        raise TlkitError(f"unknown engine '{name}'", f"one of {', '.join(ENGINES)}")
    if name == LITERT and not has_litert():
        raise TlkitError("LiteRT is not installed", "pip install ai-edge-litert, or --engine keras")
    if name == KERAS:
        require_keras("--engine keras")
    if name == AUTO and not has_litert() and not has_keras():
        raise TlkitError("neither LiteRT nor TensorFlow with Keras is installed", "pip install ai-edge-litert")
    return name


def choose_engine(wanted: str, images: int | None = None) -> str:
    """Return the engine to use: "litert" or "keras".

    Args:
        wanted: One of `ENGINES`; "auto" is Keras if there is a GPU or LiteRT is not installed, else LiteRT.
        images: Number of images to compute, if known.

    Raises:
        TlkitError: As for `check_engine`.
    """
    if check_engine(wanted) != AUTO:
        return wanted
    if not has_litert():
        return KERAS
    many = images is None or images >= MIN_IMAGES_FOR_GPU
    return KERAS if many and has_gpu() else LITERT


def has_litert() -> bool:
    """Return whether LiteRT is installed."""
    return is_installed("ai_edge_litert")


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU; TensorFlow takes seconds to import, so only if a driver is loaded."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    if not has_gpu_driver() or not has_keras():
        return False
    return bool(import_tensorflow().config.list_physical_devices("GPU"))


def has_gpu_driver() -> bool:
    """Return whether a driver of a compute GPU is loaded (NVIDIA, AMD, or Windows under WSL)."""
    drivers = (Path("/proc/driver/nvidia/version"), Path("/dev/kfd"), Path("/dev/dxg"))
    return any(driver.exists() for driver in drivers)


def batch_size() -> int:
    """Return the number of images to pass to a `Forward` at once."""
    return max(BATCH, 8 * cpu_count())


class LiteRTNetwork:
    """A network in LiteRT's format that runs on all cores, and may be called from several threads at once.

    Images are divided among single-threaded interpreters, which wait for each other less than the threads of one
    interpreter. A single image gets one interpreter with all cores, unless other images are being computed; the result
    is the same to the last bit. The first interpreter is made at once, the others when they are needed.

    Args:
        file: The network: its bytes, or its path (mapped into memory, not read), which must not change.
        workers: Maximum number of cores to use; None: all.
        images: Number of images to compute first, if known: for one, the interpreter with all cores is made.
        check: Called, before memory is allocated, with the shapes of the network's input and of its outputs.
        per_core: Whether every image gets one core only, for callers that have a thread for each core. Then all
            interpreters are made at once, so that the file may be replaced afterwards.
    """

    _wide: _Interpreter | None

    def __init__(
        self,
        file: bytes | Path,
        workers: int | None = None,
        images: int | None = None,
        check: Check | None = None,
        *,
        per_core: bool = False,
    ) -> None:
        cores = min(workers or cpu_count(), cpu_count())
        size = len(file) if isinstance(file, bytes) else file.stat().st_size
        held = MEMORY // max(1, size)
        self._file, self._stamp, self._cores = file, _stamp(file), cores
        self._copies = max(1, min(cores, held))
        self._may_widen = not per_core and cores // self._copies < cores and held > self._copies
        self._check = check
        self._start()
        # one at once, so that a file which is no network, or not the right one, is refused now
        if images == 1 and self._may_widen:
            self._wide = self._interpreter(cores)
        else:
            self._slots.get()
            self._slots.put(self._interpreter(cores // self._copies))
        if per_core:
            made = [self._slots.get() or self._interpreter(cores // self._copies) for _ in range(self._copies)]
            for each in made:
                self._slots.put(each)
        _networks.add(self)

    def _start(self) -> None:
        """Begin without interpreters and threads; also in a child process, where those of the parent do not run."""
        self._lock = threading.Lock()
        self._running = 0
        self._slots: queue.LifoQueue[_Interpreter | None] = queue.LifoQueue()
        for _ in range(self._copies):
            self._slots.put(None)
        self._wide = None
        self._pool: ThreadPoolExecutor | None = None

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run uint8 [n, height, width, 3] (RGB, 0..255), n > 0, to float32 [n, columns]."""
        with self._lock:
            is_alone = self._running == 0
            self._running += 1
        try:
            if len(pixels) > 1:
                return self._divided(pixels)
            if not (is_alone and self._may_widen):
                return self._one(pixels[0])[None]
            # nobody else uses it: its user counts as running
            self._wide = self._wide or self._interpreter(self._cores)
            return self._wide.run(pixels[0])[None]
        finally:
            with self._lock:
                self._running -= 1

    def _divided(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: list[Any] = [None] * len(pixels)
        rows = iter(range(len(pixels)))
        lock = threading.Lock()

        def work(_: int) -> None:
            """Process images until none is left."""
            while True:
                with lock:
                    row = next(rows, None)
                if row is None:
                    return
                found[row] = self._one(pixels[row])

        if self._copies == 1:
            work(0)
            return np.stack(found)
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._copies, thread_name_prefix="tlkit-litert")
        list(self._pool.map(work, range(min(self._copies, len(pixels)))))
        return np.stack(found)

    def _one(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one image on an interpreter that nobody else uses, waiting for one if need be."""
        interpreter = self._slots.get()
        try:
            if interpreter is None:
                interpreter = self._interpreter(self._cores // self._copies)
            return interpreter.run(image)
        finally:
            self._slots.put(interpreter)

    def _interpreter(self, threads: int) -> _Interpreter:
        """Make an interpreter.

        Raises:
            TlkitError: The file was changed in the meantime.
        """
        if _stamp(self._file) != self._stamp:
            raise TlkitError(f"{self._file!s} was changed while it was in use", "load it again")
        return _Interpreter(self._file, threads, self._check)


_networks: weakref.WeakSet[LiteRTNetwork] = weakref.WeakSet()


_parents: list[Any] = []  # a child must not free these: it would wait for threads that only the parent has


def _start_in_child() -> None:
    for network in list(_networks):
        _parents.append((network._slots, network._wide, network._pool))
        network._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_in_child)


def _stamp(file: bytes | Path) -> tuple[int, int, int] | None:
    """Return what tells a file from a later one in its place; None for bytes."""
    if isinstance(file, bytes):
        return None
    try:
        found = file.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


class _Interpreter:
    """A LiteRT interpreter for one image at a time."""

    def __init__(self, file: bytes | Path, threads: int, check: Check | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        if isinstance(file, Path) and not str(file).isprintable():  # LiteRT takes no path that is not Unicode
            file = file.read_bytes()
        source = {"model_content": file} if isinstance(file, bytes) else {"model_path": str(file)}
        with silent_stderr():
            self._interpreter: Any = Interpreter(num_threads=threads, **source)
            if check is not None:
                taken, given = self._interpreter.get_input_details(), self._interpreter.get_output_details()
                check(taken[0]["shape"].tolist(), [details["shape"].tolist() for details in given])
                _check_tensors(self._interpreter.get_tensor_details())
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [details["index"] for details in self._interpreter.get_output_details()]

    def run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run uint8 [height, width, 3] to float32 [columns], several outputs concatenated."""
        return np.concatenate(self.outputs(image), dtype=np.float32)

    def outputs(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Run uint8 [height, width, 3] to each output, float32, without the batch."""
        self._interpreter.set_tensor(self._input, image[None].astype(np.float32))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


def _check_tensors(tensors: Sequence[dict[str, Any]]) -> None:
    for details in tensors:
        size = math.prod(map(int, details["shape"])) * np.dtype(details["dtype"]).itemsize
        if not 0 <= size <= MAX_TENSOR:
            raise ValueError(f"a tensor in it would have {size:,} bytes")


def lite_maps(file: bytes) -> Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]:
    """Return a LiteRT network as a function from uint8 [n, h, w, 3] to its outputs, float32 [n, rows, columns, c]."""
    interpreter = _Interpreter(file, cpu_count())

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        rows = [interpreter.outputs(image) for image in pixels]
        return [np.stack(maps) for maps in zip(*rows, strict=True)]

    return run


def keras_forward(model: Any) -> Forward:
    """Return a Keras model as a function from uint8 [n, h, w, 3] to float32 [n, columns]."""
    tf = import_tensorflow()

    @tf.function(input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8)], autograph=False)
    def run(pixels):  # type: ignore[no-untyped-def]
        return tf.cast(model(tf.cast(pixels, tf.float32), training=False), tf.float32)

    return lambda pixels: np.array(run(pixels))  # a copy: TensorFlow's own memory is read-only
