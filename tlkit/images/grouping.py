"""How images come in groups, and what that means for their accuracy: the result, in numbers and in words."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from tlkit.images.group_spec import EXIF_CAMERA, EXIF_DATE, FOLDER, NAMES, TABLE, split_table
from tlkit.words import plural

_NEW = {
    FOLDER: "a new sub-folder",
    EXIF_DATE: "a new day",
    EXIF_CAMERA: "a new camera",
    NAMES: "a new series of file names",
    TABLE: "a new group",
}


@dataclass(frozen=True)
class Grouping:
    """Accuracy if images are mixed at random, and if whole groups are held out.

    Both are of a linear classifier on frozen features, cross-validated with the same numbers of images.

    Attributes:
        by: How images are grouped, as ``--groups`` takes it.
        asked: Whether that was asked for; otherwise it was found, and nothing is split by it.
        example: The name of a group.
        groups: Number of groups.
        images: Number of images compared.
        random_accuracy: Accuracy if images are mixed at random, 0..1.
        grouped_accuracy: Accuracy on images of groups that are not in training, 0..1.
        interval: 95% interval of the latter.
        differs: Whether the difference is more than noise.
    """

    by: str
    asked: bool
    example: str
    groups: int
    images: int
    random_accuracy: float
    grouped_accuracy: float
    interval: tuple[float, float]
    differs: bool

    @property
    def new(self) -> str:
        """What an image of another group is from, such as "a new sub-folder"."""
        if (table := split_table(self.by)) is not None:
            return f"a new {table[1]}"
        return _NEW.get(self.by, f"a new group of names (such as '{self.example}')")

    @property
    def compared(self) -> str:
        """Both accuracies in a sentence."""
        low, high = self.interval
        return (
            f"{self.random_accuracy:.0%} accuracy if images are mixed at random, {self.grouped_accuracy:.0%} "
            f"({low:.0%} to {high:.0%}) on {self.new}, {self._counted}"
        )

    @property
    def _counted(self) -> str:
        return f"{plural(self.images, 'image')} in {plural(self.groups, 'group')}"

    @property
    def found(self) -> str:
        """What was found, in a sentence."""
        return f"{self.compared}: your images come in groups"

    @property
    def message(self) -> str:
        """What was found, or what was asked for comes to, in a sentence."""
        return self.compared if self.asked else self.found

    @property
    def warning(self) -> str:
        """What to say beside an accuracy that was measured on images mixed at random."""
        low, high = self.interval
        return (
            f"your images come in groups: the accuracy on {self.new} is probably lower, about "
            f"{self.grouped_accuracy:.0%} ({low:.0%} to {high:.0%}), with images mixed at random "
            f"{self.random_accuracy:.0%}, {self._counted}; {self.advice}"
        )

    @property
    def advice(self) -> str:
        """What to do about it."""
        return f"if you will predict images of {self.new}, train with {self.option}"

    @property
    def option(self) -> str:
        """The option that keeps the groups whole, quoted for the shell."""
        return f"--groups {shlex.quote(self.by)}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as in the JSON of the commands."""
        return {
            "by": self.by,
            "asked": self.asked,
            "groups": self.groups,
            "images": self.images,
            "random_accuracy": round(self.random_accuracy, 4),
            "grouped_accuracy": round(self.grouped_accuracy, 4),
            "interval": [round(end, 4) for end in self.interval],
            "differs": self.differs,
            "message": self.message,
        }
