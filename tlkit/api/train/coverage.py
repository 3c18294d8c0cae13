"""What the accuracies of a run cannot tell: classes that are missing or in doubt, and splits of a single image."""

from __future__ import annotations

from tlkit.api.train.dataset import Dataset
from tlkit.images.layout import class_doubts
from tlkit.images.split_names import TEST, VAL
from tlkit.words import plural, some

NAMES = {VAL: "validation", TEST: "test"}


def coverage_warnings(dataset: Dataset) -> tuple[str, ...]:
    """Return, one sentence each, what the accuracies of a run do not cover, and which classes are in doubt.

    Args:
        dataset: The images with their splits.
    """
    found = class_doubts(dataset.folder)
    if empty := dataset.folder.empty_classes:
        found.append(f"no images in: {some([f'{name}/' for name in empty])}")
    found += _conflicts(dataset)
    for split, name in NAMES.items():
        if not dataset.count(split):
            continue
        counts = dataset.folder.counts(split)
        if missing := [each for each, count in counts.items() if not count]:
            it = "it is" if len(missing) == 1 else "they are"
            found.append(f"no {name} images of {some(missing)}: how well {it} recognised is not known")
        if dataset.count(split) == 1:
            found.append(f"only 1 {name} image: an accuracy of one image says nothing")
    return tuple(found)


def _conflicts(dataset: Dataset) -> list[str]:
    """Say how many images have a copy in another class."""
    labels, files = dataset.folder.labels, dataset.folder.files
    pairs = [pair for pair in dataset.copy_pairs if labels[pair[0]] != labels[pair[1]]]
    if not pairs:
        return []
    images = plural(len({index for pair in pairs for index in pair}), "image")
    one, two = (files[index] for index in pairs[0])
    return [f"{images} with a copy in another class, such as {one} = {two}: one of their labels is wrong"]
