"""What a bundle promises of its answers, in words, and the doubt from which ``predict --precision`` asks a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.errors import TlkitError
from tlkit.evaluation.metrics import wilson_interval
from tlkit.evaluation.promise import (
    CONFIDENCE,
    PROMISED,
    HeldOut,
    Promise,
    doubts_of,
    each_class,
    images_needed,
    promise,
    rate,
)
from tlkit.images.folder import TRAIN, VAL
from tlkit.words import plural, some

if TYPE_CHECKING:
    from tlkit.bundle.load import Bundle

MAX_NAMED = 5  # classes in a message
EVALUATED = "evaluated"
ALL_USED = "training used all of these images"


@dataclass(frozen=True)
class Promises:
    """What can be promised, for some precisions.

    Attributes:
        source: What was predicted: "held out", "cross-validated" or "evaluated" images.
        images: Number of images.
        all: The promise at each precision; None: there is none.
        why: Why nothing can be promised; "" if something can.
        unknown_rate: Share of images of known classes that is flagged as unknown besides; 0: none is.
        by_class: What can be promised for the answers of each class by itself, at the highest of the precisions that
            can be promised; empty: nothing.
    """

    source: str
    images: int
    all: dict[float, Promise | None]
    why: str = ""
    unknown_rate: float = 0.0
    by_class: dict[str, Promise | None] = field(default_factory=dict)

    @property
    def best(self) -> Promise | None:
        """The promise of the highest precision."""
        return next((each for _, each in sorted(self.all.items(), reverse=True) if each is not None), None)

    @property
    def line(self) -> str:
        """The promise of the highest precision, or why there is none, in a sentence."""
        best = self.best
        if best is None:
            return f"no promise of precision: {self.why}"
        flagged = f", and up to {rate(self.unknown_rate)} flagged as unknown" if self.unknown_rate else ""
        return f"{best}{flagged}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        best = self.best
        return {
            "source": self.source,
            "images": self.images,
            "precisions": [each.to_json() for each in self.all.values() if each is not None],
            "not_promised": [precision for precision, each in self.all.items() if each is None],
            "best": None if best is None else best.precision,
            "per_class": [
                {"class": name, "promise": None if each is None else each.to_json()}
                for name, each in self.by_class.items()
            ],
            "why": self.why or None,
            "line": self.line,
        }


def promises_of(
    held_out: HeldOut | None,
    source: str,
    why: str = "",
    *,
    classes: Sequence[str] = (),
    precisions: Sequence[float] = PROMISED,
    unknown_rate: float = 0.0,
) -> Promises:
    """Find what can be promised.

    Args:
        held_out: The predictions; None: there are none.
        source: What was predicted.
        why: Why there are none.
        classes: Class names; empty: promise nothing for each by itself.
        precisions: The precisions.
        unknown_rate: See `Promises`.
    """
    if held_out is None:
        return Promises(source, 0, dict.fromkeys(precisions), why)
    found = {precision: promise(held_out, precision) for precision in precisions}
    kept = [precision for precision, each in found.items() if each is not None]
    if not kept:
        why = _too_few(len(held_out), min(precisions)) or _too_wrong(min(precisions))
        return Promises(source, len(held_out), found, why, unknown_rate)
    by_class = dict(zip(classes, each_class(held_out, max(kept), len(classes)), strict=True)) if classes else {}
    return Promises(source, len(held_out), found, "", unknown_rate, by_class)


@dataclass(frozen=True)
class Kept:
    """What the promise that a bundle makes came to on labelled images.

    Attributes:
        precision: What was promised, 0..1.
        images: Number of images.
        answered: Number of images that it answers.
        right: How many of these are right.
    """

    precision: float
    images: int
    answered: int
    right: int

    @property
    def ci95(self) -> tuple[float, float] | None:
        """95% interval (Wilson) of the precision, 0..1; None if nothing is answered."""
        return wilson_interval(self.right, self.answered) if self.answered else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        found = self.right / self.answered if self.answered else None
        return {**asdict(self), "found": found, "found_ci95": None if self.ci95 is None else list(self.ci95)}

    def __str__(self) -> str:
        said = f"the bundle's own promise of {rate(self.precision)}: answers {self.answered:,} of {self.images:,}"
        if self.ci95 is None:
            return said
        low, high = self.ci95
        return f"{said}, {self.right / self.answered:.1%} of them right (95% interval {low:.1%} to {high:.1%})"


def promised_on(
    bundle: Bundle,
    probabilities: NDArray[np.float64],
    labels: Sequence[int],
    used: Sequence[str],
    contents: Sequence[str],
    unknown: Sequence[bool] | None,
    precision: float | None = None,
) -> tuple[Promises, Kept | None]:
    """Find what can be promised of a bundle's answers to images that its training did not use.

    Copies of a file count once. Images flagged as unknown are not answered, so the promise is of the others.

    Args:
        bundle: The bundle.
        probabilities: float64 [n, classes].
        labels: Class index of each image.
        used: What training used each image for.
        contents: Content hash of each image.
        unknown: Whether each is flagged as unknown; None: none is.
        precision: The precision that was asked for; None: none.

    Returns:
        The promises, and what the promise that the bundle makes of itself came to; None: it makes none of that
        precision, or none was asked for.
    """
    selected = (TRAIN,) if bundle.manifest.get("run") is None else (TRAIN, VAL)
    first = {content: index for index, content in reversed(list(enumerate(contents)))}
    fresh = sorted(index for index in first.values() if used[index] not in selected)
    known = [index for index in fresh if unknown is None or not unknown[index]]
    truth = np.asarray(labels)[known]
    held_out = HeldOut.of(probabilities[known], truth) if known else None
    precisions = PROMISED if precision is None else (precision,)
    found = promises_of(held_out, EVALUATED, ALL_USED, classes=bundle.classes, precisions=precisions)
    among = {each: None if its is None else replace(its, images=len(fresh)) for each, its in found.all.items()}
    found = replace(found, images=len(fresh), all=among)
    if precision is None or bundle.held_out is None or promise(bundle.held_out, precision) is None:
        return found, None
    limits = np.asarray(limits_of(bundle, precision))
    answers = probabilities[known].argmax(axis=1) if known else np.zeros(0, np.int64)
    sure = doubts_of(probabilities[known]) < limits[answers] if known else np.zeros(0, np.bool_)
    return found, Kept(precision, len(fresh), int(sure.sum()), int((sure & (answers == truth)).sum()))


def check_precision(precision: float) -> float:
    """Return a precision that can be asked for.

    Raises:
        TlkitError: It is not above 0 and below 1.
    """
    if not 0 < precision < 1:
        hint = f"for {precision:g}%, write {precision / 100:g}" if 1 < precision < 100 else "for example 0.99"
        raise TlkitError(f"--precision must be above 0 and below 1, not {precision:g}", hint)
    return precision


def check_together(threshold: float | None, precision: float | None, *, each_class: bool, tta: bool) -> None:
    """Refuse options that contradict each other.

    Raises:
        TlkitError: They do.
    """
    if precision is None and each_class:
        raise TlkitError("--each-class requires --precision", "for example --precision 0.99")
    if precision is not None and threshold is not None:
        raise TlkitError("--threshold and --precision contradict each other", "give one of them")
    if precision is not None and tta:
        raise TlkitError("--precision does not apply to --tta", "the promise was measured without it: omit --tta")


def limits_of(bundle: Bundle, precision: float, *, by_class: bool = False) -> tuple[float, ...]:
    """Return, for each class, the doubt from which its answers are left to a person; 0: all of them are.

    Args:
        bundle: The bundle.
        precision: Share of the answered images that is to be right.
        by_class: Whether that is to hold for the answers of each class by itself.

    Raises:
        TlkitError: Such a precision cannot be promised.
    """
    check_precision(precision)
    held_out, count = bundle.held_out, len(bundle.classes)
    if held_out is None:
        raise TlkitError(
            f"{bundle.path} keeps no held-out predictions, so it can promise no precision",
            f"tlkit evaluate IMAGES --model {bundle.path} --precision {precision:g} finds the threshold on labelled "
            "images; or train again",
        )
    if not by_class:
        found = promise(held_out, precision)
        if found is None:
            raise _none(bundle, held_out, precision)
        return (found.limit,) * count
    limits = tuple(0.0 if each is None else each.limit for each in each_class(held_out, precision, count))
    if not any(limits):
        needed = images_needed(precision, (1 - CONFIDENCE) / count)
        raise TlkitError(
            f"{bundle.path} can promise {rate(precision)} precision for no class by itself",
            f"that takes at least {needed:,} held-out images predicted as the class; omit --each-class to promise it "
            "for all classes together",
        )
    return limits


def unpromised(bundle: Bundle, limits: Sequence[float]) -> str:
    """Say which classes are left to a person altogether; "" if none is, or nothing is promised."""
    missing = [name for name, limit in zip(bundle.classes, limits, strict=False) if not limit]
    return f"no promise for {some(missing, MAX_NAMED)}: all of these are left to review" if missing else ""


def _none(bundle: Bundle, held_out: HeldOut, precision: float) -> TlkitError:
    why = _too_few(len(held_out), precision) or _too_wrong(precision)
    hint = f"tlkit evaluate IMAGES --model {bundle.path} --precision {precision:g} measures it on more labelled images"
    others = (each for each in PROMISED if each < precision and promise(held_out, each) is not None)
    if (other := next(others, None)) is not None:
        hint = f"--precision {other:g} can be promised; {hint}"
    return TlkitError(f"no promise of {rate(precision)} precision: {why}", hint)


def _too_few(images: int, precision: float) -> str:
    """Say how many images a precision takes if there are fewer; else ""."""
    needed = images_needed(precision)
    if images >= needed:
        return ""
    verb = "is" if images == 1 else "are"
    return (
        f"{rate(precision)} takes at least {plural(needed, 'image')} that training did not use, all of them right, and "
        f"there {verb} {images:,}"
    )


def _too_wrong(precision: float) -> str:
    return f"too many of the surest answers are wrong, or there are too few images, for {rate(precision)}"
