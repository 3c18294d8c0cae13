"""What the report of a training says of labels that may be wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tlkit.api.train.report import MAX_NAMED, doubtful_labels
from tlkit.images.folder import ImageFolder


def said(labels: list[int], looks: dict[int, int], copies: tuple[tuple[int, int], ...] = ()) -> list[str]:
    """Of held-out images, some of which look like another class."""
    files = tuple(f"{'ab'[label]}/{number}.png" for number, label in enumerate(labels))
    splits = ("val",) * len(files)
    folder = ImageFolder(Path("/images"), ("a", "b"), files, tuple(labels), splits)
    dataset: Any = SimpleNamespace(
        folder=folder,
        classes=folder.classes,
        copy_pairs=copies,
        of=lambda _: range(len(files)),
        labels=lambda _: labels,
    )
    seen = [looks.get(number, label) for number, label in enumerate(labels)]
    probabilities = np.where(np.eye(2)[seen] == 1, 0.98, 0.02).astype(np.float32)
    return doubtful_labels(dataset, {"val": probabilities})


def test_nothing_to_doubt() -> None:
    assert said([0, 0, 1, 1], {}) == []


def test_suspects_and_copies_in_several_classes_are_named_once() -> None:
    labels = [0] * 30 + [1] * 30
    copies, suspects = said(labels, {3: 1, 40: 0}, ((3, 35), (7, 8)))
    assert copies == "copies in more than one class: a/3.png = b/35.png"
    assert suspects == (
        "held-out labels that are probably wrong: 1, b/40.png (in b, looks like a); tlkit check looks at all images"
    )


def test_of_many_only_some_are_named() -> None:
    labels = [0] * 50 + [1] * 50
    (suspects,) = said(labels, dict.fromkeys(range(MAX_NAMED + 2), 1))
    assert suspects.count("looks like") == MAX_NAMED
    assert "and 2 more; tlkit check" in suspects
