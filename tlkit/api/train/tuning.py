"""Fine-tune a network from a solved head: the strategies of ``train`` that train weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.train.dataset import Dataset, require_all
from tlkit.api.train.head import Solved
from tlkit.api.train.network import Built, Material, build, training_network
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.run_dir import RunDir
from tlkit.api.train.tuning_decisions import (
    TuningDecisions,
    check_same,
    decide_recipe,
    decide_time,
    interpolation_reasons,
    keep,
    tuning_reasons,
)
from tlkit.backbones.extractor import Extractor
from tlkit.backbones.runtime import load_keras
from tlkit.context import Context
from tlkit.finetune.tensorboard import board
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.plan.plan import Flips, Plan
from tlkit.plan.recipe import Recipe
from tlkit.progress import Progress
from tlkit.store.decoded import Decoded, decode_all

if TYPE_CHECKING:
    from tlkit.finetune.job import Job
    from tlkit.finetune.loop import FitResult

MAX_SAMPLE, MAX_HASTY_SAMPLE = (
    1000,
    200,
)  # training images for the out-of-distribution statistics; fewer if time is limited, or if the user waits


@dataclass(frozen=True)
class Tuned:
    """A network with tuned weights.

    Attributes:
        model: The ``keras.Model``, float32 RGB 0..255 to probabilities, with the best weights.
        recipe: How it was trained, with the share of the trained weights that was chosen.
        outcome: How training went.
        layers: Layer names of the blocks that the head and the out-of-distribution statistics use.
        probabilities: By split, float32 [n, classes], in the order of `Dataset.of`.
        features: Features of the training images in ``sample`` and of all validation images, by split, float32
            [n, columns].
        sample: Indices into the dataset's folder.
        flips: Whether mirroring is harmless; None if not checked.
        reasons: Why the recipe is what it is, one sentence each.
    """

    model: Any
    recipe: Recipe
    outcome: FitResult
    layers: dict[str, str]
    probabilities: dict[str, NDArray[np.float32]]
    features: dict[str, NDArray[np.float32]]
    sample: tuple[int, ...]
    flips: Flips | None
    reasons: tuple[str, ...]

    @property
    def interrupted(self) -> bool:
        """Whether the run was interrupted."""
        from tlkit.finetune.loop import INTERRUPTED

        return self.outcome.why == INTERRUPTED


def tune(
    dataset: Dataset,
    extractor: Extractor,
    solved: Solved,
    plan: Plan,
    request: TrainOptions,
    run: RunDir,
    context: Context,
) -> Tuned:
    """Train the weights that the strategy selects, starting from the solved head (LP-FT).

    Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution": a head that
    is good from the start does not distort the features.

    Args:
        dataset: Images, split and features.
        extractor: The backbone.
        solved: The solved head, its features and the boundary.
        plan: The plan; if it is complete, its recipe is used.
        request: The options, for a recipe that is still to be decided.
        run: The run's folder; its decisions are used.
        context: Context of the run; with its deadline, that of the whole command.

    Raises:
        TlkitError: The images have changed since the run started, the state cannot be written, or memory is too small
            for a single image.
    """
    from tlkit.finetune.hardware import explain_out_of_memory, keep_memory
    from tlkit.finetune.interrupt import gentle_interrupt
    from tlkit.finetune.loop import INTERRUPTED
    from tlkit.linear.classifier import layers_of, ood_taps, with_features

    show, size = context.show, (extractor.input_size, extractor.input_size)
    keep_memory()
    load_keras(show)
    check_same(dataset, run)
    with contextlib.ExitStack() as stack:
        decoded = stack.enter_context(decode_all(dataset.folder.paths, size, workers=context.workers, progress=show))
        require_all(decoded, dataset.folder)
        if decoded.problem and not dataset.features.problem:  # said once
            show.note(decoded.problem)
        material = Material(dataset, decoded, extractor, plan, context)
        decisions = decide_recipe(material, request, run)
        built = build(material, solved, decisions.recipe, stack)
        decisions = replace(decisions, recipe=built.job.recipe)
        sample = sampled(
            dataset,
            plan.seed,
            MAX_SAMPLE if request.time_budget is None else MAX_HASTY_SAMPLE,
        )
        if context.deadline is not None:
            with show.phase("Timing an evaluation", None):
                decisions = decide_time(built.job, decisions, dataset, context.deadline, len(sample))
        keep(decisions, dataset, run)
        with board(request.tensorboard) as observe, gentle_interrupt(show.note) as stop, explain_out_of_memory():
            job, decisions, outcome = fit_low_then_higher(built.job, decisions, dataset, run, show, stop, observe)
        model = _plain_model(built, extractor, solved, show)
        shown = ood_taps(extractor.taps, solved.choice.taps)
        layers = layers_of(built.network, list(dict.fromkeys((*solved.choice.taps, *shown))))
        seen = sample if outcome.why != INTERRUPTED else sampled(dataset, plan.seed, MAX_HASTY_SAMPLE)
        wide = with_features(model, [layers[tap] for tap in shown])
        probabilities, features = _answers(wide, seen, dataset, decoded, show)
    recipe = replace(job.recipe, interpolation=outcome.share)
    reasons = (
        *tuning_reasons(decisions, job, dataset.count(TRAIN), built.trainable),
        *interpolation_reasons(outcome, dataset.count(VAL)),
    )
    return Tuned(model, recipe, outcome, layers, probabilities, features, tuple(seen), decisions.flips, reasons)


def fit_low_then_higher(
    job: Job,
    decisions: TuningDecisions,
    dataset: Dataset,
    run: RunDir,
    show: Progress,
    stop: Callable[[], bool],
    observe: Callable[[dict[str, Any]], None],
) -> tuple[Job, TuningDecisions, FitResult]:
    """Train at the rate decided; if that was low and the data ask for more, train again from the start at a higher one.

    Args:
        job: What is trained on what.
        decisions: The decisions so far.
        dataset: Images and split.
        run: The run's folder, which keeps decisions and state for `--resume`.
        show: Progress reporter.
        stop: Called after every step; returns whether to stop now.
        observe: Called with the metrics of each evaluation.

    Returns:
        The last training job, the decisions it was made by, and how it went.
    """
    from tlkit.finetune.checkpoint import remove_state
    from tlkit.finetune.loop import fit
    from tlkit.finetune.lr_search import MORE_STEPS, higher, trial_of
    from tlkit.finetune.step import snapshot

    start, seconds = snapshot(job.trainer.trainable.state) if decisions.searching else [], decisions.seconds
    outcome = fit(job, show, folder=run.path, seconds=seconds, stop=stop, observe=observe)
    if not decisions.searching:
        return job, decisions, outcome
    trial = trial_of(job.recipe, outcome.mixes, len(job.train))
    in_time = seconds is None or seconds >= 2 * outcome.seconds
    if trial is None or not trial.more or not in_time:
        return job, replace(decisions, trial=trial), outcome
    show.note(
        f"validation log loss fell from {trial.before:.3f} to {trial.after:.3f}: training again, at a higher rate"
    )
    more_steps = MORE_STEPS if run.request.epochs is None else 1
    recipe = higher(job.recipe, dataset.count(VAL), more_steps)
    left = None if seconds is None else seconds - outcome.seconds
    decisions = replace(decisions, recipe=recipe, searching=False, trial=trial, seconds=left)
    remove_state(run.path)  # first: without it, a run killed here trains at the low rate again
    keep(decisions, dataset, run)
    job = replace(job, recipe=recipe)
    job.trainer.restart(start)
    return job, decisions, fit(job, show, folder=run.path, seconds=left, stop=stop, observe=observe)


def sampled(dataset: Dataset, seed: int, most: int) -> list[int]:
    """Draw at most ``most`` training images, whose features are computed again at the end."""
    train = dataset.of(TRAIN)
    return (
        train if len(train) <= most else sorted(np.random.default_rng(seed).choice(train, most, replace=False).tolist())
    )


def _plain_model(built: Built, extractor: Extractor, solved: Solved, show: Progress) -> Any:
    """Rebuild the trained network in float32 and on one device."""
    from tlkit.finetune.hardware import FLOAT32
    from tlkit.linear.classifier import attach_head

    if built.job.recipe.precision == FLOAT32 and built.strategy.num_replicas_in_sync == 1:
        return built.trainable.model
    with show.phase("Rebuilding the network in single precision", None):
        model = attach_head(training_network(extractor), solved.head, solved.choice.taps)
        model.set_weights(built.trainable.model.get_weights())
    return model


def _answers(
    wide: Any, sample: Sequence[int], dataset: Dataset, decoded: Decoded, show: Progress
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Compute the finished network's probabilities of the held-out images, and features of these and of the sample."""
    from tlkit.backbones.engines import batch_size, keras_forward

    forward, size, classes = keras_forward(wide), batch_size(), len(dataset.classes)
    parts = {VAL: dataset.of(VAL), TEST: dataset.of(TEST), TRAIN: list(sample)}
    probabilities, features = {}, {}
    with show.phase("Evaluating the finished network", sum(map(len, parts.values()))) as advance:
        for split, chosen in parts.items():
            rows = []
            for start in range(0, len(chosen), size):
                rows.append(forward(decoded.pixels(chosen[start : start + size])))
                advance(len(rows[-1]))
            if rows:
                probabilities[split], features[split] = np.split(np.concatenate(rows), [classes], axis=1)
    probabilities.pop(TRAIN, None)
    return probabilities, features
