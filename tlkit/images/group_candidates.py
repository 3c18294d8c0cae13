"""Look for groups of images in sub-folders, file names and EXIF data. Whether they matter, the features will say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tlkit.images.capture import Capture, read_captures
from tlkit.images.folder import ImageFolder
from tlkit.images.group_spec import EXIF_CAMERA, EXIF_DATE, FOLDER, NAMES
from tlkit.images.groups import group_names

FIRST_TOKEN = r"([^/_. -]+)(?:[_ -]|\.[^/]*\.)[^/]*$"  # IMG12 of IMG12_frame0031.jpg, P012 of P012-L-1.png
TWO_TOKENS = r"([^/_. -]+[_. -][^/_. -]+)(?:[_ -]|\.[^/]*\.)[^/]*$"  # P012-L of P012-L-1.png
BEFORE_NUMBER = r"([^/]*[^/0-9])[0-9]+[^/0-9]*$"  # patient07scan of patient07scan3.jpg
PATTERNS = (FIRST_TOKEN, TWO_TOKENS, BEFORE_NUMBER)

MIN_GROUPS = 3  # groups in most classes
MOST_CLASSES = 2 / 3
MIN_TOGETHER = 0.5  # share of the images that are in a group with another one
LARGEST = 0.5  # share of the images that one group may hold
MIN_IMAGES = 40  # images, below which a difference of a few points cannot be seen
SAMPLE = 16  # files whose EXIF data are read to see whether it is worth reading those of all


@dataclass(frozen=True)
class Candidate:
    """A way in which images may be grouped.

    Attributes:
        by: Its value of ``--groups``.
        groups: Group of each image, "" for images that belong to none.
    """

    by: str
    groups: tuple[str, ...]


def group_candidates(
    folder: ImageFolder, workers: int | None = None, captures: Sequence[Capture] | None = None
) -> list[Candidate]:
    """Return the ways in which the images may be grouped, the most explicit first.

    Args:
        folder: The images.
        workers: Number of threads that read EXIF data.
        captures: What each image's EXIF data say; None: read them.
    """
    if len(folder.files) < MIN_IMAGES:
        return []
    ways = [(by, group_names(folder, by)) for by in (FOLDER, *PATTERNS)]
    if exif := _captures(folder, workers, captures):
        ways[1:1] = [(EXIF_DATE, [its.day for its in exif]), (EXIF_CAMERA, [its.camera for its in exif])]
    ways.append((NAMES, group_names(folder, NAMES)))
    found: list[Candidate] = []
    seen: set[tuple[int, ...]] = set()
    for by, groups in ways:
        same = _numbered(groups)
        if is_plausible(groups, folder.labels) and same not in seen:
            seen.add(same)
            found.append(Candidate(by, tuple(groups)))
    return found


def is_plausible(groups: Sequence[str], labels: Sequence[int]) -> bool:
    """Whether most images share their group with others, and most classes have several groups."""
    sizes = Counter(group for group in groups if group)
    together = sum(count for count in sizes.values() if count > 1)
    if together < MIN_TOGETHER * len(groups) or max(sizes.values()) > LARGEST * len(groups):
        return False
    kinds: dict[int, set[str]] = defaultdict(set)
    for group, label in zip(groups, labels, strict=True):
        if sizes[group] > 1:
            kinds[label].add(group)
    classes = set(labels)
    return sum(len(kinds[label]) >= MIN_GROUPS for label in classes) >= MOST_CLASSES * len(classes)


def _captures(folder: ImageFolder, workers: int | None, known: Sequence[Capture] | None) -> Sequence[Capture]:
    """Return what the EXIF data of each image say; none if those of a few files say nothing."""
    step = max(1, len(folder.files) // SAMPLE)
    some = read_captures(folder.paths[::step], workers) if known is None else known[::step]
    if sum(any(each) for each in some) < MIN_TOGETHER * len(some):
        return []
    return read_captures(folder.paths, workers) if known is None else known


def _numbered(groups: Sequence[str]) -> tuple[int, ...]:
    """Return the number of the first image of each image's group, which is the same however groups are named."""
    first: dict[str, int] = {}
    return tuple(first.setdefault(name, index) if name else index for index, name in enumerate(groups))
