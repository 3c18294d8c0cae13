"""Libraries that may be missing: what an installation has, and how the rest is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util

from tlkit.errors import TlkitError

KERAS, TENSORFLOW = "keras", "tensorflow"
NAMES = {TENSORFLOW: "TensorFlow", KERAS: "Keras"}
"""The libraries of which an installation may do without both: modules, and how they are called."""

# modules whose package is not called the same with hyphens
_PACKAGES = {"sklearn": "scikit-learn", "PIL": "pillow"}


def is_installed(module: str) -> bool:
    """Return whether a module can be found; a top-level one is not imported for that."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the package that it would be in is missing or broken
        return False


def missing_keras() -> tuple[str, str]:
    """Return which of TensorFlow and Keras are missing, in words, and how to install them; empty if none is."""
    missing = [module for module in NAMES if not is_installed(module)]
    return " and ".join(NAMES[each] for each in missing), f"pip install {' '.join(missing)}" if missing else ""


def has_keras() -> bool:
    """Return whether TensorFlow and Keras are installed."""
    return all(is_installed(module) for module in NAMES)


def no_keras() -> str:
    """Return that TensorFlow or Keras is not installed, and how to install it; empty if they are."""
    missing, command = missing_keras()
    return f"{missing} {_are(missing)} not installed ({command})" if missing else ""


def require_keras(what: str) -> None:
    """Refuse what needs TensorFlow and Keras where they are not installed.

    Args:
        what: What needs them, such as "--strategy fine-tune".

    Raises:
        TlkitError: One of them is missing.
    """
    missing, command = missing_keras()
    if missing:
        raise TlkitError(f"{what} needs {missing}, which {_are(missing)} not installed", command)


def install_extra(extra: str) -> str:
    """Return the command that installs an extra; without TensorFlow, that of its packages: `tlkit` would bring it."""
    packages = [] if has_keras() else _packages_of(extra)
    return f"pip install {' '.join(packages)}" if packages else f'pip install "tlkit[{extra}]"'


def _packages_of(extra: str) -> list[str]:
    try:
        declared = importlib.metadata.requires("tlkit") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    split = [each.partition(";") for each in declared]
    return [f'"{package.strip()}"' for package, _, marker in split if f"extra == '{extra}'" in marker.replace('"', "'")]


def require(what: str, *modules: str) -> None:
    """Refuse, before any work, what needs a library that is not installed.

    Args:
        what: What needs them, such as "--report".
        modules: Top-level modules.

    Raises:
        TlkitError: One of them is missing; the hint installs all that are.
    """
    missing = [_package(module) for module in modules if not is_installed(module)]
    if missing:
        names = " and ".join(missing)
        raise TlkitError(f"{what} needs {names}, which {_are(names)} not installed", f"pip install {' '.join(missing)}")


def _package(module: str) -> str:
    return _PACKAGES.get(module, module.replace("_", "-"))


def _are(names: str) -> str:
    return "are" if " and " in names else "is"


def missing_library(error: BaseException) -> TlkitError | None:
    """Return what to say of a library that could not be imported because it is not there; None: it is another error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    module = error.name.partition(".")[0]
    if module == "tlkit" or is_installed(module):
        return None
    if module in NAMES:
        missing, command = missing_keras()
        return TlkitError(f"this needs {missing}, which {_are(missing)} not installed", command)
    package = _package(module)
    return TlkitError(f"{package} is not installed", f"pip install {package}; tlkit doctor says what else is missing")
