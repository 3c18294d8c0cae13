"""What is installed: everything, all but TensorFlow and Keras, or only what ``predict`` needs."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Final

from tlkit.libraries import KERAS, NAMES, TENSORFLOW, is_installed

FULL, LEAN, PREDICT_ONLY = "full", "lean", "predict only"
SAID: Final = {
    FULL: "full",
    LEAN: "lean: everything but training weights, other backbones, --engine keras and GPUs (docs/install.md)",
    PREDICT_ONLY: "predict only: no training, evaluation or advice (docs/install.md)",
}
MAIN = (TENSORFLOW, KERAS, "ai-edge-litert", "numpy", "scipy", "scikit-learn", "pillow", "h5py", "matplotlib")
"""Packages whose versions are always shown."""

PREDICTION = ("ai-edge-litert", "natsort", "numpy", "pillow", "platformdirs", "rich", "threadpoolctl", "typer")
"""Packages that ``tlkit predict`` imports."""

_NEEDED_TO_TRAIN = ("sklearn", "scipy", "h5py")  # modules
_OTHER_TENSORFLOWS = ("cpu", "macos", "rocm", "intel", "cpu-aws")


def kind_of_installation() -> str:
    """Return `FULL`, `LEAN` or `PREDICT_ONLY`; what belongs to that and is missing is a fault."""
    if any(is_installed(module) for module in NAMES):
        return FULL
    return LEAN if any(is_installed(module) for module in _NEEDED_TO_TRAIN) else PREDICT_ONLY


def may_be_missing(package: str, kind: str) -> bool:
    """Return whether an installation of this kind is whole without a package."""
    if kind == FULL:
        return package == "ai-edge-litert"
    return package in NAMES if kind == LEAN else package not in PREDICTION


def required_packages() -> tuple[str, ...]:
    """Return the packages that tlkit declares to need; only `MAIN` if it was not installed by pip."""
    try:
        declared = importlib.metadata.requires("tlkit") or []
    except importlib.metadata.PackageNotFoundError:
        declared = []
    names = [found[0] for each in declared if "extra ==" not in each and (found := re.match(r"[\w.-]+", each))]
    return tuple(dict.fromkeys((*MAIN, *names)))


def version_of(package: str) -> str | None:
    """Return the installed version of a package; None: it is not installed. TensorFlow comes under several names."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        if package != TENSORFLOW or not is_installed(TENSORFLOW):
            return None
    for each in _OTHER_TENSORFLOWS:
        if (found := version_of(f"{TENSORFLOW}-{each}")) is not None:
            return f"{found} ({TENSORFLOW}-{each})"
    return "of another package"
