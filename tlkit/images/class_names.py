"""Compare class names as people read them: accents may be encoded in two ways, case and outer spaces may differ."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), which looks the same.

    macOS writes the accent of "café" as a character of its own, other systems do not.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def name_key(name: str) -> str:
    """Return what two names have in common that differ in case, encoded accents or surrounding spaces only."""
    return composed(composed(name).casefold()).strip()


def is_letter(name: str) -> bool:
    """Return whether a name is a single character, of which case may be the meaning: "A" and "a" are two letters."""
    return len(name.strip()) == 1


def one_spelling(counts: Mapping[str, int]) -> dict[str, str]:
    """Choose a spelling for names that differ in case, encoded accents or surrounding spaces only.

    Args:
        counts: Number of images by name, in the order of the names.

    Returns:
        The spelling of each name that is not its own: the one with the most images, or the first of equals. Single
        letters stay as they are.

    Example:
        >>> one_spelling({"Cat": 3, "cat": 20, "A": 5, "a": 5})
        {'Cat': 'cat'}
    """
    alike: dict[str, list[str]] = {}
    for name in counts:
        if not is_letter(name):
            alike.setdefault(name_key(name), []).append(name)
    found: dict[str, str] = {}
    for names in alike.values():
        best = max(names, key=counts.__getitem__)
        found |= {name: composed(best) for name in names if name != composed(best)}
    return found


def matched_names(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Match names to known ones: first those that look the same, then those that differ in case or outer spaces.

    Args:
        names: The names to match.
        known: The names that are known. If two of them differ in case only, it must be exact. So must it be for single
            letters of which both cases are there, as they may be two classes.

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
        if len(candidates) != 1:
            continue
        alone = candidates[0] not in taken and len(rivals[name_key(name)]) == 1
        if alone or not is_letter(name):
            found[name] = candidates[0]
    return found
