"""Find, verify and run a bundle."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import Forward, LiteRTNetwork, choose_engine, keras_forward
from tlkit.backbones.runtime import import_keras
from tlkit.bundle.save import FORMAT, LABELS, LITE, MANIFEST, MODEL, OOD, PLAN, SUFFIX, manifest_digest
from tlkit.errors import TlkitError
from tlkit.files import file_hash
from tlkit.linear.ood import OodStatistics
from tlkit.plan.choices import AUTO, LITERT

AGAIN = "train again, or copy the whole folder again"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, ready to run.

    Attributes:
        path: The bundle's folder.
        manifest: Contents of ``tlkit.json``.
    """

    path: Path
    manifest: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probability columns."""
        return tuple(self.manifest["classes"])

    @property
    def input_size(self) -> tuple[int, int]:
        """Input size (height, width) in pixels."""
        height, width = self.manifest["input_size"]
        return int(height), int(width)

    def forward(self, engine: str = AUTO, images: int | None = None, workers: int | None = None) -> Forward:
        """Return a function from uint8 [n, height, width, 3] (RGB, 0..255) to float32 [n, columns].

        The first columns are the class probabilities; the others, if any, are the features used by `ood`.

        Args:
            engine: "auto" (LiteRT on a CPU, Keras on a GPU or without a ``model.tflite``), "litert" or "keras".
            images: Number of images to come, if known.
            workers: Maximum number of CPU cores; None: all.

        Raises:
            TlkitError: The engine is not installed, or the bundle has no network for it.
        """
        has_lite = LITE in self.manifest["files"]
        if engine == LITERT and not has_lite:
            raise TlkitError(f"{self.path} has no {LITE}", "omit --engine to run it with Keras")
        if choose_engine(engine, images) == LITERT and has_lite:
            return LiteRTNetwork(self.path / LITE, workers, images)
        layers = self.manifest.get("layers")
        if not layers:
            return keras_forward(self.model)
        from tlkit.linear.classifier import with_features

        return keras_forward(with_features(self.model, layers.values()))

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities, float32 [n, classes], rows sum to 1, of uint8 [n, height, width, 3] (RGB, 0..255)."""
        return self._forward(pixels)[:, : len(self.classes)]

    @cached_property
    def ood(self) -> OodStatistics | None:
        """Out-of-distribution statistics; None if the bundle has none."""
        if OOD not in self.manifest["files"]:
            return None
        with np.load(self.path / OOD, allow_pickle=False) as arrays:
            return OodStatistics.from_arrays(dict(arrays))

    @property
    def unknown_rate(self) -> float:
        """Default share of images of the trained classes that are called unknown, 0..1."""
        return float((self.manifest.get("unknown") or {}).get("rate", 0.0))

    @cached_property
    def model(self) -> Any:
        """The ``keras.Model``, from float32 RGB 0..255 to probabilities; loaded on first use."""
        keras = import_keras()
        return keras.models.load_model(self.path / MODEL, compile=False, safe_mode=True)

    @cached_property
    def _forward(self) -> Forward:
        return self.forward()


def load(model: str | os.PathLike[str] | None = None) -> Bundle:
    """Open a bundle and verify its format version and the hash of every file.

    Args:
        model: The bundle's folder; None: the newest ``*.tlkit`` in the current folder.

    Raises:
        TlkitError: There is no bundle, it has a newer format, or a file is missing or changed.
    """
    path = Path(model) if model is not None else newest_bundle(Path.cwd())
    return Bundle(path, _verified(path))


def newest_bundle(folder: Path) -> Path:
    """Return the newest ``*.tlkit`` in ``folder``.

    Raises:
        TlkitError: There is no bundle.
    """
    found = [path for path in folder.glob(f"*{SUFFIX}") if (path / MANIFEST).is_file()]
    if not found:
        hint = "choose one with --model, or train one: tlkit train IMAGES"
        raise TlkitError(f"no {SUFFIX} bundle in {folder}", hint)
    return max(found, key=lambda path: ((path / MANIFEST).stat().st_mtime, path.name))


def _verified(path: Path) -> dict[str, Any]:
    manifest = _read_manifest(path)
    version = manifest.get("format")
    if not isinstance(version, int):
        raise TlkitError(f"not a tlkit bundle: {path} ({MANIFEST} has no format version)")
    if version > FORMAT:
        hint = f"upgrade tlkit: pip install --upgrade tlkit (this one reads up to format {FORMAT})"
        raise TlkitError(f"{path} has bundle format {version}, newer than this tlkit", hint)
    if manifest.get("digest") != manifest_digest(manifest):
        raise TlkitError(f"damaged bundle {path}: {MANIFEST} was changed", AGAIN)
    for name in {MODEL, LABELS, PLAN} - set(manifest["files"]):
        raise TlkitError(f"damaged bundle {path}: {MANIFEST} does not list {name}", AGAIN)
    for name, expected in manifest["files"].items():
        try:
            actual = file_hash(path / name)
        except FileNotFoundError:
            raise TlkitError(f"damaged bundle {path}: {name} is missing", AGAIN) from None
        except OSError as error:
            raise TlkitError(f"cannot read {path / name}: {error.strerror or error}") from error
        if actual != expected:
            raise TlkitError(f"damaged bundle {path}: {name} was changed", AGAIN)
    return manifest


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if not path.exists():
            raise TlkitError(f"no such bundle: {path}", f"a bundle is a folder that ends in {SUFFIX}") from None
        raise TlkitError(f"not a tlkit bundle: {path} (no {MANIFEST} in it)") from None
    except OSError as error:
        raise TlkitError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError:  # not JSON, or not text
        raise TlkitError(f"damaged bundle {path}: {MANIFEST} is not JSON", AGAIN) from None
    if not isinstance(manifest, dict):
        raise TlkitError(f"damaged bundle {path}: {MANIFEST} is not an object", AGAIN)
    return manifest
