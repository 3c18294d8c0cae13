"""What a check of a data set found: the record, and its problems in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.images.folder import IMBALANCE
from tlkit.images.grouping import Grouping
from tlkit.images.layout_faults import LayoutProblem
from tlkit.words import plural

TINY = 32  # pixels; a smaller side shows little at a network's input size
HUGE = 50_000_000  # pixels; larger images only cost time
EXTREME = 5.0  # long side / short side; stretching such images to a square distorts them beyond recognition
MIN_PER_CLASS = 10  # training images per class; with fewer, no useful accuracy can be expected


@dataclass(frozen=True)
class Finding:
    """One kind of problem, as reported to the user.

    Attributes:
        kind: Name of the problem, as in the JSON result.
        message: What was found, with its count.
        advice: How to fix it.
        rows: (file, detail) of each affected image; empty for problems of classes or folders.
    """

    kind: str
    message: str
    advice: str
    rows: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Seen:
    """Probabilities by which label errors were searched for.

    Attributes:
        files: The images, relative to the root.
        classes: Class names.
        probabilities: float32 [images, classes]; a row is NaN if nothing is known of its image.
    """

    files: Sequence[str]
    classes: Sequence[str]
    probabilities: NDArray[np.float32]


@dataclass
class Checked:
    """The result of a check. File names are relative to the folder.

    Attributes:
        images: Number of files checked.
        classes: Number of images by class.
        unreadable: (file, reason).
        wrong_extension: (file, actual format).
        duplicates: Groups of files with identical bytes.
        near_duplicates: Groups of resized or re-encoded copies of one image.
        conflicts: Groups of copies, exact or near, with more than one class.
        leaks: Groups of copies, exact or near, in more than one split.
        group_leaks: Groups of the folder, by name, with images in more than one split.
        groups: Groups that were asked for or found, and what they mean for the accuracy; None: none were found.
        blank: Images of one nearly uniform colour.
        tiny: Images with a side below `TINY` pixels.
        huge: Images above `HUGE` pixels.
        extreme: Images with one side over `EXTREME` times the other.
        imbalance: Training images of the largest class divided by those of the smallest.
        small_classes: Number of training images of each class with fewer than `MIN_PER_CLASS`.
        layout: Problems with the folder layout.
        unusable: Rows of the table that cannot be used: (file, reason).
        modes: Number of images by Pillow mode.
        suspects: Likely label errors: (file, its class, the class it looks like, margin in log probability), worst
            first.
        suspects_by: How label errors were searched for, or why they were not.
        not_searched: Classes in which they could not be searched for.
        dark: Images that are nearly black.
        overexposed: Images that are nearly white.
        low_information: Images with little in them, though not blank.
        blurry: Images much less sharp than the others.
        root: The folder that file names are relative to.
        seen: What the search for label errors saw in the images; None: there was none.
    """

    images: int
    classes: dict[str, int]
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    wrong_extension: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[list[str]] = field(default_factory=list)
    near_duplicates: list[list[str]] = field(default_factory=list)
    conflicts: list[list[str]] = field(default_factory=list)
    leaks: list[list[str]] = field(default_factory=list)
    group_leaks: list[str] = field(default_factory=list)
    groups: Grouping | None = None
    blank: list[str] = field(default_factory=list)
    tiny: list[str] = field(default_factory=list)
    huge: list[str] = field(default_factory=list)
    extreme: list[str] = field(default_factory=list)
    imbalance: float = 1.0
    small_classes: dict[str, int] = field(default_factory=dict)
    layout: list[LayoutProblem] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)
    modes: dict[str, int] = field(default_factory=dict)
    suspects: list[tuple[str, str, str, float]] = field(default_factory=list)
    suspects_by: str = ""
    not_searched: list[str] = field(default_factory=list)
    dark: list[str] = field(default_factory=list)
    overexposed: list[str] = field(default_factory=list)
    low_information: list[str] = field(default_factory=list)
    blurry: list[str] = field(default_factory=list)
    root: Path | None = field(default=None, compare=False)
    seen: Seen | None = field(default=None, compare=False, repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings()

    @property
    def copies(self) -> list[list[str]]:
        """Every group of copies, exact or near, once."""
        within = {file for group in self.near_duplicates for file in group}
        return [*self.near_duplicates, *(group for group in self.duplicates if not within.issuperset(group))]

    def findings(self) -> list[Finding]:
        """Return all problems, worst first; a group of copies is told once, where it matters most."""
        leaks, conflicts = self.leaks, [group for group in self.conflicts if group not in self.leaks]
        told = {file for group in (*leaks, *conflicts) for file in group}
        harmless = [group for group in self.copies if not told.issuperset(group)]
        found = [
            *(Finding("layout", problem.message, problem.advice) for problem in self.layout),
            _finding(
                "unusable",
                self.unusable,
                "image",
                "of the table cannot be used",
                "correct the table; training skips them",
            ),
            _finding(
                "leaks",
                [
                    (file, f"{said}; of several classes" if group in self.conflicts else said)
                    for group in leaks
                    for file, said in [_copies_of(group)]
                ],
                "image",
                "in more than one split",
                "train with --drop-leaks",
            ),
            _finding(
                "group_leaks",
                [(name, "") for name in self.group_leaks],
                "group",
                "with images in more than one split",
                "move each group into one split, or train with --groups and --drop-leaks",
            ),
            *_grouping_finding(self.groups),
            _group_finding(
                "conflicts", conflicts, "image", "with copies in another class", "keep the copy in the right class"
            ),
            _finding(
                "unreadable", self.unreadable, "unreadable file", "", "replace or remove them; training skips them"
            ),
            _finding("blank", [(file, "") for file in self.blank], "blank image", "", "remove them"),
            _finding(
                "suspects",
                [(file, f"in {label}, looks like {other}") for file, label, other, _ in self.suspects],
                "label",
                "probably wrong",
                "review them, worst first, and move the images to the right class",
            ),
            *_class_findings(self.small_classes, self.imbalance),
            _group_finding(
                "duplicates",
                [group for group in harmless if group in self.duplicates],
                "group",
                "of identical files",
                "keep one file of each group",
            ),
            _group_finding(
                "near_duplicates",
                [group for group in harmless if group not in self.duplicates],
                "group",
                "of resized or re-encoded copies",
                "keep the best of each group; training never splits a group",
            ),
            _finding(
                "wrong_extension",
                [(file, f"is {form}") for file, form in self.wrong_extension],
                "file",
                "with the wrong extension",
                "rename them; they are read by their actual format",
            ),
            *self._quality_findings(),
            _finding(
                "tiny",
                [(file, "") for file in self.tiny],
                "image",
                f"with a side below {TINY} pixels",
                "use larger images",
            ),
            _finding(
                "extreme",
                [(file, "") for file in self.extreme],
                "image",
                f"with one side over {EXTREME:g} times the other",
                "crop them: they are stretched to a square",
            ),
            _finding(
                "huge",
                [(file, "") for file in self.huge],
                "image",
                f"over {HUGE // 1_000_000} megapixels",
                "scale them down: they only cost time",
            ),
        ]
        return [finding for finding in found if finding is not None]

    def _quality_findings(self) -> list[Finding | None]:
        return [
            _finding("dark", [(file, "") for file in self.dark], "image", "nearly black", "brighten or remove them"),
            _finding(
                "overexposed",
                [(file, "") for file in self.overexposed],
                "image",
                "nearly white",
                "replace or remove them",
            ),
            _finding(
                "blurry",
                [(file, "") for file in self.blurry],
                "image",
                "far less sharp than the others",
                "look at them, and remove those in which the class cannot be told",
            ),
            _finding(
                "low_information",
                [(file, "") for file in self.low_information],
                "image",
                "with hardly any contrast",
                "look at them, and remove those in which the class cannot be told",
            ),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain data, the fields of the command line's JSON."""
        return {
            "images": self.images,
            "classes": self.classes,
            "unreadable": [{"file": file, "error": reason} for file, reason in self.unreadable],
            "wrong_extension": [{"file": file, "format": form} for file, form in self.wrong_extension],
            "duplicates": self.duplicates,
            "near_duplicates": self.near_duplicates,
            "conflicts": self.conflicts,
            "leaks": self.leaks,
            "group_leaks": self.group_leaks,
            "groups": None if self.groups is None else self.groups.to_json(),
            "blank": self.blank,
            "tiny": self.tiny,
            "huge": self.huge,
            "extreme": self.extreme,
            "imbalance": round(self.imbalance, 3),
            "small_classes": self.small_classes,
            "unusable": [{"file": file, "error": reason} for file, reason in self.unusable],
            "layout": [{"problem": each.message, "advice": each.advice} for each in self.layout],
            "modes": self.modes,
            "suspects": [
                {"file": file, "label": label, "looks_like": other, "margin": round(margin, 3)}
                for file, label, other, margin in self.suspects
            ],
            "suspects_by": self.suspects_by,
            "not_searched": self.not_searched,
            "dark": self.dark,
            "overexposed": self.overexposed,
            "low_information": self.low_information,
            "blurry": self.blurry,
            "copies": [
                {
                    "files": group,
                    "identical": group in self.duplicates,
                    "leak": group in self.leaks,
                    "conflict": group in self.conflicts,
                }
                for group in self.copies
            ],
            "ok": self.ok,
        }


