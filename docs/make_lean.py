"""Write lean.txt and predict-only.txt from setup.cfg and from what the libraries need: python docs/make_lean.py."""

from __future__ import annotations

import configparser
import importlib.metadata
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tlkit.api.installation import PREDICTION
from tlkit.libraries import NAMES

ROOT = Path(__file__).parent.parent
START = """# {what}.
# Made by python docs/make_lean.py from setup.cfg; a test compares. How to use it: docs/install.md.
"""
INDIRECT = "# what these need themselves, for pip install --no-deps\n"
WHAT = {
    "lean.txt": "What tlkit needs without TensorFlow and Keras",
    "predict-only.txt": "What tlkit predict needs",
}


def declared() -> list[Requirement]:
    """What setup.cfg says that tlkit needs."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return [Requirement(line) for line in parser["options"]["install_requires"].split("\n") if line.strip()]


def direct(file: str) -> list[Requirement]:
    """The requirements of a file that setup.cfg names."""
    if file == "lean.txt":
        return [each for each in declared() if each.name not in NAMES]
    return [each for each in declared() if each.name in PREDICTION]


def indirect(names: Iterable[str]) -> dict[str, str]:
    """What installed packages need beyond themselves, on any system: names with their markers, "" for always."""
    found: dict[str, str] = {}
    waiting = list(names)
    seen = set(map(canonicalize_name, waiting))
    while waiting:
        for text in _needs(waiting.pop()):
            needed = Requirement(text)
            marker = str(needed.marker or "")
            if "extra ==" in marker:
                continue
            name = canonicalize_name(needed.name)
            if name not in seen:
                seen.add(name)
                waiting.append(name)
                found[name] = marker
            elif name in found and not marker:
                found[name] = ""
    return dict(sorted(found.items()))


def _needs(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:  # of another system
        return []


def text_of(file: str) -> str:
    """The whole file."""
    lines = [str(each) for each in direct(file)]
    kept = {each.name: str(each.marker or "") for each in _named(file)}  # releases for another Python may need them
    needed = sorted({**kept, **indirect(_names(file))}.items())
    more = [f"{name}; {marker}" if marker else name for name, marker in needed]
    return "\n".join([START.format(what=WHAT[file]) + "\n".join(lines), INDIRECT + "\n".join(more), ""])


def _named(file: str) -> list[Requirement]:
    """What a file names as it is now, below the requirements of setup.cfg."""
    text = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else ""
    return [Requirement(line) for line in text.partition(INDIRECT)[2].splitlines() if line.strip()]


def _names(file: str) -> list[str]:
    return [each.name for each in direct(file)]


def faults(file: str) -> list[str]:
    """What a file lacks or has too much. Other releases of a library may need less than is in it."""
    text = (ROOT / file).read_text(encoding="utf-8")
    first = text.partition(INDIRECT)[0]
    wanted = START.format(what=WHAT[file]) + "\n".join(str(each) for each in direct(file)) + "\n"
    named = [each.name for each in _named(file)]
    found = [f"{file} does not name what {name} is needed for" for name in indirect(_names(file)) if name not in named]
    return ([] if first == wanted else [f"{file} is not what setup.cfg says"]) + found


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        wrong = [each for file in WHAT for each in faults(file)]
        sys.exit("\n".join([*wrong, "python docs/make_lean.py"]) if wrong else 0)
    for file in WHAT:
        (ROOT / file).write_text(text_of(file), encoding="utf-8")
