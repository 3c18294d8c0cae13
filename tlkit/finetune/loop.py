"""The loop of fine-tuning: steps, looks at the validation images, early stopping, state saved on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tlkit.finetune.augmentation import draw
from tlkit.finetune.checkpoint import load_state, save_state
from tlkit.finetune.step import Tuner, restore, snapshot
from tlkit.finetune.time_budget import Stopwatch, TimeBudget
from tlkit.plan.recipe import LAST, Recipe, rate_at
from tlkit.progress import Progress

Array = NDArray[Any]
Row = dict[str, Any]
INTERRUPTED = "interrupted"
MAX_SAVE_INTERVAL, MIN_SAVE_INTERVAL = 300.0, 10.0  # seconds: between two saved states at most, and at least


class Feed(Protocol):
    """Where the inputs of a network come from."""

    def batch(self, images: Sequence[int], draws: NDArray[np.float32] | None) -> Array:
        """Inputs of some images; with ``draws`` [n, DRAWS] versions to train on, else the plain ones."""
        ...


@dataclass(frozen=True)
class Job:
    """What is trained on what.

    Attributes:
        tuner: Does the steps.
        recipe: Says how many and at which rates.
        feed: Gives the inputs.
        labels: Class index of every image.
        train: Training images.
        val: Validation images.
        class_weights: float32 [classes], the weight of a class's images in the loss, or None.
        seed: Of the order and the augmentation.
    """

    tuner: Tuner
    recipe: Recipe
    feed: Feed
    labels: NDArray[np.int32]
    train: tuple[int, ...]
    val: tuple[int, ...]
    class_weights: NDArray[np.float32] | None
    seed: int

    def batch(self, step: int) -> tuple[Array, Array, Array, Array]:
        """Inputs, labels, weights and random numbers of one step: a function of the seed and the step alone.

        Every epoch is a new permutation; batches run on over its end, so that all have the same size.
        """
        size, count = self.recipe.batch_size, len(self.train)
        chosen: list[int] = []
        while len(chosen) < size:
            epoch, place = divmod(step * size + len(chosen), count)
            order = np.random.default_rng([self.seed, epoch]).permutation(count)
            chosen.extend(self.train[i] for i in order[place : place + size - len(chosen)])
        draws = draw(size, self.seed, step)
        labels = self.labels[chosen]
        weights = np.ones(size, np.float32) if self.class_weights is None else self.class_weights[labels]
        return self.feed.batch(chosen, draws), labels, np.asarray(weights / weights.sum(), np.float32), draws


@dataclass
class TrainState:
    """Where a training run is: all of it is kept in its state.

    Attributes:
        step: Steps done.
        seconds: Time they took, evaluations included.
        rows: A row of figures for each look at the validation images.
        best: Values of `Trainable.state` at the look whose weights the recipe says to keep.
        best_row: Index into ``rows`` of that look.
        loss: Sum of the losses since the last look.
        right: Sum of the accuracies since the last look.
        since: Steps since the last look.
    """

    step: int = 0
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    best: list[Array] = field(default_factory=list)
    best_row: int = 0
    loss: float = 0.0
    right: float = 0.0
    since: int = 0


@dataclass(frozen=True)
class FitResult:
    """How a run ended; the network holds the weights the recipe says to keep.

    Attributes:
        rows: A row of figures for each look at the validation images; the first is the start's.
        best: The row whose weights are kept: that of the highest validation accuracy, of equal ones that of the lowest
            loss; or the last one.
        why: "schedule", "early stopping", "time budget" or "interrupted".
        steps: Steps done.
    """

    rows: tuple[Row, ...]
    best: Row
    why: str
    steps: int


def fit(
    job: Job,
    progress: Progress,
    *,
    folder: Path | None = None,
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    observe: Callable[[Row], None] = lambda row: None,
    title: str = "Fine-tuning",
) -> FitResult:
    """Train until the schedule, the patience or the time is used up, and leave the weights to keep in the network.

    Args:
        job: What is trained on what.
        progress: Told about every step.
        folder: Where the state is kept, and found if there is one; None: nowhere.
        seconds: Time that may be used; the schedule is bent to end with it. None: no limit.
        stop: Asked after every step whether to end now.
        observe: Given each row of figures.
        title: Of the phase that is shown.
    """
    recipe, clock = job.recipe, Stopwatch()
    run = _restored(job, folder)
    clock.before = run.seconds
    if run.step:
        progress.note(f"going on after step {run.step}")
    why, rate = "schedule", 0.0
    saved = time.monotonic()
    cost = TimeBudget(seconds)
    with progress.phase(title, recipe.steps) as advance, _ahead(job) as batch_of:
        advance(run.step)
        if not run.rows:
            _look(job, run, clock, rate, cost)
            observe(run.rows[-1])
            progress.milestone(_line(run, recipe))
        for each in run.rows[-1:]:
            advance(0, _status(run, each, recipe, len(job.train)))
        while run.step < recipe.steps:
            if run.step - _last_progress(run) >= recipe.patience:
                why = "early stopping"
                break
            used = cost.share(clock())
            if used >= 1:
                why = "time budget"
                break
            share = max((run.step + 0.5) / recipe.steps, used)
            rate = (recipe.learning_rate or 0.0) * rate_at(recipe, share)
            with cost.of_step(clock):
                loss, right = job.tuner.step(*batch_of(run.step), rate)
            run.step, run.since = run.step + 1, run.since + 1
            run.loss, run.right = run.loss + loss, run.right + right
            advance(1, _status(run, run.rows[-1], recipe, len(job.train)))
            asked = stop()
            if run.step % recipe.evaluate_every == 0 or run.step == recipe.steps:
                _look(job, run, clock, rate, cost)
                observe(run.rows[-1])
                progress.milestone(_line(run, recipe))
                due = time.monotonic() - saved > MIN_SAVE_INTERVAL
            else:
                due = time.monotonic() - saved > MAX_SAVE_INTERVAL
            if folder and (due or asked):
                _save(job, run, folder, clock)
                saved = time.monotonic()
            if asked:
                why = INTERRUPTED
                break
        if run.since and why != INTERRUPTED:
            _look(job, run, clock, rate, cost)
            observe(run.rows[-1])
            progress.milestone(_line(run, recipe))
    restore(job.tuner.trainable.state, run.best)
    return FitResult(tuple(run.rows), run.rows[run.best_row], why, run.step)


def _look(job: Job, run: TrainState, clock: Stopwatch, rate: float, cost: TimeBudget) -> None:
    """Measure on the validation images, and keep the weights if they are the ones to keep so far."""
    with cost.of_look(clock):
        loss, accuracy = evaluate(job.tuner, job.feed, job.val, job.labels)
        row = {
            "step": run.step,
            "epoch": round(run.step * job.recipe.batch_size / len(job.train), 2),
            "learning_rate": rate,
            "loss": run.loss / run.since if run.since else None,
            "accuracy": run.right / run.since if run.since else None,
            "val_loss": loss,
            "val_accuracy": accuracy,
        }
        run.loss, run.right, run.since = 0.0, 0.0, 0
        # on few images the loss of a confident network jumps: what is kept is best in what users ask for
        finer = math.isfinite(loss) and (accuracy, -loss) > _merit(run.rows[run.best_row]) if run.rows else True
        if finer or job.recipe.keep == LAST:
            run.best_row = len(run.rows)
            run.best = snapshot(job.tuner.trainable.state)
    row["seconds"] = round(clock(), 3)
    run.rows.append(row)


def _merit(row: Row) -> tuple[float, float]:
    """Accuracy, then loss: the higher the better."""
    return row["val_accuracy"], -row["val_loss"]


def _last_progress(run: TrainState) -> int:
    """The step of the lowest validation loss or of the best network, whichever came later."""
    lowest = min(run.rows, key=lambda row: row["val_loss"])
    return int(max(lowest["step"], run.rows[run.best_row]["step"]))


def evaluate(tuner: Tuner, feed: Feed, images: Sequence[int], labels: NDArray[np.int32]) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy, 0..1, on some images."""
    logits = all_logits(tuner, feed, images)
    target = labels[list(images)]
    largest = logits.max(axis=1)
    log_sum = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    losses = log_sum - logits[np.arange(len(target)), target]
    return float(losses.mean()), float((logits.argmax(axis=1) == target).mean())


