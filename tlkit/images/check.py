"""What is wrong with a data set, from the facts of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tlkit.images.duplicates import Pair, exact_copies, group_pairs, groups_of
from tlkit.images.facts import Facts
from tlkit.images.folder import IMBALANCE, TRAIN, ImageFolder
from tlkit.images.layout import LayoutProblem, layout_problems

TINY = 32  # pixels; below, little is left to see at a network's input size
HUGE = 50_000_000  # pixels; such images only cost time
EXTREME = 5.0  # long side over short; stretching to a square distorts such images beyond recognition
MIN_PER_CLASS = 10  # training images a class, below which no accuracy can be expected


@dataclass(frozen=True)
class Finding:
    """One kind of problem, as it is told to the user.

    Attributes:
        kind: Its name, as in the JSON result.
        message: What was found, with how many.
        advice: What to do.
        rows: (file, detail) for each image concerned; empty where it is about classes or folders.
    """

    kind: str
    message: str
    advice: str
    rows: tuple[tuple[str, str], ...] = ()


@dataclass
class Checked:
    """All that a check finds; every list holds file names relative to the folder.

    Attributes:
        images: Files looked at.
        classes: Images per class.
        unreadable: (file, reason).
        wrong_extension: (file, what it really is).
        duplicates: Groups of files with the same bytes.
        near_duplicates: Groups of files that show one image, resized or encoded anew.
        conflicts: Those groups, exact or near, that have more than one class.
        leaks: Those groups that lie in more than one split.
        blank: Images that show nothing.
        tiny: Images with a side below `TINY` pixels.
        huge: Images above `HUGE` pixels.
        extreme: Images with one side over `EXTREME` times the other.
        imbalance: Training images of the largest class over those of the smallest.
        small_classes: Classes with fewer than `MIN_PER_CLASS` training images, and how many they have.
        layout: Folders that are not as they should be.
        modes: How many images are stored in which Pillow mode.
        suspects: (file, its class, the class it looks like, margin in log probability), worst first.
        suspects_by: How suspects were looked for, or why not.
    """

    images: int
    classes: dict[str, int]
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    wrong_extension: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[list[str]] = field(default_factory=list)
    near_duplicates: list[list[str]] = field(default_factory=list)
    conflicts: list[list[str]] = field(default_factory=list)
    leaks: list[list[str]] = field(default_factory=list)
    blank: list[str] = field(default_factory=list)
    tiny: list[str] = field(default_factory=list)
    huge: list[str] = field(default_factory=list)
    extreme: list[str] = field(default_factory=list)
    imbalance: float = 1.0
    small_classes: dict[str, int] = field(default_factory=dict)
    layout: list[LayoutProblem] = field(default_factory=list)
    modes: dict[str, int] = field(default_factory=dict)
    suspects: list[tuple[str, str, str, float]] = field(default_factory=list)
    suspects_by: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings()

    def findings(self) -> list[Finding]:
        """Every problem found, worst first."""
        found = [
            *(Finding("layout", problem.message, problem.advice) for problem in self.layout),
            _group_finding("leaks", self.leaks, "images lie in more than one split", "train with --drop-leaks"),
            _group_finding(
                "conflicts",
                self.conflicts,
                "images have copies in another class",
                "keep the copy whose class is right",
            ),
            _finding(
                "unreadable", self.unreadable, "files cannot be read", "replace or remove them; training skips them"
            ),
            _finding("blank", [(file, "") for file in self.blank], "images show nothing", "remove them"),
            _finding(
                "suspects",
                [(file, f"in {label}, looks like {other}") for file, label, other, _ in self.suspects],
                "labels look wrong",
                "look at them, worst first, and move what is wrong",
            ),
            *_class_findings(self.small_classes, self.imbalance),
            _group_finding("duplicates", self.duplicates, "groups of identical files", "keep one of each"),
            _group_finding(
                "near_duplicates",
                self.near_duplicates,
                "groups of resized or re-encoded copies",
                "keep the best of each; training keeps a group on one side of its split",
            ),
            _finding(
                "wrong_extension",
                [(file, f"is {form}") for file, form in self.wrong_extension],
                "files are not what their extension says",
                "rename them; they are read as what they are",
            ),
            _finding(
                "tiny",
                [(file, "") for file in self.tiny],
                f"images have a side below {TINY} pixels",
                "use larger ones",
            ),
            _finding(
                "extreme",
                [(file, "") for file in self.extreme],
                f"images have one side over {EXTREME:g} times the other",
                "crop them: they are stretched to a square",
            ),
            _finding(
                "huge",
                [(file, "") for file in self.huge],
                f"images have over {HUGE // 1_000_000} megapixels",
                "scale them down: they only cost time",
            ),
        ]
        return [finding for finding in found if finding is not None]

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields of the command line's JSON."""
        return {
            "images": self.images,
            "classes": self.classes,
            "unreadable": [{"file": file, "error": reason} for file, reason in self.unreadable],
            "wrong_extension": [{"file": file, "format": form} for file, form in self.wrong_extension],
            "duplicates": self.duplicates,
            "near_duplicates": self.near_duplicates,
            "conflicts": self.conflicts,
            "leaks": self.leaks,
            "blank": self.blank,
            "tiny": self.tiny,
            "huge": self.huge,
            "extreme": self.extreme,
            "imbalance": round(self.imbalance, 3),
            "small_classes": self.small_classes,
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
    """Put together all that facts say.

    Args:
        folder: Which images there are.
        facts: One for each file of ``folder``.
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

    def those(test: Any) -> list[str]:
        return [files[index] for index in readable if test(facts[index])]

    return Checked(
        images=len(files),
        classes=folder.counts(),
        unreadable=[(file, fact.error) for file, fact in zip(files, facts, strict=True) if fact.error is not None],
        wrong_extension=[(files[i], facts[i].format) for i in readable if not facts[i].fits_suffix],
        duplicates=named(exact),
        near_duplicates=named([group for group in alike if tuple(group) not in identical]),
        conflicts=named([group for group in alike if len({folder.labels[i] for i in group}) > 1]),
        leaks=named([group for group in alike if len({folder.splits[i] for i in group}) > 1]),
        blank=those(lambda fact: fact.blank),
        tiny=those(lambda fact: min(fact.width, fact.height) < TINY),
        huge=those(lambda fact: fact.width * fact.height > HUGE),
        extreme=those(lambda fact: max(fact.width, fact.height) > EXTREME * min(fact.width, fact.height)),
        imbalance=max(1, *training.values()) / max(1, min(training.values(), default=1)),
        small_classes={name: count for name, count in training.items() if count < MIN_PER_CLASS},
        layout=layout_problems(folder),
        modes=dict(Counter(facts[i].mode for i in readable).most_common()),
    )


def _finding(kind: str, rows: Sequence[tuple[str, str]], message: str, advice: str) -> Finding | None:
    return Finding(kind, f"{len(rows)} {message}", advice, tuple(rows)) if rows else None


def _group_finding(kind: str, groups: Sequence[Sequence[str]], message: str, advice: str) -> Finding | None:
    rows = [(group[0], "copies: " + ", ".join(group[1:])) for group in groups]
    return _finding(kind, rows, message, advice)


def _class_findings(small: dict[str, int], imbalance: float) -> list[Finding]:
    found = []
    if small:
        names = ", ".join(f"{name} ({count})" for name, count in list(small.items())[:8])
        message = f"{len(small)} classes have fewer than {MIN_PER_CLASS} training images: {names}"
        found.append(Finding("small_classes", message, "add images of them"))
    if imbalance > IMBALANCE:
        message = f"the largest class has {imbalance:.1f} times the training images of the smallest"
        found.append(Finding("imbalance", message, "add images of the small ones; training weighs classes meanwhile"))
    return found
