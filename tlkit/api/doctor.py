"""``tlkit doctor``: find out what works on this machine by trying it, and say how to fix the rest."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlkit.api.cache import HINT
from tlkit.api.installation import (
    FULL,
    MAIN,
    PREDICT_ONLY,
    SAID,
    kind_of_installation,
    may_be_missing,
    required_packages,
    version_of,
)
from tlkit.backbones import catalog
from tlkit.errors import TlkitError
from tlkit.libraries import KERAS, install_extra, missing_keras
from tlkit.progress import Progress, SilentProgress
from tlkit.store import bound as cache
from tlkit.version import VERSION
from tlkit.words import plural

EXTRAS = {
    "cloud": ("fsspec", "reads images and bundles from object stores"),
    "coreml": ("coremltools", "enables tlkit export --format coreml"),
    "heif": ("pillow-heif", "reads HEIC images"),
    "onnx": ("onnx", "enables tlkit export --format onnx"),
    "openvino": ("openvino", "enables tlkit export --format openvino"),
    "parquet": ("pyarrow", "lets tlkit embed write .parquet files"),
    "quantize": ("litert-quantizer", "enables tlkit export --precision fp16 and int8"),
    "serve": ("starlette", "enables tlkit serve"),
    "tensorboard": ("tensorboard", "enables tlkit train --tensorboard"),
}
START_TIMEOUT = 180  # seconds for TensorFlow to start
MIN_FREE = 1e9  # bytes of free disk space, below which a warning is due
_START_TENSORFLOW = """
import json, sys
del sys.path[0]  # the current folder, where a file may have the name of a module
from tlkit.backbones.runtime import import_tensorflow
tf = import_tensorflow()
gpus = tf.config.list_physical_devices("GPU")
names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
print(json.dumps({"gpus": names}))
"""

WORKS, MISSING, BROKEN = "works", "missing", "broken"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        section: "system", "libraries", "engines", "weights", "cache", "images" or "extras".
        name: What was checked.
        state: "works"; "missing": optional, not needed by default; or "broken".
        detail: What was found.
        advice: How to fix it; empty if there is nothing to do.
    """

    section: str
    name: str
    state: str
    detail: str
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """The results of all checks, section by section."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken; optional parts may be missing."""
        return all(finding.state != BROKEN for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}


def examine(progress: Progress | None = None) -> Diagnosis:
    """Check everything that tlkit depends on. Never raises because of what it finds.

    Args:
        progress: Progress reporter.
    """
    checks: tuple[tuple[str, str, Callable[[], Iterator[Finding]]], ...] = (
        ("system", "machine", _system),
        ("libraries", "versions", _libraries),
        ("engines", "LiteRT", _litert),
        ("engines", "Keras", _keras),
        ("weights", "backbones", _weights),
        ("cache", "folder", _cache),
        ("images", "formats", _images),
        ("extras", "extras", _extras),
    )
    findings: list[Finding] = []
    with (progress or SilentProgress()).phase("Checking this machine", len(checks)) as advance:
        for section, name, check in checks:
            advance(0, f"{section}: {name}")
            try:
                findings += check()
            except TlkitError as error:
                findings.append(Finding(section, name, BROKEN, error.message, error.hint or ""))
            except Exception as error:  # noqa: BLE001  (a broken library may fail in any way)
                findings.append(Finding(section, name, BROKEN, _one_line(f"{type(error).__name__}: {error}"), _REPAIR))
            advance(1)
    return Diagnosis(tuple(findings))


_REPAIR = "pip install --upgrade --force-reinstall tlkit, in its own virtual environment"


def _system() -> Iterator[Finding]:
    from tlkit.images.batches import cpu_count

    yield Finding("system", "tlkit", WORKS, f"{VERSION} in {Path(__file__).resolve().parent.parent}")
    yield Finding("system", "installed", WORKS, SAID[kind_of_installation()])
    yield Finding("system", "Python", WORKS, f"{platform.python_version()} ({sys.executable})")
    yield Finding("system", "machine", WORKS, f"{platform.platform()}, {plural(cpu_count(), 'core')}{_memory()}")


def _memory() -> str:
    try:
        return f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB of memory"
    except (AttributeError, ValueError, OSError):  # not on Windows
        return ""


def _libraries() -> Iterator[Finding]:
    kind = kind_of_installation()
    for name in required_packages():
        version = version_of(name)
        if version is None and may_be_missing(name, kind):
            if name in MAIN:
                yield Finding("libraries", name, MISSING, "not installed", f"pip install {name}")
        elif version is None and not name.startswith("efficientnet-"):  # see the weights
            yield Finding("libraries", name, BROKEN, "not installed", f"pip install {name}")
        elif version is not None and name in MAIN:
            yield Finding("libraries", name, WORKS, version)


def _litert() -> Iterator[Finding]:
    """Run the packaged network on one grey image, as every command does."""
    import numpy as np

    from tlkit.backbones.engines import LiteRTNetwork, has_litert
    from tlkit.backbones.litert.efficientnet_lite import packaged_graph

    if not has_litert():
        advice = "pip install ai-edge-litert, if there is a wheel for this machine; without it Keras runs everything"
        yield Finding("engines", "LiteRT", MISSING, "not installed", advice)
        return
    row = catalog.get(catalog.DEFAULT)
    if kind_of_installation() == PREDICT_ONLY and not catalog.is_here(row):
        from ai_edge_litert import interpreter  # noqa: F401  (that it loads is all that can be tried)

        yield Finding("engines", "LiteRT", WORKS, "loads; without the packaged network it is not tried")
        return
    graph, _, _ = packaged_graph(row.variant, row.input_size)
    network = LiteRTNetwork(graph, workers=1)
    grey = np.full((1, row.input_size, row.input_size, 3), 128, np.uint8)
    network(grey)
    start = time.perf_counter()
    features = network(grey)
    if not np.isfinite(features).all():
        raise TlkitError(f"LiteRT gives no finite output with {row.name}", "use --engine keras")
    took = 1000 * (time.perf_counter() - start)
    yield Finding("engines", "LiteRT", WORKS, f"{row.name} takes {took:.0f} ms per image on one core")