def _finding(kind: str, rows: Sequence[tuple[str, str]], noun: str, problem: str, advice: str) -> Finding | None:
    return Finding(kind, f"{plural(len(rows), noun)} {problem}".rstrip(), advice, tuple(rows)) if rows else None


def _group_finding(kind: str, groups: Sequence[Sequence[str]], noun: str, problem: str, advice: str) -> Finding | None:
    return _finding(kind, [_copies_of(group) for group in groups], noun, problem, advice)


def _copies_of(group: Sequence[str]) -> tuple[str, str]:
    return group[0], "copies: " + ", ".join(group[1:])


def _grouping_finding(groups: Grouping | None) -> list[Finding]:
    if groups is None or groups.asked:
        return []
    return [Finding("groups", groups.found, groups.advice)]


def _class_findings(small: dict[str, int], imbalance: float) -> list[Finding]:
    found = []
    if small:
        names = ", ".join(f"{name} ({count})" for name, count in list(small.items())[:8])
        message = f"{plural(len(small), 'class', 'classes')} with fewer than {MIN_PER_CLASS} training images: {names}"
        found.append(Finding("small_classes", message, "add images to them"))
    if imbalance > IMBALANCE:
        message = f"the largest class has {imbalance:.1f} times as many training images as the smallest"
        advice = "add images to the small classes; until then, training weights classes by inverse frequency"
        found.append(Finding("imbalance", message, advice))
    return found
