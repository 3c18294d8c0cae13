"""Turn a scanned folder into a dataset to train on: readable images, enough per class, split without leaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.backbones.extractor import rows_of
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.duplicates import Pair, group_pairs, groups_of, pairs_within
from tlkit.images.folder import IMBALANCE, TEST, TRAIN, VAL, Dropped, ImageFolder
from tlkit.images.grouping import Grouping
from tlkit.images.groups import divided_groups, is_divided, joined_groups
from tlkit.images.splits import with_test, with_validation
from tlkit.store.disk_matrix import Vectors, part_of
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.backbones.extractor import Extractor
    from tlkit.backbones.features import Features
    from tlkit.images.batches import Loaded
    from tlkit.store.decoded import Decoded

MIN_PER_CLASS = 2  # training images

Skipped = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Dataset:
    """Readable images with their split and features.

    Attributes:
        folder: The images used; every one has a split.
        features: Features of all images of the scanned folder.
        rows: The row of ``features.matrix`` of each image in ``folder``.
        group_of: Group number of each image in ``folder``. Copies of one image share it, and so do images of one group
            of the folder.
        copy_pairs: Pairs of indices into ``folder`` that are copies of one image.
        copies: Number of images that have a copy.
        leaks: Groups of files that are copies of one another in different splits of the folder.
        split_groups: Names of the folder's groups with images in different splits of the folder.
        dropped: Number of training images left out because of either.
        own_validation: Whether the validation images come from the folder's own split.
        own_test: Whether the test images do, if there are any.
        seen: Number of validation and test images that an earlier training was trained on.
        grouping: Groups that were asked for or found, and what they mean for the accuracy; None: nothing was found.
    """

    folder: ImageFolder
    features: Features
    rows: tuple[int, ...]
    group_of: tuple[int, ...]
    copy_pairs: tuple[Pair, ...]
    copies: int
    leaks: tuple[tuple[str, ...], ...]
    split_groups: tuple[str, ...]
    dropped: int
    own_validation: bool
    own_test: bool = False
    seen: int = 0
    grouping: Grouping | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into it."""
        return self.folder.classes

    @property
    def imbalanced(self) -> bool:
        """Whether the largest class has over `IMBALANCE` times the training images of the smallest."""
        return is_imbalanced(self.folder)

    def of(self, split: str) -> list[int]:
        """Indices into ``folder`` of the images of a split."""
        return [index for index, its in enumerate(self.folder.splits) if its == split]

    def count(self, split: str) -> int:
        """Number of images in a split."""
        return self.folder.splits.count(split)

    def counts(self, split: str = TRAIN) -> list[int]:
        """Number of images of each class in a split."""
        return list(self.folder.counts(split).values())

    def labels(self, split: str) -> list[int]:
        """Class index of each image of a split."""
        return [self.folder.labels[index] for index in self.of(split)]

    def groups(self, split: str) -> list[int]:
        """Group number of each image of a split; copies of one image share it, and images of one group."""
        return [self.group_of[index] for index in self.of(split)]

    def paths(self, split: str) -> list[Path]:
        """Files of a split's images."""
        paths = self.folder.paths
        return [paths[index] for index in self.of(split)]

    def matrix(self, split: str, taps: Sequence[str] | None = None) -> Vectors:
        """Features of a split's images, float32 [n, columns]; of these taps, or of all that were computed."""
        return self.features_of(self.of(split), taps)

    def features_of(self, indices: Sequence[int], taps: Sequence[str] | None = None) -> Vectors:
        """Features of some images by their index into ``folder``, float32 [n, columns]."""
        rows = part_of(self.features.matrix, [self.rows[index] for index in indices])
        return rows if taps is None else rows_of(rows, self.features.taps, taps)

    @cached_property
    def contents(self) -> list[str]:
        """SHA-256 of each image's bytes in hex, in the order of ``folder``."""
        return [self.features.contents[self.features.rows[row]] for row in self.rows]

    def part(self, indices: Sequence[int], splits: Sequence[str]) -> Dataset:
        """Keep some images only, by their index into ``folder``, with another split."""
        return replace(
            self,
            folder=self.folder.keep(list(indices)).with_splits(list(splits)),
            rows=tuple(self.rows[index] for index in indices),
            group_of=tuple(self.group_of[index] for index in indices),
            copy_pairs=pairs_within(self.copy_pairs, indices),
        )


def read_features(
    folder: ImageFolder,
    extractor: Extractor,
    context: Context,
    observe: Callable[[Loaded], None] | None = None,
    taps: Sequence[str] = ("top",),
) -> Features:
    """Compute features of every image of a folder, or read them from the store, and say how many were reused."""
    features = stored_features(folder.paths, extractor, context, observe, taps)
    if features.problem:
        context.show.note(features.problem)
    if features.reused:
        total = plural(len(folder.files), "image")
        context.show.note(f"reused the features of {features.reused} of {total} from an earlier run")
    return features


def stored_features(
    paths: Sequence[Path],
    extractor: Extractor,
    context: Context,
    observe: Callable[[Loaded], None] | None = None,
    taps: Sequence[str] | None = None,
) -> Features:
    """Compute features of some images, or read them from the store, and keep them; of all taps by default."""
    from tlkit.backbones.features import compute_features, feature_key
    from tlkit.store.features import FeatureStore

    names = [name for name, _ in extractor.taps] if taps is None else taps
    store = FeatureStore(feature_key(extractor))
    try:
        return compute_features(
            paths, extractor, store=store, taps=names, workers=context.workers, progress=context.show, observe=observe
        )
    finally:
        store.close()


