"""Images and other files of a data set that are not used, and how that is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tlkit.images.names import SIDECARS
from tlkit.images.natural import natural
from tlkit.images.tree import Tree
from tlkit.words import plural, some

OUTSIDE: Final = "outside any class folder"
FLAT: Final = "no class folders in it"
BESIDE: Final = "beside the split folders"
OTHER_FILES: Final = "no images that can be read"
LINK: Final = "a link to a folder that holds it"
MASKS: Final = "masks or the like of the images beside them"
MAX_LINES = 5  # lines for files of one reason


@dataclass(frozen=True)
class Unused:
    """Files in one place that are not used.

    Attributes:
        place: Folder, with a slash at its end, or link; relative to the data set's folder, "" for that folder itself.
        why: `OUTSIDE`, `FLAT`, `BESIDE`, `MASKS`, `OTHER_FILES` or `LINK`.
        files: Number of files.
        kinds: Number of files by suffix, if they are not images; "" for files without a usual suffix.
        examples: Some of their names.
    """

    place: str
    why: str
    files: int
    kinds: tuple[tuple[str, int], ...] = ()
    examples: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """Number of images among them."""
        return 0 if self.why in (OTHER_FILES, LINK) else self.files

    @property
    def is_quiet(self) -> bool:
        """Whether nobody misses them: they are files that describe images."""
        return self.why == OTHER_FILES and all(kind in SIDECARS for kind, _ in self.kinds)

    def line(self) -> str:
        """Say what is not used, and why."""
        place = self.place or "the folder itself"
        if self.why == LINK:
            return f"the link {self.place} is not followed: it leads to a folder that holds it"
        if self.why == OTHER_FILES:
            kinds = ", ".join(f"{count:,} {kind or 'without a usual suffix'}" for kind, count in _by_count(self.kinds))
            return f"{plural(self.files, 'file')} in {place} {_is_not(self.files)} used: {kinds}"
        count = f"{plural(self.files, 'image')} in {place} {_is_not(self.files)} used"
        if self.why == FLAT:
            return f"{count}: it has no class folders"
        if self.why == MASKS:
            return f"{count}: by its name, it holds masks or the like of the images beside it"
        if self.why == BESIDE:
            return f"{count}: it is neither train/, val/ nor test/"
        more = f" and {self.files - len(self.examples):,} more" if self.files > len(self.examples) else ""
        return f"{count}, outside any class folder: {', '.join(self.examples)}{more}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "place": self.place,
            "why": self.why,
            "files": self.files,
            "images": self.images,
            "kinds": dict(self.kinds),
            "examples": list(self.examples),
        }


def left_out(tree: Tree, place: str) -> tuple[list[Unused], list[tuple[str, str]]]:
    """Return what is not used of a folder whose images all belong together, and what below it cannot be read.

    Args:
        tree: What the folder holds. It can be read itself.
        place: Its path as it is shown, with a slash at its end.

    Returns:
        Links that are not followed and files that are no images; (path, reason) of folders and links.
    """
    others: Counter[str] = Counter()
    unused: list[Unused] = []
    unreadable: list[tuple[str, str]] = []
    for before, folder in tree.each(place):
        others.update(folder.others)
        if folder.error is not None:
            unreadable.append((before.rstrip("/"), folder.error))
        unreadable += [(before + each, reason) for each, reason in folder.unreadable.items()]
        unused += [Unused(before + each, LINK, 1) for each in folder.not_followed]
    for is_sidecar in (False, True):
        kinds = tuple((kind, others[kind]) for kind in natural(others) if (kind in SIDECARS) == is_sidecar)
        if kinds:
            unused.append(Unused(place, OTHER_FILES, sum(count for _, count in kinds), kinds))
    return unused, unreadable


def unused_lines(unused: Sequence[Unused]) -> list[str]:
    """Say what is not used: images first, then other files by kind; files that describe images in one line."""
    lines: list[str] = []
    for why in (FLAT, OUTSIDE, BESIDE, MASKS, LINK, OTHER_FILES):
        named = [each for each in unused if each.why == why and not each.is_quiet]
        named.sort(key=lambda each: -each.files)
        lines += [each.line() for each in named[:MAX_LINES]]
        if rest := named[MAX_LINES:]:
            lines.append(
                f"{plural(sum(each.files for each in rest), 'more file')} in {plural(len(rest), 'more place')} "
                f"not used: {some([each.place for each in rest])}"
            )
    kinds: Counter[str] = Counter()
    for each in unused:
        if each.is_quiet:
            kinds.update(dict(each.kinds))
    if kinds:
        lines.append(f"{plural(kinds.total(), 'other file')} passed over: {some([k for k, _ in kinds.most_common()])}")
    return lines


def _by_count(kinds: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(kinds, key=lambda each: (-each[1], each[0]))


def _is_not(count: int) -> str:
    return "is not" if count == 1 else "are not"
