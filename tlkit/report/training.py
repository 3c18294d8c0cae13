"""The report that ``tlkit train`` writes into the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlkit.plan.plan import Plan
from tlkit.report.page import render
from tlkit.report.plots import search_curve, tuning_curves
from tlkit.report.sections import Sections
from tlkit.version import VERSION

MIN_SUPPORT = 5  # images of a class, below which its recall says little


@dataclass(frozen=True)
class TrainingStory:
    """The text of a training report.

    Attributes:
        name: Name of the images' folder.
        plan: What was done.
        accuracies: Sentences from `tlkit.api.train.result.accuracy_lines`.
        evaluated_on: The images that plots and figures are of, such as "test images, never used in training".
        tuning: As in `tlkit.api.train.result.TrainResult`.
        history: Rows of ``history.csv``.
        calibration: How confidence was calibrated, in a sentence.
        problems: Problems of the images, one sentence each.
        has_test: Whether there is a test set.
        command: The command that repeats the run.
    """

    name: str
    plan: Plan
    accuracies: Sequence[str]
    evaluated_on: str
    tuning: dict[str, Any] | None
    history: Sequence[dict[str, Any]]
    calibration: str
    problems: Sequence[str]
    has_test: bool
    command: str


def training_page(story: TrainingStory, sections: Sections) -> str:
    """Render the page.

    Args:
        story: Its text.
        sections: Its plots and images.
    """
    curves, caption = _curves(story)
    found, plan = sections.found, story.plan
    low, high = found["accuracy_ci95"]
    verdict = (
        f"Accuracy {found['accuracy']:.1%} ({found['images']} {story.evaluated_on}). On new images of the same kind, "
        f"expect {low:.0%} to {high:.0%} (95% interval, Wilson)."
    )
    return render(
        "training.html",
        name=story.name,
        verdict=verdict,
        accuracies=story.accuracies,
        expected=_expected(plan, found["accuracy"]),
        evaluated_on=story.evaluated_on,
        plan=_plan_rows(plan),
        reasons=plan.reasons,
        curves=curves,
        curves_caption=caption,
        its=sections,
        calibration=f"{story.calibration[:1].upper()}{story.calibration[1:]}.",
        problems=story.problems,
        steps=_next_steps(found, sections, story),
        command=story.command,
        seed=plan.seed,
        version=VERSION,
    )


def _expected(plan: Plan, reached: float) -> str:
    if plan.expected is None:
        return ""
    accuracy, low, high = plan.expected
    within = "within" if low <= reached <= high else "outside"
    return (
        f"predicted accuracy {accuracy:.1%} (90% interval {low:.0%} to {high:.0%}); the result is {within} the interval"
    )


def _plan_rows(plan: Plan) -> list[tuple[str, str]]:
    rows = [
        ("strategy", plan.strategy if plan.boundary is None else f"{plan.strategy}, boundary {plan.boundary}"),
        ("backbone", f"{plan.backbone}, {plan.weights} weights, input {plan.input_size} x {plan.input_size} pixels"),
        ("features", ", ".join(plan.taps)),
    ]
    if plan.recipe is not None:
        its = plan.recipe
        said = f"{its.steps} steps, batch size {its.batch_size}, peak learning rate {its.learning_rate:.2g}"
        if its.interpolation is not None and its.interpolation < 1:
            said += f"; saved weights {its.interpolation:.0%} trained, {1 - its.interpolation:.0%} as before training"
        rows.append(("training", said))
    return rows


def _curves(story: TrainingStory) -> tuple[Any, str]:
    rows = story.history
    if story.tuning is not None and len(rows) > 1 and "val_accuracy" in rows[0]:
        steps, accuracies, losses = ([row[key] for row in rows] for key in ("step", "val_accuracy", "val_loss"))
        frozen = story.tuning["frozen_val_accuracy"]
        drawn = tuning_curves(steps, accuracies, losses, story.tuning["best_step"], frozen)
        return drawn, (
            "Accuracy (blue) and log loss (grey) on the validation images. Dotted: the best step; dashed: the frozen "
            "backbone."
        )
    if len(rows) > 1 and "cv_log_loss" in rows[0]:
        drawn = search_curve([row["c"] for row in rows], [row["cv_log_loss"] for row in rows])
        return drawn, "Cross-validated log loss of the head on the training images, by regularisation strength."
    return None, ""


def _next_steps(found: dict[str, Any], sections: Sections, story: TrainingStory) -> list[str]:
    """Suggest what would help most."""
    steps = []
    weak = [
        row
        for row in found["per_class"]
        if row["support"] >= MIN_SUPPORT and row["recall_ci95"][1] < found["accuracy"] and row["recall"] < 1
    ]
    for row in sorted(weak, key=lambda row: float(row["recall"]))[:3]:
        steps.append(
            f"add images of {row['class']}: its recall is {row['recall']:.0%}, the accuracy over all classes "
            f"{found['accuracy']:.0%}"
        )
    if common := [pair for pair in found["most_confused"] if pair["count"] > 1]:  # a single image is no pattern
        pair = common[0]
        steps.append(
            f"compare {pair['actual']} and {pair['answer']}, the most common mix-up: {pair['count']} {pair['actual']} "
            f"images predicted as {pair['answer']}"
        )
    if any(each.probability > 0.9 for each in sections.mistakes):
        steps.append(
            "check the labels of the most confident mistakes; tlkit check looks for wrong labels in all images"
        )
    if not story.has_test:
        steps.append("hold out test images, in test/ or with --test-split: a test set gives an unbiased accuracy")
    steps.append("try it on new images with tlkit predict, or on a labelled folder with tlkit evaluate")
    return steps
