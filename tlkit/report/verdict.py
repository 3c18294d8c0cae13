"""What a page says first: how often the classifier is right, where it is weakest, and what to do now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.report.sections import Sections

MIN_SUPPORT = 5  # images of a class, below which its recall says little
WIDE = 0.15  # an interval wider than this makes "85 of 100" more precise than it is
SURE = 0.9  # probability from which a mistake may be a wrong label
NOTICEABLE = 0.02  # differences from the prediction, below which they are not worth a sentence
MAX_WEAK = 3  # classes named as the weakest


def right_on(accuracy: float, low: float, high: float) -> str:
    """Say an accuracy as a count out of ten or, if its interval is narrow, of a hundred images.

    Args:
        accuracy: 0..1.
        low: Lower end of its 95% interval.
        high: Upper end.
    """
    whole = 10 if high - low > WIDE else 100
    count = round(whole * accuracy)
    if accuracy == 1:
        share = "all images it was tried on"
    elif count == whole:
        share = "nearly all images"
    elif count == 0:
        share = f"fewer than 1 of {whole} images"
    else:
        share = f"about {count} of {whole} images"
    return f"Right on {share} ({100 * low:.0f} to {high:.0%})."


def against_prediction(reached: float, expected: tuple[float, float, float] | None) -> str:
    """Compare an accuracy with the predicted one; "" if there was no prediction.

    Args:
        reached: 0..1.
        expected: Predicted accuracy and the ends of its 90% interval.
    """
    if expected is None:
        return ""
    accuracy, low, high = expected
    points = f"{plural(round(100 * abs(reached - accuracy)), 'percentage point')}"
    if abs(reached - accuracy) < NOTICEABLE:
        where = "As predicted"
    else:
        where = f"{points} {'above' if reached > accuracy else 'below'} the prediction"
    within = "within" if low <= reached <= high else "outside"
    return f"{where}: {accuracy:.0%} (90% interval {100 * low:.0f} to {high:.0%}); the result is {within} the interval."


def weak_classes(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the classes whose recall is clearly below the accuracy, the weakest first.

    Args:
        found: Metrics, from `tlkit.evaluation.classes.figures`.
    """
    weak = [
        row
        for row in found["per_class"]
        if row["support"] >= MIN_SUPPORT and row["recall_ci95"][1] < found["accuracy"] and row["recall"] < 1
    ]
    return sorted(weak, key=lambda row: float(row["recall"]))


def weakest(found: dict[str, Any]) -> str:
    """Name the class with the lowest recall, or say that no class stands out.

    Args:
        found: Metrics, from `tlkit.evaluation.classes.figures`.
    """
    seen = [row for row in found["per_class"] if row["support"]]
    if len(seen) < 2 or all(row["recall"] == 1 for row in seen):
        return ""
    row = min(seen, key=lambda each: float(each["recall"]))
    right = round(row["recall"] * row["support"])
    text = f"Weakest class: {row['class']}, right on {right} of {plural(row['support'], 'image')}"
    return f"{text}." if weak_classes(found) else f"{text}; too few to tell it from the others."


def next_steps(found: dict[str, Any], sections: Sections) -> list[str]:
    """Suggest what would help most, the most important first.

    Args:
        found: Metrics, from `tlkit.evaluation.classes.figures`.
        sections: The example images.
    """
    steps = []
    if any(each.probability > SURE for each in sections.mistakes):
        steps.append("check the labels of the most confident mistakes below; tlkit check looks for more wrong labels")
    for row in weak_classes(found)[:MAX_WEAK]:
        steps.append(
            f"add images of {row['class']}: its recall is {row['recall']:.0%} ({plural(row['support'], 'image')}), the "
            f"accuracy over all classes {found['accuracy']:.0%} ({found['images']:,})"
        )
    if sections.mix_ups:
        pair = sections.mix_ups[0]
        steps.append(
            f"compare {pair['actual']} and {pair['answer']}, the most common mix-up: {pair['count']} {pair['actual']} "
            f"images predicted as {pair['answer']}"
        )
    return steps