def _keras() -> Iterator[Finding]:
    """Start TensorFlow in a separate process, since a build for another machine would crash this one."""
    missing, command = missing_keras()
    if missing:
        state = BROKEN if kind_of_installation() == FULL else MISSING
        yield Finding("engines", "Keras", state, f"{missing} not installed", command)
        yield _gpu([])
        return
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # Keras imports matplotlib, which would make a folder for its list of fonts
    with tempfile.TemporaryDirectory() as fonts:
        yield from _started({**environment, "MPLCONFIGDIR": fonts}, start)


def _started(environment: dict[str, str], start: float) -> Iterator[Finding]:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _START_TENSORFLOW],
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=START_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield Finding("engines", "Keras", BROKEN, f"TensorFlow does not start within {START_TIMEOUT} s", _REPAIR)
        return
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"its process exited with code {done.returncode}"
        yield Finding("engines", "Keras", BROKEN, _one_line(f"TensorFlow does not start: {reason}"), _REPAIR)
        return
    yield Finding("engines", "Keras", WORKS, f"TensorFlow starts in {time.perf_counter() - start:.0f} s")
    yield _gpu(json.loads(done.stdout.strip().splitlines()[-1])["gpus"])


def _gpu(names: list[str]) -> Finding:
    from tlkit.backbones.engines import has_gpu_driver

    if names:
        return Finding("engines", "GPU", WORKS, ", ".join(names))
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return Finding("engines", "GPU", MISSING, "hidden by CUDA_VISIBLE_DEVICES", "unset CUDA_VISIBLE_DEVICES")
    if has_gpu_driver() and missing_keras()[0]:
        advice = f"pip install 'tensorflow[and-cuda]' {KERAS}"
        return Finding("engines", "GPU", MISSING, "a driver is loaded, but TensorFlow and Keras would use it", advice)
    if has_gpu_driver():
        advice = "NVIDIA: pip install 'tensorflow[and-cuda]'; AMD: install a TensorFlow built for ROCm"
        return Finding("engines", "GPU", MISSING, "a driver is loaded, but TensorFlow sees no GPU", advice)
    return Finding("engines", "GPU", MISSING, "none found; the CPU is used")


def _weights() -> Iterator[Finding]:
    from tlkit.backbones.catalog.fetch import is_right

    for row in filter(catalog.is_here, catalog.rows()):
        if row.packaged:
            yield _packaged(row)
            continue
        file = catalog.cached_path(row)
        size = f"{file.stat().st_size / 1e6:.0f} MB, {file}"
        if is_right(file, row.weights_checksum):
            yield Finding("weights", row.name, WORKS, size)
        else:
            again = f"tlkit backbones fetch {row.name}"
            yield Finding("weights", row.name, BROKEN, f"not the published file: {size}", again)
    if not catalog.is_here(catalog.get(catalog.DEFAULT)):
        hint = catalog.get(catalog.DEFAULT).package_hint
        state = MISSING if kind_of_installation() == PREDICT_ONLY else BROKEN
        yield Finding("weights", catalog.DEFAULT, state, "the packaged weights are not installed", hint)
    rest = sum(not catalog.is_here(row) for row in catalog.rows())
    if rest:
        yield Finding("weights", plural(rest, "other"), MISSING, "not on this machine", "tlkit backbones fetch NAME")


def _packaged(row: catalog.Backbone) -> Finding:
    from tlkit.backbones.efficientnet_lite import packaged_weights

    try:
        packaged_weights(row.variant)
    except TlkitError as error:
        return Finding("weights", row.name, BROKEN, error.message, error.hint or "")
    return Finding("weights", row.name, WORKS, "packaged, checksum verified")


def _cache() -> Iterator[Finding]:
    folder, limit = cache.cache_folder(), cache.cache_limit()
    used = sum(entry.bytes for entry in cache.entries(folder))
    detail = f"{folder}: {used / 1e6:.0f} MB of {limit / 1e6:.0f} MB"
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield Finding("cache", "folder", BROKEN, f"{detail}, but it cannot be written", HINT)
        return
    free = shutil.disk_usage(there).free
    short = free < min(MIN_FREE, limit - used)
    advice = (
        "disk space is low: limit the cache with TLKIT_CACHE_SIZE=500MB, or run tlkit cache --clear" if short else ""
    )
    yield Finding("cache", "folder", WORKS, f"{detail}, {free / 1e9:.1f} GB free on the disk", advice)


def _images() -> Iterator[Finding]:
    from tlkit.images.formats import FORMATS, decodable, register_heif

    yield Finding("images", "formats", WORKS, ", ".join(decodable()))
    for name in sorted(set(FORMATS) - set(decodable())):
        advice = "pip install --upgrade --force-reinstall pillow (its wheels support it)"
        yield Finding("images", name, MISSING, "this Pillow cannot decode it", advice)
    if register_heif():
        yield Finding("images", "HEIC", WORKS, "pillow-heif")
    else:
        yield Finding("images", "HEIC", MISSING, "needs the extra heif", install_extra("heif"))


def _extras() -> Iterator[Finding]:
    for extra, (package, purpose) in EXTRAS.items():
        version = version_of(package)
        if version is not None:
            yield Finding("extras", extra, WORKS, f"{package} {version}: {purpose}")
        else:
            yield Finding("extras", extra, MISSING, purpose, install_extra(extra))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
