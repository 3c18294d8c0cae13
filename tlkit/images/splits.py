"""Split images into training, validation (used to select the model) and test (never used in training)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from tlkit.errors import TlkitError
from tlkit.images.folder import TEST, TRAIN, VAL, ImageFolder
from tlkit.images.stratified import stratified_split

MIN_IMAGES_FOR_TEST = 300  # images to draw from; with fewer, a tenth of them is too few for a test
TEST_SHARE = 0.1
EarlierSplits = Sequence[str | None]  # split of each image in an earlier training run; None: not used in it


def with_test(
    folder: ImageFolder, groups: Sequence[int], test_split: float | None, seed: int, earlier: EarlierSplits
) -> ImageFolder:
    """Return the folder with test images: its own, or a share held out and never used in training.

    Groups stay whole. Classes in which that share is less than one image have no test images, unless they share groups
    with others. If nobody asked for a share, none is held out where a class would be left with a single group, since
    that class could not be validated. Images that an earlier training run used for training or validation do not become
    test images.

    Args:
        folder: Readable images.
        groups: Group of each image, which is never divided; copies of one image share a group.
        test_split: Share of each class; None: `TEST_SHARE` if there are `MIN_IMAGES_FOR_TEST` images to draw from,
            else 0.
        seed: Random seed.
        earlier: Split of each image in an earlier training run.

    Raises:
        TlkitError: A share is given, but the folder has its own test images.
    """
    if TEST in folder.splits:
        if test_split:
            raise TlkitError("--test-split does not apply: the folder has its own test/", "leave it out")
        return folder
    inner = _whole([i for i, split in enumerate(folder.splits) if split != VAL], groups)
    asked = test_split is not None
    if test_split is None:
        test_split = TEST_SHARE if len(inner) >= MIN_IMAGES_FOR_TEST else 0.0
    if not test_split:
        return folder
    counts = Counter(folder.labels[index] for index in inner)
    large = {groups[index] for index in inner if counts[folder.labels[index]] * test_split >= 1}
    inner = [index for index in inner if groups[index] in large]
    if not inner:
        return folder
    drawn = stratified_split([folder.labels[i] for i in inner], test_split, seed, [groups[i] for i in inner])
    used = {groups[i] for i, split in enumerate(earlier) if split in (TRAIN, VAL)}
    unused = {groups[i] for i, split in enumerate(earlier) if split == TEST} - used
    splits = list(folder.splits)
    for index, split in zip(inner, drawn, strict=True):
        if groups[index] in unused or (split == VAL and groups[index] not in used):
            splits[index] = TEST
    if not asked and VAL not in folder.splits and _would_lack_groups(folder, groups, splits):
        return folder
    return folder.with_splits(splits)


def _would_lack_groups(folder: ImageFolder, groups: Sequence[int], splits: Sequence[str]) -> bool:
    """Whether these test images would leave a class one group of several."""
    before: dict[int, set[int]] = defaultdict(set)
    after: dict[int, set[int]] = defaultdict(set)
    for label, group, split in zip(folder.labels, groups, splits, strict=True):
        before[label].add(group)
        if split != TEST:
            after[label].add(group)
    return any(len(after[label]) < min(2, len(its)) for label, its in before.items())


def _whole(chosen: list[int], groups: Sequence[int]) -> list[int]:
    """Return the chosen images that have all their copies among the chosen ones."""
    among = set(chosen)
    divided = {group for index, group in enumerate(groups) if index not in among}
    return [index for index in chosen if groups[index] not in divided]


def with_validation(
    folder: ImageFolder, groups: Sequence[int], val_split: float, seed: int, earlier: EarlierSplits
) -> ImageFolder:
    """Return the folder with validation images: its own, or a share of the training images.

    Args:
        folder: Readable images, with test images already assigned.
        groups: Group of each image; copies of one image share a group.
        val_split: Share of the images of each class that are not test images.
        seed: Random seed.
        earlier: Split of each image in an earlier training run.

    Raises:
        TlkitError: No image can be held out: every class is a single group.
    """
    if VAL in folder.splits:
        return folder.with_splits([split or TRAIN for split in folder.splits])
    inner = [index for index, split in enumerate(folder.splits) if split != TEST]
    drawn = stratified_split(
        [folder.labels[index] for index in inner], val_split, seed, [groups[index] for index in inner]
    )
    splits = list(folder.splits)
    for index, split in zip(inner, drawn, strict=True):
        splits[index] = split
    splits = _as_before(folder, splits, groups, earlier)
    if VAL not in splits:
        raise _nothing_to_hold_out(folder)
    return folder.with_splits(splits)


def _nothing_to_hold_out(folder: ImageFolder) -> TlkitError:
    if any(folder.groups):
        return TlkitError(
            "no image can be held out for validation: no class has images of two groups",
            "choose smaller groups, leave out --groups, or provide a val/ folder",
        )
    return TlkitError(
        "no image can be held out for validation: in every class, all images are copies of one another",
        "add different images, or provide a val/ folder",
    )


def _as_before(folder: ImageFolder, drawn: list[str], groups: Sequence[int], earlier: EarlierSplits) -> list[str]:
    """Return the drawn splits, except that images of an earlier training run keep their split.

    A class that would be left without training images keeps the drawn splits; so do all classes if no validation image
    would be left.
    """
    seen = {groups[index] for index, split in enumerate(earlier) if split == TRAIN}
    held_out = {groups[index] for index, split in enumerate(earlier) if split in (VAL, TEST)} - seen
    splits = [
        split if split == TEST else TRAIN if group in seen else VAL if group in held_out else split
        for split, group in zip(drawn, groups, strict=True)
    ]
    trained = {label for label, split in zip(folder.labels, splits, strict=True) if split == TRAIN}
    splits = [
        split if label in trained else old for split, old, label in zip(splits, drawn, folder.labels, strict=True)
    ]
    return splits if VAL in splits else drawn
