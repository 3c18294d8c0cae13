"""What the held-out images cannot tell: classes that are missing among them, and splits of a single image."""

from __future__ import annotations

from tlkit.api.train.dataset import Dataset
from tlkit.images.split_names import TEST, VAL
from tlkit.words import some

NAMES = {VAL: "validation", TEST: "test"}


def coverage_warnings(dataset: Dataset) -> tuple[str, ...]:
    """Return, one sentence each, what the accuracies of a run do not cover.

    Args:
        dataset: The images with their splits.
    """
    found = []
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
