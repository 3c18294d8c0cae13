"""LiteRT.js, the library that runs a network in the browser: where it is found, and what a page needs of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tlkit.bounded import MIB, read_json, read_limited
from tlkit.errors import TlkitError

PACKAGE, HELPER = "@litertjs/core", "@litertjs/wasm-utils"
VERSION = "2.5.3"
"""The version that the page was tested with."""

COMMAND = f"npm install {PACKAGE}@{VERSION}"
SCRIPT, HELPER_SCRIPT, IMPORT = "index.js", "wasm-utils.js", f'from "{HELPER}"'
VARIANTS = ("litert_wasm_internal", "litert_wasm_compat_internal")
"""The library picks the first where the browser has relaxed SIMD, else the second (such as in Safari)."""

_MAX = 256 * MIB


@dataclass(frozen=True)
class WebRuntime:
    """LiteRT.js as npm installs it.

    Attributes:
        core: Folder of the package ``@litertjs/core``.
        helper: Folder of the package ``@litertjs/wasm-utils``, which the first one imports.
        version: Version of the first.
    """

    core: Path
    helper: Path
    version: str

    def copy(self, folder: Path) -> None:
        """Copy what a page needs into a new folder: two scripts, two variants of the network's engine, licences.

        Raises:
            TlkitError: A file cannot be read.
        """
        (folder / "wasm").mkdir(parents=True)
        script = _read(self.core / "dist" / SCRIPT).decode()
        # a browser finds no packages by their names
        (folder / SCRIPT).write_text(script.replace(IMPORT, f'from "./{HELPER_SCRIPT}"'), encoding="utf-8")
        (folder / HELPER_SCRIPT).write_bytes(_read(self.helper / "dist" / SCRIPT))
        for name in (f"{variant}.{suffix}" for variant in VARIANTS for suffix in ("js", "wasm")):
            (folder / "wasm" / name).write_bytes(_read(self.core / "wasm" / name))
        for file in sorted(self.core.glob("LICENSE*")):
            (folder / file.name).write_bytes(_read(file))


def find_web_runtime(given: str | os.PathLike[str] | None = None) -> WebRuntime:
    """Find LiteRT.js on this machine; nothing is downloaded.

    Args:
        given: Folder of the package, a ``node_modules`` folder or one that holds it; None: the current folder and
            those above it, as npm has it.

    Raises:
        TlkitError: It is not there, incomplete, or laid out differently from `VERSION`.
    """
    if given is None:
        here = Path.cwd()
        places = [above / "node_modules" / PACKAGE for above in (here, *here.parents)]  # npm may use one above
    else:
        start = Path(given)
        places = [start, start / "package", start / "node_modules" / PACKAGE, start / PACKAGE]
    core = next((place for place in places if _name(place) == PACKAGE), None)
    if core is None:
        where = f"in {given}" if given is not None else "in node_modules here or above"
        raise TlkitError(f"{PACKAGE}, which runs the network in the browser, is not {where}", _how(given))
    beside = core.parent / "wasm-utils"
    helper = next((each for each in (beside, core / "node_modules" / HELPER) if _name(each) == HELPER), None)
    if helper is None:
        raise TlkitError(f"{HELPER}, which {PACKAGE} needs, is not in {beside}", _how(given))
    runtime = WebRuntime(core, helper, str(_package(core).get("version", "")))
    _check(runtime)
    return runtime


def _how(given: str | os.PathLike[str] | None) -> str:
    return f"{COMMAND}, then name its folder: --runtime node_modules" if given is not None else COMMAND


def _check(runtime: WebRuntime) -> None:
    names = [f"wasm/{variant}.{suffix}" for variant in VARIANTS for suffix in ("js", "wasm")]
    missing = [name for name in names if not (runtime.core / name).is_file()]
    script = _read(runtime.core / "dist" / SCRIPT)
    if missing or script.count(IMPORT.encode()) != 1 or not (runtime.helper / "dist" / SCRIPT).is_file():
        raise TlkitError(
            f"{PACKAGE} {runtime.version} in {runtime.core} is not laid out like {VERSION}, which tlkit knows", COMMAND
        )


def _read(file: Path) -> bytes:
    try:
        return read_limited(file, _MAX)
    except OSError as error:
        raise TlkitError(f"cannot read {file}: {error.strerror or error}", COMMAND) from error


def _name(folder: Path) -> str:
    return str(_package(folder).get("name", ""))


def _package(folder: Path) -> dict[str, object]:
    try:
        found = read_json(folder / "package.json", MIB)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
