"""The catalogue of backbones: one row each, plain data, no TensorFlow."""

from tlkit.backbones.catalog.figures import WEIGHTS
from tlkit.backbones.catalog.table import (
    DEFAULT,
    MIRROR,
    Backbone,
    cached_path,
    get,
    is_file_name,
    is_here,
    letters,
    names,
    rows,
)

__all__ = [
    "DEFAULT",
    "MIRROR",
    "WEIGHTS",
    "Backbone",
    "cached_path",
    "get",
    "is_file_name",
    "is_here",
    "letters",
    "names",
    "rows",
]
