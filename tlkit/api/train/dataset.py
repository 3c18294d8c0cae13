"""From a scanned folder to images that can be trained on: readable, enough of them, split without leaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.extractor import rows_of
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.folder import IMBALANCE, TEST, TRAIN, VAL, ImageFolder
from tlkit.images.splits import with_test, with_validation

if TYPE_CHECKING:
    from tlkit.backbones.extractor import Extractor
    from tlkit.backbones.features import Features
    from tlkit.images.batches import Loaded
    from tlkit.store.decoded import Decoded

MIN_PER_CLASS = 2  # training images a class

Skipped = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Dataset:
    """Readable images with their split and features.

    Attributes:
        folder: The images used; every one has a split.
        features: Of all images of the scanned folder.
        rows: The row of ``features.matrix`` of each image in ``folder``.
        group_of: Group number of each image in ``folder``: copies of one image share it.
        copies: How many images have a copy among the others.
        leaks: Groups of files that are copies of one another in different splits of the folder's own.
        dropped: How many training images were left out because of that.
        own_validation: Whether the validation images are the folder's own, not split off here.
        own_test: Whether the test images are, if there are any.
        seen: How many validation and test images an earlier training has trained on.
    """

    folder: ImageFolder
    features: Features
    rows: tuple[int, ...]
    group_of: tuple[int, ...]
    copies: int
    leaks: tuple[tuple[str, ...], ...]
    dropped: int
    own_validation: bool
    own_test: bool = False
    seen: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into it."""
        return self.folder.classes

    @property
    def imbalanced(self) -> bool:
        """Whether the largest class has over `IMBALANCE` times the training images of the smallest."""
        return is_imbalanced(self.folder)

    def of(self, split: str) -> list[int]:
        """Indices into ``folder`` of one split's images."""
        return [index for index, its in enumerate(self.folder.splits) if its == split]

    def count(self, split: str) -> int:
        """How many images a split has."""
        return self.folder.splits.count(split)

    def counts(self, split: str = TRAIN) -> list[int]:
        """Images of each class in a split."""
        return list(self.folder.counts(split).values())

    def labels(self, split: str) -> list[int]:
        """Class index of each image of a split."""
        return [self.folder.labels[index] for index in self.of(split)]

    def groups(self, split: str) -> list[int]:
        """Group number of each image of a split; copies of one image share it."""
        return [self.group_of[index] for index in self.of(split)]

    def paths(self, split: str) -> list[Path]:
        """Files of a split's images."""
        paths = self.folder.paths
        return [paths[index] for index in self.of(split)]

    def matrix(self, split: str, taps: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Features of a split's images, float32 [n, columns]; of some taps, or of all that were computed."""
        return self.features_of(self.of(split), taps)

    def features_of(self, indices: Sequence[int], taps: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Features of some images by their index into ``folder``, float32 [n, columns]."""
        rows = self.features.matrix[[self.rows[index] for index in indices]]
        return rows if taps is None else rows_of(rows, self.features.taps, taps)

    @cached_property
    def contents(self) -> list[str]:
        """SHA-256 of each image's bytes in hex, in the order of ``folder``."""
        return [self.features.contents[self.features.rows[row]] for row in self.rows]

    def part(self, indices: Sequence[int], splits: Sequence[str]) -> Dataset:
        """Some images alone, by their index into ``folder``, with another split."""
        return replace(
            self,
            folder=self.folder.keep(list(indices)).with_splits(list(splits)),
            rows=tuple(self.rows[index] for index in indices),
            group_of=tuple(self.group_of[index] for index in indices),
        )


def read_features(
    folder: ImageFolder,
    extractor: Extractor,
    context: Context,
    observe: Callable[[Loaded], None] | None = None,
    taps: Sequence[str] = ("top",),
) -> Features:
    """Features of every image of a folder, from the store where it has them; says what was reused."""
    features = stored_features(folder.paths, extractor, context, observe, taps)
    if features.problem:
        context.show.note(features.problem)
    if features.reused:
        context.show.note(f"features of {features.reused} of {len(folder.files)} images reused from an earlier run")
    return features


def stored_features(
    paths: Sequence[Path],
    extractor: Extractor,
    context: Context,
    observe: Callable[[Loaded], None] | None = None,
    taps: Sequence[str] | None = None,
) -> Features:
    """Features of some images, from the store where it has them, and kept in it; of all taps unless told."""
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
    """(file, reason) of every image that could not be read."""
    return tuple((folder.files[index], reason) for index, reason in features.errors.items())


def prepare(
    folder: ImageFolder,
    features: Features,
    val_split: float,
    seed: int,
    drop_leaks: bool,
    known: Mapping[str, str] | None = None,
    test_split: float | None = None,
) -> Dataset:
    """Leave out what cannot be read, find copies, and give every image a split.

    Copies of one image stay on one side of a split that is drawn here. A folder's own split is kept as it is; what it
    lacks is drawn from its training images, test images by `tlkit.images.splits.with_test`;
    ``drop_leaks`` leaves those training images out that have a copy in val/ or test/. ``known`` says by content hash
    what an earlier training used: such images stay on their side, so that none it has seen is validated on.

    Raises:
        TlkitError: Too few images are left in a class, or none can be kept for validation.
    """
    from tlkit.backbones.copies import confirmed_copies
    from tlkit.images.duplicates import group_pairs, groups_of

    readable = folder.keep(list(features.rows))
    require_enough(readable, skipped_files(folder, features))
    groups = group_pairs(confirmed_copies(features), len(readable.files))
    alike = groups_of(groups)
    leaks = [group for group in alike if len({readable.splits[index] for index in group}) > 1]
    leaked = {index for group in leaks for index in group if drop_leaks and readable.splits[index] == TRAIN}
    kept = [index for index in range(len(readable.files)) if index not in leaked]
    used = readable.keep(kept)
    require_enough(used, [(readable.files[index], "a copy of it is in val/ or test/") for index in sorted(leaked)])
    kept_groups = [groups[index] for index in kept]
    contents = [features.contents[features.rows[index]] for index in kept]
    sides = [(known or {}).get(content) for content in contents]
    tested = with_test(used, kept_groups, test_split, seed, sides)
    # of all images, not of those that the test images leave
    left = 1 - tested.splits.count(TEST) / len(kept)
    share = val_split if tested is used else min(0.99, val_split / left)
    split = with_validation(tested, kept_groups, share, seed, sides)
    return Dataset(
        folder=split,
        features=features,
        rows=tuple(kept),
        group_of=tuple(kept_groups),
        copies=sum(map(len, alike)),
        leaks=tuple(tuple(readable.files[index] for index in group) for group in leaks),
        dropped=len(leaked),
        own_validation=VAL in used.splits,
        own_test=TEST in used.splits,
        seen=sum(side == TRAIN != its for side, its in zip(sides, split.splits, strict=True)),
    )


def require_enough(folder: ImageFolder, lost: Sequence[tuple[str, str]]) -> None:
    """Every class needs `MIN_PER_CLASS` images to train on.

    Args:
        folder: The images that can be used.
        lost: (file, reason) of those that cannot.

    Raises:
        TlkitError: A class has fewer, or nothing is left at all.
    """
    if lost and not folder.files:
        raise TlkitError(f"no readable image in {folder.root}", "{}: {}".format(*lost[0]))
    depth = 1 if folder.has_splits else 0
    for name, count in folder.counts(TRAIN if folder.has_splits else None).items():
        if count >= MIN_PER_CLASS:
            continue
        gone = [(file, reason) for file, reason in lost if file.split("/")[depth] == name]
        kind = "usable image" if gone else "image"
        where = " in train/" if folder.has_splits else ""
        hint = "add images, or take the class folder away"
        if gone:
            hint = f"{len(gone)} could not be used, such as {gone[0][0]}: {gone[0][1]}"
        message = (
            f"class '{name}' has {count} {kind}{'' if count == 1 else 's'}{where}, at least {MIN_PER_CLASS} are needed"
        )
        raise TlkitError(message, hint)


def require_all(decoded: Decoded, folder: ImageFolder) -> None:
    """Every image must still be readable when its pixels are wanted.

    Raises:
        TlkitError: One is not.
    """
    if decoded.errors:
        index, reason = next(iter(decoded.errors.items()))
        raise TlkitError(f"cannot read {folder.files[index]} again: {reason}", "leave the images in place")


def is_imbalanced(folder: ImageFolder) -> bool:
    """Whether the largest class has over `IMBALANCE` times the training images of the smallest."""
    counts = folder.counts(TRAIN).values()
    return max(counts) > IMBALANCE * min(counts)
