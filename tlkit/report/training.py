"""The report that ``tlkit train`` writes into the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlkit.plan.plan import Plan
from tlkit.report.page import render
from tlkit.report.plots import search_curve, tuning_curves
from tlkit.report.sections import MIN_IMAGES, Sections
from tlkit.report.verdict import against_prediction, next_steps, right_on, weakest
from tlkit.version import VERSION

MAX_NOW = 3  # steps in the card at the top


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
        promise: What the bundle promises of its answers, as in ``train --json``; None: nothing was measured.
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
    promise: dict[str, Any] | None
    problems: Sequence[str]
    has_test: bool
    command: str


def training_page(story: TrainingStory, sections: Sections) -> str:
    """Render the page.

    Args:
        story: Its text.
        sections: Its plots and images.
    """
    curves, caption = _curves(story, sections.found["images"])
    found, plan = sections.found, story.plan
    steps = _next_steps(sections, story)
    return render(
        "training.html",
        name=story.name,
        verdict=right_on(found["accuracy"], *found["accuracy_ci95"]),
        measured_on=_counted(found["images"], story.evaluated_on),
        weakest=weakest(found),
        prediction=against_prediction(found["accuracy"], plan.expected),
        accuracies=story.accuracies,
        evaluated_on=story.evaluated_on,
        plan=_plan_rows(plan),
        reasons=plan.reasons,
        curves=curves,
        curves_caption=caption,
        its=sections,
        calibration=f"{story.calibration[:1].upper()}{story.calibration[1:]}.",
        promise=story.promise,
        problems=story.problems,
        now=steps[:MAX_NOW],
        later=steps[MAX_NOW:],
        command=story.command,
        seed=plan.seed,
        version=VERSION,
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


def _curves(story: TrainingStory, held_out: int) -> tuple[Any, str]:
    """Draw how training went; nothing if the figures are of too few images to be more than noise."""
    rows = story.history
    if held_out < MIN_IMAGES:
        return None, ""
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


def _counted(images: int, evaluated_on: str) -> str:
    return f"{images:,} {evaluated_on if images != 1 else evaluated_on.replace('images', 'image', 1)}"


def _next_steps(sections: Sections, story: TrainingStory) -> list[str]:
    steps = next_steps(sections.found, sections)
    if not story.has_test:
        steps.append("hold out test images, in test/ or with --test-split: a test set gives an unbiased accuracy")
    return [*steps, "try it on new images with tlkit predict, or on a labelled folder with tlkit evaluate"]
