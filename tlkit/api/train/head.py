"""Solve the head that every strategy starts from, on the features of the training images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tlkit.api.train.dataset import Dataset
from tlkit.backbones.extractor import Taps, widths_of
from tlkit.context import Context
from tlkit.images.folder import TRAIN
from tlkit.linear.taps import Choice, choose_taps
from tlkit.plan.choices import AUTO, EARLY, FREEZE, LAST
from tlkit.plan.plan import Plan

if TYPE_CHECKING:
    from tlkit.linear.head import Head


@dataclass(frozen=True)
class Solved:
    """A solved head and its input.

    Attributes:
        head: The head.
        choice: Which pooled blocks it takes, and why.
    """

    head: Head
    choice: Choice


def weighs_classes(plan: Plan, dataset: Dataset) -> bool:
    """Whether classes are weighted by inverse frequency."""
    return plan.class_weights == AUTO and dataset.imbalanced


def solve(dataset: Dataset, plan: Plan, context: Context) -> Solved:
    """Choose the head's features, unless the plan does, and solve the head.

    Args:
        dataset: Images, split, and features of all taps to choose from.
        plan: The strategy with its features and boundary.
        context: Context of the run.
    """
    choice = choose_taps(
        dataset.matrix(TRAIN),
        dataset.features.taps,
        dataset.labels(TRAIN),
        dataset.groups(TRAIN),
        plan,
        balanced=weighs_classes(plan, dataset),
        progress=context.show,
    )
    return solve_on(dataset, plan, choice, context)


def solve_on(dataset: Dataset, plan: Plan, choice: Choice, context: Context) -> Solved:
    """Solve the head on chosen features of the training images.

    Args:
        dataset: Images, split and features.
        plan: The plan, with class weights and seed.
        choice: The features.
        context: Context of the run.
    """
    from tlkit.linear.head import solve_head

    head = solve_head(
        dataset.matrix(TRAIN, choice.taps),
        dataset.labels(TRAIN),
        len(dataset.classes),
        groups=dataset.groups(TRAIN),
        balanced=weighs_classes(plan, dataset),
        blocks=widths_of(dataset.features.taps, choice.taps),
        seed=plan.seed,
        progress=context.show,
    )
    return Solved(head, choice)


def frozen_rival(dataset: Dataset, plan: Plan, solved: Solved, context: Context) -> Solved:
    """Solve the head on the whole frozen backbone, which the tuned network is compared with.

    Args:
        dataset: Images, split and features.
        plan: A plan that trains weights.
        solved: The head that training starts from; it is the same if it takes the same features.
        context: Context of the run.
    """
    rival = rival_plan(plan)
    if plan.strategy != EARLY and plan.features == rival.features == LAST:
        return solved
    return solve(dataset, rival, context)


def rival_plan(plan: Plan) -> Plan:
    """The plan of the frozen network that a plan which trains weights must beat."""
    return replace(plan, strategy=FREEZE, boundary=None, features=plan.frozen_features, head_only=False, complete=False)


def head_reasons(solved: Solved, strategy: str) -> tuple[str, ...]:
    """Why the head is what it is, one sentence each."""
    head, choice = solved.head, solved.choice
    blocks = f"of {', '.join(choice.taps)}"
    kept = f"early-layers: the stages after {choice.boundary} are removed"
    measured = ", ".join(f"{stage} {loss:.3f}" for stage, loss, _ in choice.measured)
    first = kept if choice.boundary is not None and strategy != FREEZE else "freeze: the backbone's weights are kept"
    return (
        f"{first}, and the head is logistic regression on the pooled features {blocks}",
        *([f"{choice.boundary} has the lowest log loss in cross-validation: {measured}"] if measured else []),
        f"L2 strength 1/C with C = {head.c:.3g}, the lowest log loss in cross-validation on the training images"
        if head.search
        else f"L2 strength 1/C with C = {head.c:.3g}, the default, as a class is too small for cross-validation",
    )


def needed_taps(plan: Plan, taps: Taps) -> list[str]:
    """The blocks to hold in memory: those a head may take, and those needed to find copies and unknown images.

    The head of the frozen network that tuned weights must beat may take more than theirs.
    """
    from tlkit.linear.classifier import ood_taps

    rival = plan.frozen_features if plan.tunes else LAST
    if plan.strategy not in (AUTO, EARLY) and plan.features == rival == LAST:
        return list(ood_taps(taps, [taps[-1][0]]))
    return [name for name, _ in taps]