def skipped_files(folder: ImageFolder, features: Features) -> Skipped:
    """(file, reason) of every image that could not be read, or that a table names in vain; of folders and links too."""
    return (*((each.file, each.reason) for each in _lost(folder, features)), *folder.unreadable)


def _lost(folder: ImageFolder, features: Features) -> list[Dropped]:
    return [*folder.dropped, *(_dropped(folder, index, reason) for index, reason in features.errors.items())]


def _dropped(folder: ImageFolder, index: int, reason: str) -> Dropped:
    return Dropped(folder.files[index], reason, folder.classes[folder.labels[index]])


def prepare(
    folder: ImageFolder,
    features: Features,
    val_split: float,
    seed: int,
    drop_leaks: bool,
    known: Mapping[str, str] | None = None,
    test_split: float | None = None,
) -> Dataset:
    """Leave out unreadable images, find copies, and give every image a split.

    Copies of one image, and the images of a group, stay on one side of a split that is drawn here. A folder's own split
    is kept; what it lacks is drawn from its training images, test images by `tlkit.images.splits.with_test`.
    ``drop_leaks`` leaves out training images that have a copy, or others of their group, in val/ or test/. ``known``
    gives the split of an earlier training by content hash: its images stay on their side, so that none it was trained
    on is used for validation.

    Raises:
        TlkitError: A class has too few images left, or none can be held out for validation.
    """
    from tlkit.backbones.copies import confirmed_copies

    readable = folder.keep(list(features.rows))
    require_enough(readable, _lost(folder, features))
    copies = confirmed_copies(features)
    groups = joined_groups(readable.groups, copies, len(readable.files))
    alike = groups_of(group_pairs(copies, len(readable.files)))
    leaks = [group for group in alike if is_divided(readable, group)]
    divided = [group for group in (*groups_of(groups), *alike) if drop_leaks and is_divided(readable, group)]
    leaked = {index for group in divided for index in group if readable.splits[index] == TRAIN}
    kept = [index for index in range(len(readable.files)) if index not in leaked]
    used = readable.keep(kept)
    reason = f"{'an image of its group' if any(readable.groups) else 'a copy of it'} is in val/ or test/"
    require_enough(used, [_dropped(readable, index, reason) for index in sorted(leaked)])
    kept_groups = [groups[index] for index in kept]
    contents = [features.contents[features.rows[index]] for index in kept]
    sides = [(known or {}).get(content) for content in contents]
    tested = with_test(used, kept_groups, test_split, seed, sides)
    # a share of all images, not of those left after the test images
    left = 1 - tested.splits.count(TEST) / len(kept)
    share = val_split if tested is used else min(0.99, val_split / left)
    split = with_validation(tested, kept_groups, share, seed, sides)
    return Dataset(
        folder=split,
        features=features,
        rows=tuple(kept),
        group_of=tuple(kept_groups),
        copy_pairs=pairs_within(copies, kept),
        copies=sum(map(len, alike)),
        leaks=tuple(tuple(readable.files[index] for index in group) for group in leaks),
        split_groups=divided_groups(readable),
        dropped=len(leaked),
        own_validation=VAL in used.splits,
        own_test=TEST in used.splits,
        seen=sum(side == TRAIN != its for side, its in zip(sides, split.splits, strict=True)),
    )


def require_enough(folder: ImageFolder, lost: Sequence[Dropped]) -> None:
    """Require `MIN_PER_CLASS` training images in every class.

    Args:
        folder: The usable images.
        lost: Images that cannot be used.

    Raises:
        TlkitError: A class has fewer, or no image is left.
    """
    if lost and not folder.files:
        raise TlkitError(f"no readable image in {folder.source}", "{}: {}".format(*lost[0]))
    for name, count in folder.counts(TRAIN if folder.has_splits else None).items():
        if count >= MIN_PER_CLASS:
            continue
        gone = [each for each in lost if each.label == name]
        kind = "usable image" if gone else "image"
        where = f" in {folder.part(TRAIN)}" if folder.has_splits else ""
        hint = "add images, or remove the class folder" if folder.table is None else "add images, or remove its rows"
        if gone:
            hint = f"{plural(len(gone), 'image')} could not be used, such as {gone[0].file}: {gone[0].reason}"
        elif others := [split for split in (VAL, TEST) if folder.has_splits and folder.counts(split)[name]]:
            hint = f"add training images of it, or remove it from {' and '.join(map(folder.part, others))}"
        raise TlkitError(
            f"class '{name}' has {plural(count, kind)}{where}, but at least {MIN_PER_CLASS} are required", hint
        )


def require_all(decoded: Decoded, folder: ImageFolder) -> None:
    """Require that every image can still be read.

    Raises:
        TlkitError: One cannot.
    """
    if decoded.errors:
        index, reason = next(iter(decoded.errors.items()))
        raise TlkitError(f"cannot read {folder.files[index]} again: {reason}", "leave the images in place")


def is_imbalanced(folder: ImageFolder) -> bool:
    """Whether the largest class has over `IMBALANCE` times the training images of the smallest."""
    counts = folder.counts(TRAIN).values()
    return max(counts) > IMBALANCE * min(counts)
