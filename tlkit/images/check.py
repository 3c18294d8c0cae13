"""Find the problems of a data set from the facts of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tlkit.images.duplicates import Pair, exact_copies, group_pairs, groups_of
from tlkit.images.facts import Facts
from tlkit.images.folder import IMBALANCE, TRAIN, ImageFolder
from tlkit.images.grouping import Grouping
from tlkit.images.groups import divided_groups
from tlkit.images.layout import layout_problems
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

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings()

    def findings(self) -> list[Finding]:
        """Return all problems, worst first."""
        found = [
            *(Finding("layout", problem.message, problem.advice) for problem in self.layout),
            _finding(
                "unusable",
                self.unusable,
                "image",
                "of the table cannot be used",
                "correct the table; training skips them",
            ),
            _group_finding("leaks", self.leaks, "image", "in more than one split", "train with --drop-leaks"),
            _finding(
                "group_leaks",
                [(name, "") for name in self.group_leaks],
                "group",
                "with images in more than one split",
                "move each group into one split, or train with --groups and --drop-leaks",
            ),
            *_grouping_finding(self.groups),
            _group_finding(
                "conflicts", self.conflicts, "image", "with copies in another class", "keep the copy in the right class"
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
            _group_finding("duplicates", self.duplicates, "group", "of identical files", "keep one file of each group"),
            _group_finding(
                "near_duplicates",
                self.near_duplicates,
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
            "ok": self.ok,
        }


def assess(folder: ImageFolder, facts: Sequence[Facts], copies: Sequence[Pair]) -> Checked:
    """Assess a data set.

    Args:
        folder: The images.
        facts: The facts of each file of ``folder``, in order.
        copies: Pairs of file indices that are copies of one image, exact or near.
    """
    files = folder.files
    readable = [index for index, fact in enumerate(facts) if fact.error is None]
    exact = exact_copies([fact.content for fact in facts])
    alike = groups_of(group_pairs(copies, len(files)))
    identical = {tuple(group) for group in exact}
    usable = folder.keep(readable)
    training = usable.counts(TRAIN if folder.has_splits else None)

    def named(groups: Sequence[Sequence[int]]) -> list[list[str]]:
        return [[files[index] for index in group] for group in groups]

    def matching(test: Any) -> list[str]:
        return [files[index] for index in readable if test(facts[index])]

    return Checked(
        images=len(files),
        classes=folder.counts(),
        unreadable=[
            *((file, fact.error) for file, fact in zip(files, facts, strict=True) if fact.error is not None),
            *folder.unreadable,
        ],
        wrong_extension=[(files[i], facts[i].format) for i in readable if not facts[i].fits_suffix],
        duplicates=named(exact),
        near_duplicates=named([group for group in alike if tuple(group) not in identical]),
        conflicts=named([group for group in alike if len({folder.labels[i] for i in group}) > 1]),
        leaks=named([group for group in alike if len({folder.splits[i] for i in group}) > 1]),
        group_leaks=list(divided_groups(folder)),
        blank=matching(lambda fact: fact.blank),
        tiny=matching(lambda fact: min(fact.width, fact.height) < TINY),
        huge=matching(lambda fact: fact.width * fact.height > HUGE),
        extreme=matching(lambda fact: max(fact.width, fact.height) > EXTREME * min(fact.width, fact.height)),
        imbalance=max(1, *training.values()) / max(1, min(training.values(), default=1)),
        small_classes={name: count for name, count in training.items() if count < MIN_PER_CLASS},
        layout=layout_problems(folder),
        unusable=[(each.file, each.reason) for each in folder.dropped],
        modes=dict(Counter(facts[i].mode for i in readable).most_common()),
    )


def _finding(kind: str, rows: Sequence[tuple[str, str]], noun: str, problem: str, advice: str) -> Finding | None:
    return Finding(kind, f"{plural(len(rows), noun)} {problem}".rstrip(), advice, tuple(rows)) if rows else None


def _group_finding(kind: str, groups: Sequence[Sequence[str]], noun: str, problem: str, advice: str) -> Finding | None:
    rows = [(group[0], "copies: " + ", ".join(group[1:])) for group in groups]
    return _finding(kind, rows, noun, problem, advice)


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
