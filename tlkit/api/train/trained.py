"""The networks that could be saved, tuned and frozen, and the choice between them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tlkit.advisor.pilot import MAX_FEWER, MIN_FOR_MAX_FEWER
from tlkit.api.train.calibration import Calibration
from tlkit.api.train.dataset import Dataset
from tlkit.api.train.head import Solved, head_reasons
from tlkit.api.train.metrics import Probabilities, are_finite, frozen_probabilities, metrics_of
from tlkit.api.train.ood import Ood
from tlkit.context import Context
from tlkit.images.folder import VAL
from tlkit.plan.choices import FREEZE
from tlkit.plan.plan import Flips, Plan
from tlkit.plan.recipe import MIN_TO_SELECT
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.train.held_out import Measured
    from tlkit.api.train.tuning import Tuned
    from tlkit.linear.head import Head

LOSS_NOISE = 1e-3  # relative


@dataclass(frozen=True)
class Tuning:
    """How fine-tuning ended.

    Attributes:
        kept: Whether the tuned weights are saved.
        stopped: Why it ended: "schedule", "early stopping", "time budget" or "interrupted".
        steps: Number of optimizer steps done.
        best_step: The step with the best weights.
        frozen_val_accuracy: Validation accuracy of the frozen network, 0..1.
        frozen_val_loss: Its log loss in nats.
        share: Share of the trained weights in the tuned network, 0..1; the rest is that of the weights before training.
        planned_steps: Number of steps of the whole schedule.
    """

    kept: bool
    stopped: str
    steps: int
    best_step: int
    frozen_val_accuracy: float
    frozen_val_loss: float
    share: float
    planned_steps: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Trained:
    """A network to save.

    Attributes:
        plan: What was done.
        head: The solved head; the one that a tuned network started from.
        probabilities: Probabilities of the held-out images, by split, float32 [n, classes].
        metrics: Metrics on them.
        tuned: The tuned network; None: the frozen one is saved.
        tuning: How fine-tuning ended; None: there was none.
        interrupted: Whether training was interrupted.
        calibration: How confidence was calibrated; None: not yet.
        ood: How unknown images are flagged; None: not yet.
        refit: The splits that the head was solved on once more, after it was measured; empty: it was not.
        measured: Predictions for images it was not trained on; None: not yet.
    """

    plan: Plan
    head: Head
    probabilities: Probabilities
    metrics: dict[str, Any]
    tuned: Tuned | None = None
    tuning: Tuning | None = None
    interrupted: bool = False
    calibration: Calibration | None = None
    ood: Ood | None = None
    refit: tuple[str, ...] = ()
    measured: Measured | None = None

    @property
    def flips(self) -> Flips | None:
        """Whether mirroring is harmless; None: not checked."""
        return self.plan.flips


def frozen_network(dataset: Dataset, plan: Plan, solved: Solved) -> Trained:
    """Make the network with the frozen backbone."""
    choice = solved.choice
    done = plan if plan.complete else replace(plan, boundary=choice.boundary, taps=choice.taps, recipe=None)
    done = _first(done, *head_reasons(solved, plan.strategy))
    probabilities = frozen_probabilities(dataset, solved)
    return Trained(done, solved.head, probabilities, metrics_of(dataset, probabilities))


def choose(dataset: Dataset, plan: Plan, solved: Solved, rival: Solved, tuned: Tuned, context: Context) -> Trained:
    """Choose the tuned network, or the frozen one if fine-tuning did not help, and report that.

    Args:
        dataset: Images and split.
        plan: What was done.
        solved: The head that training started from.
        rival: The head on the whole frozen backbone.
        tuned: The network with tuned weights.
        context: Context of the run.
    """
    probabilities = frozen_probabilities(dataset, rival)
    finite = are_finite(tuned.probabilities)
    ours = metrics_of(dataset, tuned.probabilities) if finite else {}
    frozen = metrics_of(dataset, probabilities)
    kept = finite and better(ours, frozen, dataset.count(VAL))
    tuning = Tuning(
        kept,
        tuned.outcome.why,
        tuned.outcome.steps,
        tuned.outcome.best["step"],
        frozen["val_accuracy"],
        frozen["val_loss"],
        tuned.outcome.share,
        tuned.recipe.steps,
    )
    plan = plan if plan.complete else replace(plan, flips=tuned.flips or plan.flips)
    if kept:
        choice = solved.choice
        done = replace(plan, boundary=choice.boundary, taps=choice.taps, recipe=tuned.recipe)
        done = _first(done, *head_reasons(solved, plan.strategy), *tuned.reasons)
        return Trained(done, solved.head, tuned.probabilities, ours, tuned, tuning, tuned.interrupted)
    said = _did_not_help(plan.strategy, ours, frozen, dataset.count(VAL))
    context.show.note(said)
    done = replace(plan, strategy=FREEZE, boundary=None, taps=rival.choice.taps, recipe=None, complete=False)
    done = _first(done, said, *head_reasons(rival, FREEZE))
    return Trained(done, rival.head, probabilities, frozen, None, tuning, tuned.interrupted)


def _did_not_help(strategy: str, ours: dict[str, Any], frozen: dict[str, Any], images: int) -> str:
    if not ours:
        return f"{strategy} did not help: the trained network gives no finite output; the frozen backbone is saved"
    return (
        f"{strategy} did not help: accuracy {ours['val_accuracy']:.1%} on {plural(images, 'validation image')} (log "
        f"loss {ours['val_loss']:.3f}), frozen backbone {frozen['val_accuracy']:.1%} ({frozen['val_loss']:.3f}); the "
        "frozen backbone is saved"
    )


def better(ours: dict[str, Any], frozen: dict[str, Any], images: int) -> bool:
    """Whether to save the tuned weights: by validation accuracy, and by log loss if that is equal.

    A difference in loss as small as that between engines or precisions does not count. A few images decide nothing by
    themselves, and tuned networks are better more often than not. So the tuned network is also kept if its log loss is
    lower and it is right on no more than two images fewer; one, on fewer than 20. With fewer than `MIN_TO_SELECT`
    images, equal accuracy is enough (benchmarks/keep_rules.py compares such rules).

    Args:
        ours: Metrics of the tuned network.
        frozen: Metrics of the frozen one.
        images: Number of validation images.
    """
    mine, its = ours["val_accuracy"], frozen["val_accuracy"]
    surer = bool(ours["val_loss"] < frozen["val_loss"] * (1 - LOSS_NOISE))
    if mine > its or (mine == its and images < MIN_TO_SELECT):
        return True
    most = MAX_FEWER if images >= MIN_FOR_MAX_FEWER else 1
    return surer and bool((its - mine) * images < most + 0.5)


def _first(plan: Plan, *reasons: str) -> Plan:
    """Put what was done before the reasons that led to it; a complete plan keeps its own reasons."""
    return plan if plan.complete else replace(plan, reasons=(*reasons, *plan.reasons))
