"""The fine-tuning loop: optimizer steps, evaluation on the validation images, early stopping, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tlkit.finetune.checkpoint import damaged_state, load_state, save_state
from tlkit.finetune.interpolation import Mix, interpolate, shares
from tlkit.finetune.job import Job, evaluate
from tlkit.finetune.saved_run import SavedRun, fitting
from tlkit.finetune.step import restore, snapshot
from tlkit.finetune.time_budget import Stopwatch, TimeBudget
from tlkit.plan.recipe import LAST, rate_at
from tlkit.progress import Progress
from tlkit.schema import WrongDataError, parsed
from tlkit.words import plural

Array = NDArray[Any]
Row = dict[str, Any]
INTERRUPTED = "interrupted"
MAX_SAVE_INTERVAL, MIN_SAVE_INTERVAL = 300.0, 10.0  # seconds between two checkpoints


@dataclass
class TrainState:
    """Progress of a training run; all of it is saved in checkpoints.

    Attributes:
        step: Steps done.
        seconds: Time taken, including evaluations.
        rows: Metrics of each evaluation on the validation images.
        best: Values of `Trainable.state` at the evaluation whose weights are kept.
        best_row: Index of that evaluation in ``rows``.
        loss: Sum of the losses since the last evaluation.
        right: Sum of the accuracies since the last evaluation.
        since: Steps since the last evaluation.
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
    """Result of a run; the network holds the weights to keep, perhaps interpolated with those it started from.

    Attributes:
        rows: Metrics of each evaluation on the validation images; the first is before training.
        best: The row whose weights are kept: highest validation accuracy, then lowest loss; or the last row, depending
            on the recipe. With interpolation, its validation figures are those of the interpolated network.
        why: Why training ended: "schedule", "early stopping", "time budget" or "interrupted".
        steps: Steps done.
        seconds: Seconds that it took, in all sessions.
        share: Share of the tuned weights in those that the network holds, 0..1.
        mixes: Networks between start and end that were evaluated; empty if nothing was interpolated.
    """

    rows: tuple[Row, ...]
    best: Row
    why: str
    steps: int
    seconds: float
    share: float = 1.0
    mixes: tuple[Mix, ...] = ()


def fit(
    job: Job,
    progress: Progress,
    *,
    folder: Path | None = None,
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    observe: Callable[[Row], None] = lambda _: None,
    title: str = "Fine-tuning",
) -> FitResult:
    """Train until the schedule, the patience or the time is used up, then restore the weights to keep.

    If the recipe says so, they are interpolated with those before training, unless it is interrupted.

    Args:
        job: The training job.
        progress: Progress reporter.
        folder: Folder of the checkpoint; a run found there is resumed. None: no checkpoints.
        seconds: Time budget; the schedule is shortened to fit. None: no limit.
        stop: Called after every step; returns whether to stop now.
        observe: Called with the metrics of each evaluation.
        title: Title of the progress phase.
    """
    recipe, clock = job.recipe, Stopwatch()
    start = [] if recipe.interpolation == 1 else snapshot(job.trainer.trainable.state)
    run = _restore_run(job, folder)
    clock.before = run.seconds
    if run.step:
        progress.note(f"resuming after step {run.step}")
    why, rate = "schedule", 0.0
    saved = time.monotonic()
    budget = TimeBudget(seconds, 1 + len(shares(recipe.interpolation)))
    with progress.phase(title, recipe.steps) as advance, _prefetch(job) as batch_of:
        advance(run.step)
        if not run.rows:
            _validate(job, run, clock, rate, budget)
            observe(run.rows[-1])
            progress.milestone(_line(run, job))
        for each in run.rows[-1:]:
            advance(0, _status(run, each, job))
        while run.step < recipe.steps:
            if run.step - _last_progress(run) >= recipe.patience:
                why = "early stopping"
                break
            used = budget.share(clock())
            if used >= 1:
                why = "time budget"
                break
            done = max((run.step + 0.5) / recipe.steps, used)
            rate = (recipe.learning_rate or 0.0) * rate_at(recipe, done)
            with budget.time_step(clock):
                loss, right = job.trainer.step(*batch_of(run.step), rate)
            run.step, run.since = run.step + 1, run.since + 1
            run.loss, run.right = run.loss + loss, run.right + right
            advance(1, _status(run, run.rows[-1], job))
            asked = stop()
            if run.step % recipe.evaluate_every == 0 or run.step == recipe.steps:
                _validate(job, run, clock, rate, budget)
                observe(run.rows[-1])
                progress.milestone(_line(run, job))
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
            _validate(job, run, clock, rate, budget)
            observe(run.rows[-1])
            progress.milestone(_line(run, job))
    best = run.rows[run.best_row]
    restore(job.trainer.trainable.state, run.best)
    if recipe.interpolation == 1 or not best["step"] or why == INTERRUPTED:
        return FitResult(tuple(run.rows), best, why, run.step, clock())
    mix, mixes = interpolate(job, start, run.best, recipe.interpolation, progress)
    best = best | {"val_loss": mix.val_loss, "val_accuracy": mix.val_accuracy}
    return FitResult(tuple(run.rows), best, why, run.step, clock(), mix.share, mixes)


