"""Which images of a data set a person should look at, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tlkit.api.check import matched_classes
from tlkit.api.check_findings import found_by_bundle
from tlkit.api.predict import unknown_limit
from tlkit.bundle.load import Bundle
from tlkit.bundle.run import answers
from tlkit.context import Context
from tlkit.images.checked import Checked
from tlkit.images.facts import Facts, facts_of
from tlkit.images.folder import ImageFolder

TOP = 5  # classes listed with their probabilities
MOST = 50  # images that are shown because they are unknown, or because the model is unsure
UNSURE = 0.75  # probability of the likeliest class from which the model counts as sure
CONFLICT, COPY, SUSPECT, UNKNOWN, DOUBT, REST = "conflict", "copies", "suspect", "unknown", "unsure", "other"


@dataclass
class Item:
    """An image to look at.

    Attributes:
        file: Its name, relative to the folder of the images.
        label: Its class.
        kind: Why it is shown: "conflict", "copies", "suspect", "unknown", "unsure" or "other".
        why: The same in words.
        looks_like: The class that it may be; None: not known.
        top: (class, probability) of the likeliest classes, as seen by the model.
        copies: (file, class) of its copies, if they are of another class.
    """

    file: str
    label: str
    kind: str
    why: str
    looks_like: str | None = None
    top: list[tuple[str, float]] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, for the page."""
        return {
            "file": self.file,
            "label": self.label,
            "kind": self.kind,
            "why": self.why,
            "looks_like": self.looks_like,
            "top": [{"label": name, "probability": round(share, 4)} for name, share in self.top],
            "copies": [{"file": file, "label": label} for file, label in self.copies],
        }


def check_by_bundle(folder: ImageFolder, bundle: Bundle, context: Context) -> tuple[Checked, set[str]]:
    """Check a data set by a bundle's predictions; also return the images that are unknown to it.

    Raises:
        TlkitError: The bundle has none of the classes.
    """
    matches, limit, paths = matched_classes(folder, bundle), unknown_limit(bundle, None), folder.paths
    facts: list[Facts] = []
    predicted: dict[int, np.ndarray] = {}
    unknown: set[str] = set()
    with context.show.phase("Checking", len(paths)) as advance:
        for answer in answers(paths, bundle, workers=context.workers, fingerprints=True):
            index = answer.item.index
            facts.append(facts_of(paths[index], answer.item))
            if answer.probabilities is not None and folder.classes[folder.labels[index]] in matches:
                predicted[index] = answer.probabilities
                if limit is not None and answer.ood_score is not None and answer.ood_score > limit:
                    unknown.add(folder.files[index])
            advance(1)
    return found_by_bundle(folder, facts, predicted, matches, bundle.classes, bundle.path, context), unknown


def items_of(folder: ImageFolder, found: Checked, unknown: set[str], *, every: bool = False) -> list[Item]:
    """Return the images to look at, those first that most need it; each once.

    Args:
        folder: The images.
        found: What a check found.
        unknown: Images that are unlike those the model knows.
        every: Whether to add all other images at the end.
    """
    label_of = {file: folder.classes[label] for file, label in zip(folder.files, folder.labels, strict=True)}
    unreadable = {file for file, _ in found.unreadable}
    items: dict[str, Item] = {}

    def add(file: str, kind: str, why: str, looks_like: str | None = None) -> None:
        if file in label_of and file not in unreadable and file not in items:
            items[file] = Item(file, label_of[file], kind, why, looks_like)

    for group in found.conflicts:
        for file in group:
            add(file, COPY, "has a copy in another class")
            if file in items:
                items[file].copies = [(other, label_of[other]) for other in group if other != file]
    for file, _, other, _ in found.suspects:
        add(file, SUSPECT, "its label is probably wrong", other)
    for file in sorted(unknown)[:MOST]:
        add(file, UNKNOWN, "unlike the images that the model knows")
    for file, other in _doubts(found):
        add(file, DOUBT, "the model is unsure", other)
    for file in folder.files if every else ():
        add(file, REST, "nothing is known against its label")
    _fill(items, found)
    return list(items.values())


def _doubts(found: Checked) -> list[tuple[str, str]]:
    """Return the images whose likeliest class is least probable, and that class."""
    if found.seen is None:
        return []
    best = np.nan_to_num(found.seen.probabilities.max(axis=1), nan=1.0)
    order = [int(row) for row in np.argsort(best, kind="stable")[:MOST] if best[row] < UNSURE]
    return [(found.seen.files[row], found.seen.classes[int(found.seen.probabilities[row].argmax())]) for row in order]


def _fill(items: dict[str, Item], found: Checked) -> None:
    """Add what the model sees."""
    if found.seen is None:
        return
    for file, row in zip(found.seen.files, found.seen.probabilities, strict=True):
        if file in items and np.isfinite(row).all():
            best: Sequence[int] = np.argsort(-row, kind="stable")[:TOP].tolist()
            items[file].top = [(found.seen.classes[each], float(row[each])) for each in best]