def all_logits(tuner: Tuner, feed: Feed, images: Sequence[int]) -> NDArray[np.float64]:
    """float64 [n, classes] of some images, unaugmented."""
    size = tuner.recipe.batch_size
    parts = [images[start : start + size] for start in range(0, len(images), size)]
    return np.concatenate([tuner.logits(feed.batch(part, None)) for part in parts]).astype(np.float64)


@contextmanager
def _ahead(job: Job) -> Iterator[Callable[[int], tuple[Array, Array, Array, Array]]]:
    """A function that gives the batch of a step, the next one being read meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="tlkit-batch") as pool:
        waiting: dict[int, Future[tuple[Array, Array, Array, Array]]] = {}

        def batch_of(step: int) -> tuple[Array, Array, Array, Array]:
            batch = waiting.pop(step, None)
            waiting[step + 1] = pool.submit(job.batch, step + 1)
            return batch.result() if batch else job.batch(step)

        yield batch_of


def _restored(job: Job, folder: Path | None) -> TrainState:
    """The run that a folder's state says, its values put into the network and the optimizers; else a new one."""
    found = load_state(folder) if folder else None
    if found is None:
        return TrainState()
    arrays, its = found
    variables = job.tuner.state()
    restore(variables, [arrays[f"now{i}"] for i in range(len(variables))])
    best = [arrays[f"best{i}"] for i in range(len(job.tuner.trainable.state))]
    return TrainState(best=best, **its["run"])


def _save(job: Job, run: TrainState, folder: Path, clock: Stopwatch) -> None:
    arrays = {f"now{i}": each for i, each in enumerate(snapshot(job.tuner.state()))}
    arrays |= {f"best{i}": each for i, each in enumerate(run.best)}
    run.seconds = clock()
    plain = {name: value for name, value in vars(run).items() if name != "best"}
    save_state(folder, arrays, {"run": plain})


def _status(run: TrainState, row: Row, recipe: Recipe, images: int) -> str:
    """What the progress display says beside the bar."""
    loss = f", loss {run.loss / run.since:.3f}" if run.since else ""
    epoch = run.step * recipe.batch_size / images
    rate = f", rate {row['learning_rate']:.1g}" if row["learning_rate"] else ""
    start = run.rows[0]["val_accuracy"]
    return f"epoch {epoch:.1f}, {row['val_accuracy']:.1%} right (frozen {start:.1%}){loss}{rate}"


def _line(run: TrainState, recipe: Recipe) -> str:
    """What stands for the display where there is no terminal."""
    row = run.rows[-1]
    trained = "" if row["loss"] is None else f"rate {row['learning_rate']:.2g}, loss {row['loss']:.3f}, "
    return (
        f"step {row['step']} of {recipe.steps}, epoch {row['epoch']:.1f}: {trained}validation loss "
        f"{row['val_loss']:.3f}, accuracy {row['val_accuracy']:.1%} (frozen {run.rows[0]['val_accuracy']:.1%})"
    )