def _validate(job: Job, run: TrainState, clock: Stopwatch, rate: float, budget: TimeBudget) -> None:
    """Evaluate on the validation images, and keep a copy of the weights if they are the best so far."""
    with budget.time_evaluation(clock):
        loss, accuracy = evaluate(job.trainer, job.inputs, job.val, job.labels)
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
        # on few images the loss of a confident network jumps, so compare what users want: accuracy
        finer = math.isfinite(loss) and (accuracy, -loss) > _merit(run.rows[run.best_row]) if run.rows else True
        if finer or job.recipe.keep == LAST:
            run.best_row = len(run.rows)
            run.best = snapshot(job.trainer.trainable.state)
    row["seconds"] = round(clock(), 3)
    run.rows.append(row)


def _merit(row: Row) -> tuple[float, float]:
    """Return the sort key of an evaluation: accuracy, then loss; higher is better."""
    return row["val_accuracy"], -row["val_loss"]


def _last_progress(run: TrainState) -> int:
    """Return the step of the lowest validation loss or of the best network, whichever is later."""
    lowest = min(run.rows, key=lambda row: row["val_loss"])
    return int(max(lowest["step"], run.rows[run.best_row]["step"]))


@contextmanager
def _prefetch(job: Job) -> Iterator[Callable[[int], tuple[Array, Array, Array, Array]]]:
    """Provide a function that returns the batch of a step and loads the next one in the background."""
    with ThreadPoolExecutor(1, thread_name_prefix="tlkit-batch") as pool:
        waiting: dict[int, Future[tuple[Array, Array, Array, Array]]] = {}

        def batch_of(step: int) -> tuple[Array, Array, Array, Array]:
            batch = waiting.pop(step, None)
            waiting[step + 1] = pool.submit(job.batch, step + 1)
            return batch.result() if batch else job.batch(step)

        yield batch_of


def _restore_run(job: Job, folder: Path | None) -> TrainState:
    """Restore a run from a folder's checkpoint, including network and optimizer; without one, start a new run."""
    found = load_state(folder) if folder else None
    if found is None or folder is None:
        return TrainState()
    arrays, its = found
    variables = job.trainer.state()
    try:
        saved = parsed(SavedRun, its.get("run"), "run")
        now = fitting(arrays, "now", variables)
        best = fitting(arrays, "best", job.trainer.trainable.state)
        if saved.best_row >= len(saved.rows) or saved.step > job.recipe.steps:
            raise WrongDataError("run is at no step of this schedule")
    except WrongDataError as error:
        raise damaged_state(folder, error) from error
    restore(variables, now)
    return TrainState(best=best, **{**vars(saved), "rows": [dict(vars(row)) for row in saved.rows]})


def _save(job: Job, run: TrainState, folder: Path, clock: Stopwatch) -> None:
    arrays = {f"now{i}": each for i, each in enumerate(snapshot(job.trainer.state()))}
    arrays |= {f"best{i}": each for i, each in enumerate(run.best)}
    run.seconds = clock()
    plain = {name: value for name, value in vars(run).items() if name != "best"}
    save_state(folder, arrays, {"run": plain})


def _status(run: TrainState, row: Row, job: Job) -> str:
    """Return the text beside the progress bar."""
    loss = f", loss {run.loss / run.since:.3f}" if run.since else ""
    epoch = run.step * job.recipe.batch_size / len(job.train)
    rate = f", rate {row['learning_rate']:.1g}" if row["learning_rate"] else ""
    start = run.rows[0]["val_accuracy"]
    return f"epoch {epoch:.1f}, accuracy {row['val_accuracy']:.1%} of {len(job.val):,} (frozen {start:.1%}){loss}{rate}"


def _line(run: TrainState, job: Job) -> str:
    """Return the line logged for an evaluation if there is no terminal."""
    row = run.rows[-1]
    trained = "" if row["loss"] is None else f"rate {row['learning_rate']:.2g}, loss {row['loss']:.3f}, "
    return (
        f"step {row['step']} of {job.recipe.steps}, epoch {row['epoch']:.1f}: {trained}validation loss "
        f"{row['val_loss']:.3f}, accuracy {row['val_accuracy']:.1%} of {plural(len(job.val), 'image')} "
        f"(frozen {run.rows[0]['val_accuracy']:.1%})"
    )
