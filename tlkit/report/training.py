"""The page that ``tlkit train`` leaves in the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlkit.plan.plan import Plan
from tlkit.report.page import render
from tlkit.report.plots import search_curve, tuning_curves
from tlkit.report.sections import Sections
from tlkit.version import VERSION
from tlkit.words import plural

WEAK = 5  # images of a class from which on its recall is worth a word


@dataclass(frozen=True)
class Story:
    """What a page says of a training run besides drawings.

    Attributes:
        name: Of the images' folder.
        plan: What was done.
        accuracies: Sentences, as from `tlkit.api.train.result.accuracy_lines`.
        looked_at: What images the drawings are of, such as "test images, never used in training".
        tuning: As in `tlkit.api.train.result.TrainResult`.
        history: Rows of ``history.csv``.
        calibration: What was done to confidence, in a sentence.
        problems: What is wrong with the images, one sentence each.
        fewer: Whether no image could be spared for a test.
        command: That does the same again.
    """

    name: str
    plan: Plan
    accuracies: Sequence[str]
    looked_at: str
    tuning: dict[str, Any] | None
    history: Sequence[dict[str, Any]]
    calibration: str
    problems: Sequence[str]
    fewer: bool
    command: str


def training_page(story: Story, sections: Sections) -> str:
    """An HTML page.

    Args:
        story: What is said.
        sections: Drawings and images.
    """
    curves, caption = _curves(story)
    found, plan = sections.found, story.plan
    low, high = found["accuracy_ci95"]
    verdict = (
        f"{found['accuracy']:.1%} of {found['images']} {story.looked_at}{',' if ',' in story.looked_at else ''} are "
        f"right; of others of the same kind, {low:.0%} to {high:.0%} will be (95% interval, Wilson)."
    )
    return render(
        "training.html",
        name=story.name,
        verdict=verdict,
        accuracies=story.accuracies,
        expected=_expected(plan, found["accuracy"]),
        looked_at=story.looked_at,
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
    return f"predicted accuracy {accuracy:.1%} ({low:.0%} to {high:.0%}): the result is {within} that"


def _plan_rows(plan: Plan) -> list[tuple[str, str]]:
    rows = [
        ("strategy", plan.strategy if plan.boundary is None else f"{plan.strategy}, boundary {plan.boundary}"),
        ("backbone", f"{plan.backbone}, {plan.weights} weights, input {plan.input_size} x {plan.input_size} pixels"),
        ("features of the head", ", ".join(plan.taps)),
    ]
    if plan.recipe is not None:
        its = plan.recipe
        rows.append(
            ("training", f"{its.steps} steps of {its.batch_size} images, peak learning rate {its.learning_rate:.2g}")
        )
    return rows


def _curves(story: Story) -> tuple[Any, str]:
    rows = story.history
    if story.tuning is not None and len(rows) > 1 and "val_accuracy" in rows[0]:
        steps, accuracies, losses = ([row[key] for row in rows] for key in ("step", "val_accuracy", "val_loss"))
        frozen = story.tuning["frozen_val_accuracy"]
        drawn = tuning_curves(steps, accuracies, losses, story.tuning["best_step"], frozen)
        return drawn, (
            "Accuracy (blue) and log loss (grey) on the validation images; dotted: the step whose weights were best; "
            "dashed: the frozen backbone."
        )
    if len(rows) > 1 and "cv_log_loss" in rows[0]:
        drawn = search_curve([row["c"] for row in rows], [row["cv_log_loss"] for row in rows])
        return drawn, "Log loss of the head in cross-validation on the training images, by regularisation strength."
    return None, ""


def _next_steps(found: dict[str, Any], sections: Sections, story: Story) -> list[str]:
    """What would help most, from the figures at hand."""
    steps = []
    weak = [
        row
        for row in found["per_class"]
        if row["support"] >= WEAK and row["recall_ci95"][1] < found["accuracy"] and row["recall"] < 1
    ]
    for row in sorted(weak, key=lambda row: float(row["recall"]))[:3]:
        steps.append(
            f"add images of {row['class']}: {row['recall']:.0%} of them are found, {found['accuracy']:.0%} of all"
        )
    if pairs := found["most_confused"][:1]:
        pair = pairs[0]
        steps.append(
            f"look at {pair['actual']} and {pair['answer']}, the most common mix-up: {plural(pair['count'], 'time')}"
        )
    if any(each.probability > 0.9 for each in sections.mistakes):
        steps.append("look at the labels of the surest mistakes; tlkit check lists those that look wrong in all images")
    if story.fewer:
        steps.append("keep test images aside, in test/ or with --test-split: these figures also guided choices")
    steps.append("try it on images of your own: tlkit predict; on a labelled folder: tlkit evaluate")
    return steps
