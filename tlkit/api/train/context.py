"""What a training run works with, and how it comes to its images and its strategy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tlkit.api.train.dataset import Dataset, is_uneven, prepare, read_features
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.result import Clock
from tlkit.api.train.start import Start
from tlkit.backbones.extractor import TOP, Extractor
from tlkit.images.folder import ImageFolder
from tlkit.linear.classifier import watched
from tlkit.plan.plan import AUTO, EARLY, LAST
from tlkit.progress import Progress


@dataclass(frozen=True)
class Task:
    """What a run works with.

    Attributes:
        start: Options, with backbone, weights and size settled.
        folder: The images found.
        target: Where the bundle goes.
        overwrite: Whether what lies there is replaced.
        workers: Threads and cores; None: all.
        show: Told what goes on.
        clock: Started with the command.
    """

    start: Start
    folder: ImageFolder
    target: Path
    overwrite: bool
    workers: int | None
    show: Progress
    clock: Clock

    @property
    def options(self) -> TrainOptions:
        """Of the start."""
        return self.start.options


def read_data(task: Task, extractor: Extractor) -> Dataset:
    """Features and split."""
    options = task.options
    needed = _needed(extractor, options)
    found = read_features(task.folder, extractor, task.workers, task.show, taps=needed)
    task.clock.lap("features")
    data = prepare(
        task.folder,
        found,
        options.val_split,
        options.seed,
        options.drop_leaks,
        known=task.start.known,
        test_split=options.test_split,
    )
    _tell_copies(data, task.show)
    return data


def advised(task: Task, data: Dataset, extractor: Extractor) -> Task:
    """The task with the strategy that the advisor chooses, which is said."""
    from tlkit.api.recommend.measure import look

    options = task.options
    looked = look(
        data,
        extractor,
        options,
        balanced=options.class_weights == "auto" and is_uneven(data.folder),
        limit=None if options.time_budget is None else options.time_budget - task.clock.total(),
        workers=task.workers,
        show=task.show,
    )
    advice = looked.advice
    task.clock.lap("advice")
    task.show.note(f"strategy {advice.strategy}: {advice.reasons[0]}")
    return replace(task, start=replace(task.start, options=replace(options.with_advice(advice), flips=looked.flips)))


def _needed(extractor: Extractor, options: TrainOptions) -> list[str]:
    """The blocks to hold in memory: what a head may take, and those that tell of copies and of unlike images."""
    if options.strategy not in (AUTO, EARLY) and options.features == LAST:
        return list(watched(extractor.taps, [TOP]))
    return [name for name, _ in extractor.taps]


def _tell_copies(data: Dataset, show: Progress) -> None:
    if data.seen:
        show.note(f"{data.seen} validation images were trained on before: accuracy may be inflated")
    if data.leaks:
        done = f"{data.dropped} left out of training" if data.dropped else "accuracy may be inflated (--drop-leaks)"
        show.note(
            f"{len(data.leaks)} images have copies in another split, such as {' = '.join(data.leaks[0][:2])}: {done}"
        )
    elif data.copies:
        show.note(f"{data.copies} images are copies of others; copies stay on one side of the split")
