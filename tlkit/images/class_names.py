"""Compare class names as people read them: accents may be encoded in two ways, and case may differ."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), which looks the same.

    macOS writes the accent of "café" as a character of its own, other systems do not.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def name_key(name: str) -> str:
    """Return what two names have in common that differ in case, encoded accents or surrounding spaces only."""
    return composed(composed(name).casefold()).strip()


def matched_names(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Match names to known ones: first those that look the same, then those that differ in case.

    Args:
        names: The names to match.
        known: The names that are known. None matches two of the others that differ in case, as "A" and "a" may be two
            classes.

    Returns:
        The known name of each name that has one.

    Example:
        >>> matched_names(["Cat", "DOG", "fox"], ["cat", "dog"])
        {'Cat': 'cat', 'DOG': 'dog'}
    """
    names = list(dict.fromkeys(names))
    same: dict[str, list[str]] = {}
    alike: dict[str, list[str]] = {}
    for each in dict.fromkeys(known):
        same.setdefault(composed(each), []).append(each)
        alike.setdefault(name_key(each), []).append(each)
    found = {
        name: name if name in same[composed(name)] else same[composed(name)][0]
        for name in names
        if composed(name) in same
    }
    left = [name for name in names if name not in found]
    rivals: dict[str, set[str]] = {}
    for name in left:
        rivals.setdefault(name_key(name), set()).add(composed(name))
    taken = set(found.values())
    for name in left:
        candidates = alike.get(name_key(name), [])
        if len(candidates) == 1 and candidates[0] not in taken and len(rivals[name_key(name)]) == 1:
            found[name] = candidates[0]
    return found
