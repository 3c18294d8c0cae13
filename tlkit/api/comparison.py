"""What a comparison of two bundles finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlkit.evaluation.metrics import Metrics
from tlkit.evaluation.paired import LEVEL, Paired
from tlkit.words import plural


@dataclass(frozen=True)
class Side:
    """One of the two bundles.

    Attributes:
        model: Its folder.
        backbone: Name of its backbone.
        strategy: How it was trained.
        input_size: (height, width) of its input in pixels.
        classes: Its class names.
        metrics: Its metrics on the images that are compared.
        size: Bytes of the network that predicts.
        milliseconds: Time for one image on this machine, without reading it; see `tlkit.bundle.cost.latencies`.
    """

    model: Path
    backbone: str
    strategy: str
    input_size: tuple[int, int]
    classes: tuple[str, ...]
    metrics: Metrics
    size: int
    milliseconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "model": str(self.model),
            "backbone": self.backbone,
            "strategy": self.strategy,
            "input_size": list(self.input_size),
            "classes": list(self.classes),
            **{name: value for name, value in asdict(self.metrics).items() if name != "images"},
            "size_bytes": self.size,
            "milliseconds": self.milliseconds,
        }


@dataclass(frozen=True)
class ClassDifference:
    """The two bundles on the images of one class.

    Attributes:
        name: The class.
        paired: The difference of their recalls.
        p_value: Corrected for the number of classes (Holm 1979).
    """

    name: str
    paired: Paired
    p_value: float

    @property
    def better(self) -> str | None:
        """Which one is better beyond chance, "a" or "b"; None: neither."""
        return self.paired.better if self.p_value < LEVEL else None


@dataclass(frozen=True)
class Disagreement:
    """An image that the two bundles label differently.

    Attributes:
        file: The image, relative to the folder.
        label: Its class.
        a: The label by A.
        b: The label by B.
        probability_a: How sure A is of its label, 0..1.
        probability_b: How sure B is of its label, 0..1.
    """

    file: str
    label: str
    a: str
    b: str
    probability_a: float
    probability_b: float

    @property
    def right(self) -> str | None:
        """Which of them is right: "a", "b" or None."""
        return {self.a: "a", self.b: "b"}.get(self.label)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two bundles, A and B, on the same images.

    Attributes:
        a: The first bundle.
        b: The second bundle.
        root: The folder that the paths of images start from.
        split: Part of the images that was used: "train", "val", "test" or "all".
        paired: The difference of their accuracies.
        log_loss_difference: Log loss of B minus log loss of A, nats.
        log_loss_ci95: 95% interval of this difference.
        per_class: The difference for each class.
        disagreements: Images that they label differently: first those that one gets right, the surer ones first.
        warnings: Why the figures may mislead, and which images were left out, one sentence each.
        skipped: (file, reason) of every image or folder that could not be read.
        unused: Files of the image folder that are not used, and why; as in the JSON of ``train``.
    """

    a: Side
    b: Side
    root: Path
    split: str
    paired: Paired
    log_loss_difference: float
    log_loss_ci95: tuple[float, float]
    per_class: tuple[ClassDifference, ...]
    disagreements: tuple[Disagreement, ...]
    warnings: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    unused: tuple[dict[str, Any], ...] = ()

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        its, low, high = self.paired, *(100 * each for each in self.paired.ci95)
        images = plural(its.images, "image")
        if its.better is not None:
            points = 100 * abs(its.difference)
            ends = (low, high) if its.better == "b" else (-high, -low)
            name = its.better.upper()
            return f"{name} is better by {points:.1f} points (95% interval {ends[0]:.1f} to {ends[1]:.1f}), {images}"
        said = f"no difference can be seen with {images}"
        seen = f"B minus A: {100 * its.difference:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}"
        if its.needed is None:
            return f"{said} ({seen})"
        return f"{said}; about {its.needed:,} would be needed ({seen})"

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "images": self.paired.images,
            "split": self.split,
            "verdict": self.verdict,
            "better": self.paired.better,
            **_figures(self.paired),
            "images_needed": self.paired.needed,
            "log_loss_difference": self.log_loss_difference,
            "log_loss_difference_ci95": list(self.log_loss_ci95),
            "per_class": [
                {"class": each.name, "images": each.paired.images, "better": each.better, **_figures(each.paired)}
                | {"p_value_corrected": each.p_value}
                for each in self.per_class
            ],
            "disagreements": [{**asdict(each), "right": each.right} for each in self.disagreements],
            "warnings": list(self.warnings),
            "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
            "unused": list(self.unused),
        }


def _figures(its: Paired) -> dict[str, Any]:
    return {
        "difference": its.difference,
        "difference_ci95": list(its.ci95),
        "p_value": its.p_value,
        "both_right": its.both,
        "only_a_right": its.only_a,
        "only_b_right": its.only_b,
        "both_wrong": its.neither,
    }
