"""Find, verify and run a bundle."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import Forward, LiteRTNetwork, choose_engine, keras_forward
from tlkit.bundle.beside import restore
from tlkit.bundle.fetched import fetched_bundle
from tlkit.bundle.manifest import FILES, HELD_OUT, LITE, MODEL, OOD
from tlkit.bundle.save import MANIFEST, SUFFIX
from tlkit.bundle.verify import damaged, verified_manifest
from tlkit.errors import TlkitError
from tlkit.evaluation.promise import HeldOut
from tlkit.libraries import require_keras
from tlkit.linear.ood import OodStatistics
from tlkit.npz import read_npz
from tlkit.plan.choices import AUTO, LITERT
from tlkit.remote import remote_path

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle, ready to run, in several threads if need be. Pickled, it is only its path.

    Attributes:
        path: The bundle's folder.
        manifest: Contents of ``tlkit.json``.
    """

    path: Path
    manifest: dict[str, Any]
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probability columns."""
        return tuple(self.manifest["classes"])

    @property
    def input_size(self) -> tuple[int, int]:
        """Input size (height, width) in pixels."""
        height, width = self.manifest["input_size"]
        return int(height), int(width)

    def forward(
        self, engine: str = AUTO, images: int | None = None, workers: int | None = None, *, per_core: bool = False
    ) -> Forward:
        """Return a function from uint8 [n, height, width, 3] (RGB, 0..255) to float32 [n, columns].

        The first columns are the class probabilities; the others, if any, are the features used by `ood`.

        Args:
            engine: "auto" (LiteRT on a CPU, Keras on a GPU or without a ``model.tflite``), "litert" or "keras".
            images: Number of images to come, if known.
            workers: Maximum number of CPU cores; None: all.
            per_core: Whether LiteRT gives every image one core only; see `LiteRTNetwork`.

        Raises:
            TlkitError: The engine is not installed, the bundle has no network for it, or its network does not fit its
                input size, classes or OOD statistics.
        """
        has_lite = LITE in self.manifest["files"]
        if engine == LITERT and not has_lite:
            raise TlkitError(f"{self.path} has no {LITE}", "omit --engine to run it with Keras")
        if choose_engine(engine, images) == LITERT and has_lite:
            name = f"litert {workers}{' per core' if per_core else ''}"
            return self._once(name, lambda: self._litert(images, workers, per_core))
        return self._once("keras", self._keras_forward)

    def _keras_forward(self) -> Forward:
        if LITE not in self.manifest["files"]:
            require_keras(f"a bundle without {LITE}")
        layers, model = self.manifest.get("layers"), self.model
        if layers:
            from tlkit.linear.classifier import with_features

            try:
                model = with_features(model, layers.values())
            except (ValueError, TypeError, AttributeError) as error:
                raise damaged(self.path, MANIFEST, "layers names none that the network has") from error
        self._check_columns(MODEL, model.output_shape)
        return keras_forward(model)

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities, float32 [n, classes], rows sum to 1, of uint8 [n, height, width, 3] (RGB, 0..255)."""
        return self.forward()(pixels)[:, : len(self.classes)]

    @property
    def ood(self) -> OodStatistics | None:
        """Out-of-distribution statistics; None if the bundle has none.

        Raises:
            TlkitError: They cannot be read, or are not statistics of this bundle's classes.
        """
        return self._once("ood", self._read_ood)

    def _read_ood(self) -> OodStatistics | None:
        if OOD not in self.manifest["files"]:
            return None
        try:
            names = [each.name for each in fields(OodStatistics)]
            found = OodStatistics.from_arrays(read_npz(self.path / OOD, FILES[OOD], names))
        except OSError as error:
            raise TlkitError(f"cannot read {self.path / OOD}: {error.strerror or error}") from error
        except ValueError as error:
            raise damaged(self.path, OOD, error) from error
        if len(found.shares) > len(self.classes):
            raise damaged(self.path, OOD, f"there are {len(found.shares)} classes, not {len(self.classes)}")
        return found

    @property
    def held_out(self) -> HeldOut | None:
        """Predictions for images that training did not use; None if the bundle has none.

        Raises:
            TlkitError: They cannot be read, or are not of this bundle's classes.
        """
        return self._once("held out", self._read_held_out)

    def _read_held_out(self) -> HeldOut | None:
        if HELD_OUT not in self.manifest["files"]:
            return None
        try:
            names = [each.name for each in fields(HeldOut)]
            return HeldOut.from_arrays(read_npz(self.path / HELD_OUT, FILES[HELD_OUT], names), len(self.classes))
        except OSError as error:
            raise TlkitError(f"cannot read {self.path / HELD_OUT}: {error.strerror or error}") from error
        except ValueError as error:
            raise damaged(self.path, HELD_OUT, error) from error

    @property
    def unknown_rate(self) -> float:
        """Default share of images of the trained classes that are called unknown, 0..1."""
        return float((self.manifest.get("unknown") or {}).get("rate", 0.0))

    @property
    def model(self) -> Any:
        """The ``keras.Model``, from float32 RGB 0..255 to probabilities; loaded on first use.

        Raises:
            TlkitError: Keras cannot load it without running code in it, or it does not fit the bundle's input size or
                classes.
        """
        return self._once("model", self._read_model)

    def _read_model(self) -> Any:
        from tlkit.backbones.weights.archive import load_model

        model = load_model(self.path / MODEL)
        self._check_network(MODEL, model.input_shape, model.output_shape)
        return model

    @property
    def lite(self) -> Path | None:
        """The ``model.tflite``, verified on first use; None if the bundle has none.

        Raises:
            TlkitError: It is no network that LiteRT can run safely.
        """
        return self._once("lite", self._verified_lite) if LITE in self.manifest["files"] else None

    def _verified_lite(self) -> Path:
        from tlkit.backbones.litert.verify import verify_lite

        file = self.path / LITE
        try:
            if verify_lite(file):
                from tlkit.backbones.litert.trial import try_once

                try_once(file, self.manifest["files"][LITE])
        except OSError as error:
            raise TlkitError(f"cannot read {file}: {error.strerror or error}") from error
        except ValueError as error:
            raise damaged(self.path, LITE, f"there is no network that LiteRT can run safely: {error}") from error
        return file

    def _litert(self, images: int | None, workers: int | None, per_core: bool) -> Forward:
        def check(taken: Sequence[int], given: Sequence[Sequence[int]]) -> None:
            self._check_network(LITE, taken, given[0])
            self._check_columns(LITE, (1, sum(shape[-1] for shape in given)))

        def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            try:
                return network(pixels)
            except (ValueError, RuntimeError) as error:
                raise refused(error) from error

        def refused(error: Exception) -> TlkitError:
            reason = " ".join(str(error).split())[:120]
            return damaged(self.path, LITE, f"there is no network that LiteRT can run: {reason}")

        file = self.lite
        assert file is not None
        try:
            network = LiteRTNetwork(file, workers, images, check, per_core=per_core)
        except (ValueError, RuntimeError, IndexError) as error:
            raise refused(error) from error
        return run

    def _check_network(self, name: str, taken: Any, given: Any) -> None:
        """Check, before any image is decoded, that a network takes the bundle's size and gives its classes.

        Args:
            name: The network's file.
            taken: Shape of its input.
            given: Shape of its probabilities.
        """
        height, width = self.input_size
        fits = (
            isinstance(taken, Sequence)
            and len(taken) == 4
            and all(side in (None, wanted) for side, wanted in zip(taken[1:], (height, width, 3), strict=True))
        )
        if not fits:
            shape = list(taken[1:]) if isinstance(taken, Sequence) else "several inputs"
            raise damaged(self.path, name, f"the network takes {shape}, not [{height}, {width}, 3]")
        if not isinstance(given, Sequence) or len(given) != 2 or given[1] != len(self.classes):
            raise damaged(self.path, name, f"the network does not give the {len(self.classes)} classes of {MANIFEST}")

    def _check_columns(self, name: str, given: Sequence[Any]) -> None:
        """Check that a network gives the features that the OOD statistics are of."""
        features = int(given[-1]) - len(self.classes)
        if self.ood is not None and features != len(self.ood.mean):
            wanted = len(self.ood.mean)
            raise damaged(self.path, name, f"the network gives {features} features, and {OOD} is of {wanted}")

    def _once(self, name: str, make: Callable[[], Made]) -> Made:
        """Return what is made on first use and then kept, whichever thread asks first."""
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return cast("Made", self._made[name])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the path: another process opens the bundle there."""
        return _reopened, (type(self), os.path.abspath(self.path))  # noqa: PTH100  (keeps the user's links)


def _reopened(kind: Any, path: str) -> Bundle:
    """Open a bundle that was pickled; once in this process, unless it was replaced."""
    try:
        found = os.stat(os.path.join(path, MANIFEST))  # noqa: PTH116, PTH118
    except OSError:
        found = None
    return _opened(kind, path, found and (found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=8)
def _opened(kind: Any, path: str, _: Any) -> Bundle:
    bundle = load(path)
    made: Bundle = kind(bundle.path, bundle.manifest)
    return made


def load(model: str | os.PathLike[str] | None = None) -> Bundle:
    """Open a bundle and verify its format version, its values and the hash of every file.

    Args:
        model: The bundle's folder, also in an object store, such as ``s3://bucket/garden.tlkit``, from where it is
            fetched into the cache; None: the newest ``*.tlkit`` in the current folder.

    Raises:
        TlkitError: There is no bundle, it has a newer format, or a file is missing, changed or not as it must be; or
            ``model`` is no path.
    """
    if model is not None and not isinstance(model, (str, os.PathLike)):
        raise TlkitError(f"a bundle cannot be of type {type(model).__name__}", "give the path of its folder")
    if model is not None and (place := remote_path(model)) is not None:
        path = fetched_bundle(place)
    else:
        path = Path(model) if model is not None else newest_bundle(Path.cwd())
    if not os.path.lexists(path):
        restore(path.parent, path.name)
    return Bundle(path, verified_manifest(path))


def newest_bundle(folder: Path) -> Path:
    """Return the newest ``*.tlkit`` in ``folder``.

    Raises:
        TlkitError: There is no bundle.
    """
    restore(folder)
    found = [path for path in folder.glob(f"*{SUFFIX}") if (path / MANIFEST).is_file()]
    if not found:
        hint = "choose one with --model, or train one: tlkit train IMAGES"
        raise TlkitError(f"no {SUFFIX} bundle in {folder}", hint)
    return max(found, key=lambda path: ((path / MANIFEST).stat().st_mtime, path.name))
