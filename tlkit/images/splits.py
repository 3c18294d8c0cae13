"""Which images are trained on, which ones choices are made by, and which ones nothing was chosen on."""

from __future__ import annotations

from collections.abc import Sequence

from tlkit.errors import TlkitError
from tlkit.images.folder import TEST, TRAIN, VAL, ImageFolder
from tlkit.images.stratified import stratified_split

MIN_IMAGES_FOR_TEST = 300  # images to draw from, below which a tenth of them says next to nothing
TEST_SHARE = 0.1
Sides = Sequence[str | None]  # what an earlier training used each image for


def with_test(
    folder: ImageFolder, groups: Sequence[int], test_split: float | None, seed: int, sides: Sides
) -> ImageFolder:
    """The folder with test images: its own, or a part kept aside on which nothing is chosen.

    Classes of which that share is not even one image give none. Copies stay together; images that an earlier
    training used otherwise stay what they were.

    Args:
        folder: Readable images.
        groups: Copies of one image share a group.
        test_split: Share of each class; None: `TEST_SHARE` where there are `MIN_IMAGES_FOR_TEST` images to draw from.
        seed: Of the draw.
        sides: What an earlier training used each image for.

    Raises:
        TlkitError: A share was asked for, and the folder has test images of its own.
    """
    if TEST in folder.splits:
        if test_split:
            raise TlkitError("--test-split has no meaning: the folder has its own test/", "leave it out")
        return folder
    inner = _whole([i for i, split in enumerate(folder.splits) if split != VAL], groups)
    if test_split is None:
        test_split = TEST_SHARE if len(inner) >= MIN_IMAGES_FOR_TEST else 0.0
    if not test_split:
        return folder
    counts = [0] * len(folder.classes)
    for index in inner:
        counts[folder.labels[index]] += 1
    inner = _whole([index for index in inner if counts[folder.labels[index]] * test_split >= 1], groups)
    if not inner:
        return folder
    drawn = stratified_split([folder.labels[i] for i in inner], test_split, seed, [groups[i] for i in inner])
    used = {groups[i] for i, side in enumerate(sides) if side in (TRAIN, VAL)}
    spared = {groups[i] for i, side in enumerate(sides) if side == TEST} - used
    splits = list(folder.splits)
    for index, split in zip(inner, drawn, strict=True):
        if groups[index] in spared or (split == VAL and groups[index] not in used):
            splits[index] = TEST
    return folder.with_splits(splits)


def _whole(chosen: list[int], groups: Sequence[int]) -> list[int]:
    """Of some images, those all of whose copies are among them."""
    among = set(chosen)
    divided = {group for index, group in enumerate(groups) if index not in among}
    return [index for index in chosen if groups[index] not in divided]


def with_validation(
    folder: ImageFolder, groups: Sequence[int], val_split: float, seed: int, sides: Sides
) -> ImageFolder:
    """The folder with validation images: its own, or a part split off the training images.

    Args:
        folder: Readable images, with test images where there are to be some.
        groups: Copies of one image share a group.
        val_split: Share of each class, test images included.
        seed: Of the draw.
        sides: What an earlier training used each image for.

    Raises:
        TlkitError: None can be kept, as in every class all are copies of one another.
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
    splits = _as_before(folder, splits, groups, sides)
    if VAL not in splits:
        raise TlkitError(
            "no image can be kept for validation: in every class all are copies of one another",
            "add different images, or give val/ images of your own",
        )
    return folder.with_splits(splits)


def _as_before(folder: ImageFolder, drawn: list[str], groups: Sequence[int], sides: Sides) -> list[str]:
    """The drawn split, with images of an earlier training on the side they were on then.

    Where that would leave a class without training images, or nothing for validation, it stays as drawn.
    """
    seen = {groups[index] for index, side in enumerate(sides) if side == TRAIN}
    spared = {groups[index] for index, side in enumerate(sides) if side in (VAL, TEST)} - seen
    splits = [
        split if split == TEST else TRAIN if group in seen else VAL if group in spared else split
        for split, group in zip(drawn, groups, strict=True)
    ]
    trained = {label for label, split in zip(folder.labels, splits, strict=True) if split == TRAIN}
    splits = [
        split if label in trained else old for split, old, label in zip(splits, drawn, folder.labels, strict=True)
    ]
    return splits if VAL in splits else drawn
