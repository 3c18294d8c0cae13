"""``tlkit.train``: from a folder of pictures to a bundle."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.api import outcome
from tlkit.api.dataset import Dataset, is_uneven, prepare, read_features, require_enough, skipped_files
from tlkit.api.options import TrainOptions, absolute
from tlkit.api.runs import RunFolder, begin_run, free_target, open_run
from tlkit.backbones import catalog
from tlkit.backbones.build import check_request
from tlkit.backbones.engines import AUTO
from tlkit.backbones.extractor import TOP, Extractor, open_extractor
from tlkit.backbones.weights import IMAGENET, RANDOM
from tlkit.bundle.save import MODEL
from tlkit.errors import TlkitError
from tlkit.images.folder import TEST, TRAIN, VAL, ImageFolder, scan
from tlkit.progress import Progress, SilentProgress
from tlkit.training.boundary import Choice, check_boundary, choose_taps, rows_of
from tlkit.training.plan import EARLY, FREEZE, LAST, LAST_LAYERS, Plan

if TYPE_CHECKING:
    from tlkit.api.tuning import Tuned
    from tlkit.training.head import Head

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class TrainResult:
    """What training gave.

    Attributes:
        model: The bundle's folder.
        plan: What was done.
        classes: Class names; a label is an index into it.
        images: Pictures used, by split, and how many were "skipped".
        skipped: (file, reason) of every picture that could not be read.
        leaks: Groups of files that are copies of one another in different splits of the folder's own.
        uneven: Whether the largest class has over twice the training pictures of the smallest.
        metrics: Figures on the held-out pictures, as in the JSON contract: shares 0..1, loss in nats.
        seconds: "total", "features" and "training".
        reused: Pictures whose features were kept from an earlier run.
        tuning: Of tuned strategies, how training ended: "kept" (whether the tuned weights are in the bundle), "stopped"
            (why), "steps", "best_step", "frozen_val_accuracy" and "frozen_val_loss"; None where only a head was solved.
        resume: The run's folder, where it was interrupted and can go on.
    """

    model: Path
    plan: Plan
    classes: tuple[str, ...]
    images: dict[str, int]
    skipped: tuple[tuple[str, str], ...]
    leaks: tuple[tuple[str, ...], ...]
    uneven: bool
    metrics: dict[str, Any]
    seconds: dict[str, float]
    reused: int
    tuning: dict[str, Any] | None = None
    resume: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields of the command line's JSON."""
        return {
            "model": str(self.model),
            "backbone": self.plan.backbone,
            "strategy": self.plan.strategy,
            "classes": list(self.classes),
            "images": self.images,
            "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
            "leaks": [list(group) for group in self.leaks],
            "features_reused": self.reused,
            "tuning": self.tuning,
            "resume": None if self.resume is None else str(self.resume),
            "metrics": self.metrics,
            "seconds": self.seconds,
            "plan": self.plan.to_json(),
        }


class _Clock:
    """Seconds in all and by lap, to a millisecond."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self.last = round(now - self.last, 3), now

    def total(self) -> float:
        return round(time.perf_counter() - self.start, 3)


def train(
    images: PathLike,
    *,
    strategy: str = FREEZE,
    features: str = LAST,
    boundary: str | None = None,
    backbone: str = catalog.DEFAULT,
    weights: str = "imagenet",
    from_bundle: PathLike | None = None,
    output: PathLike | None = None,
    overwrite: bool = False,
    image_size: int | None = None,
    val_split: float = 0.2,
    class_weights: str = "auto",
    drop_leaks: bool = False,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    augment: str = "auto",
    mixed_precision: bool | None = None,
    time_budget: float | None = None,
    tensorboard: PathLike | None = None,
    engine: str = AUTO,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a classifier on a folder of pictures and save it as a bundle.

    While weights are tuned, the state lies in a folder ``NAME.tlkit-run`` beside the bundle, so that a run that was
    killed or interrupted can be taken up with `resume`; it is removed when the run is over.

    Args:
        images: A folder with one sub-folder per class, or with train/ and optionally val/ and test/.
        strategy: "freeze": the backbone stays as it is, a softmax head is solved on its features. "last-layers": then
            its last stages are trained too. "fine-tune": all of it is. "early-layers": only its first stages are kept,
            with a head of their own, and trained; the later layers are dropped. Of tuned and frozen network the one
            that is better on the validation pictures is saved.
        features: What the head takes. "last": the pooled output of the last stage; "all": those of all stages.
        boundary: With "early-layers", the last stage kept, such as "stage3"; None: chosen by cross-validation. With
            "last-layers", the last stage that stays as it is; None: by the share of the work that is above it.
        backbone: Name in the catalogue, in any unambiguous spelling.
        weights: "imagenet", "none" (random; for tests of the machinery only) or a weights file.
        from_bundle: A bundle whose network to start from instead, on the same pictures and classes or on others.
            Pictures it was trained on are not validated on.
        output: Where the bundle goes; None: ``<folder name>.tlkit`` in the current folder, never overwriting.
        overwrite: Replace a bundle, or an unfinished run, that lies at ``output``.
        image_size: Side of the square input in pixels; None: the backbone's own.
        val_split: Share of each class kept for validation where the folder has no split of its own.
        class_weights: "auto": where the largest class has over twice the training pictures of the smallest, classes
            are weighed by the inverse of their share. "none": never.
        drop_leaks: Leave training pictures out that have a copy in the folder's own val/ or test/.
        epochs: Passes over the training pictures; None: by their number. 0, with "early-layers": the head is solved
            and nothing else.
        learning_rate: Largest rate, that of the head; None: some are tried for a few steps.
        batch_size: Pictures an optimizer step; None: 32.
        augment: "auto", "none", "light" or "strong".
        mixed_precision: Compute in bfloat16; None: on GPUs made for it.
        time_budget: Seconds that everything may take; the schedule is made to fit.
        tensorboard: Folder for TensorBoard's event files; None: none are written.
        engine: What computes features: "auto" (LiteRT on a CPU, Keras on a GPU), "litert" or "keras".
        workers: Reading threads, and cores to compute features with at most; None: one a processor.
        seed: Of the split, the folds, the order and the augmentation.
        progress: Told what goes on.

    Raises:
        TlkitError: The folder, an option, the weights or the place of the output cannot be used.
    """
    options = TrainOptions(
        images=absolute(images),
        strategy=strategy,
        features=features,
        boundary=boundary,
        backbone=backbone,
        weights=weights if weights in (IMAGENET, RANDOM) else absolute(weights),
        from_bundle=None if from_bundle is None else absolute(from_bundle),
        image_size=image_size,
        val_split=val_split,
        class_weights=class_weights,
        drop_leaks=drop_leaks,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        augment=augment,
        mixed_precision=mixed_precision,
        time_budget=time_budget,
        tensorboard=None if tensorboard is None else absolute(tensorboard),
        engine=engine,
        seed=seed,
    )
    show = progress or SilentProgress()
    clock = _Clock()
    start = _prepare_start(options, show)
    folder = _scan(options.images, show)
    target = free_target(folder.root, output, overwrite)
    run = begin_run(options, target, overwrite) if options.tunes else None
    return _train(start, folder, target, overwrite, run, workers, show, clock)


def resume(
    folder: PathLike,
    *,
    images: PathLike | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Go on with a run that was killed or interrupted, with the options it was begun with.

    Args:
        folder: The run's, ``NAME.tlkit-run``, or the bundle it makes.
        images: Where the pictures are now, if they were moved.
        workers: As for `train`.
        progress: Told what goes on.

    Raises:
        TlkitError: There is no such run, its pictures have changed, or as for `train`.
    """
    show = progress or SilentProgress()
    clock = _Clock()
    run = open_run(folder)
    options = run.options if images is None else replace(run.options, images=absolute(images))
    start = _prepare_start(options, show)
    pictures = _scan(options.images, show)
    overwrite = run.may_replace()
    if os.path.lexists(run.target) and not overwrite:
        raise TlkitError(f"output exists: {run.target}", "move it away, then resume")
    return _train(start, pictures, run.target, overwrite, run, workers, show, clock)


@dataclass(frozen=True)
class _Start:
    """What training starts from: options with backbone, weights and size settled."""

    options: TrainOptions
    weights_name: str
    known: Mapping[str, str]  # content hash to split, of an earlier training


def _prepare_start(options: TrainOptions, show: Progress) -> _Start:
    """Check the options, and read those that a bundle to start from decides."""
    options.check()
    if options.tensorboard is not None:
        from tlkit.api.tuning import require_tensorboard

        require_tensorboard()
    if options.from_bundle is None:
        row, _ = check_request(options.backbone, options.weights, options.image_size)
        if options.weights == RANDOM:
            show.note("random weights: what comes out is no transfer learning")
        name = options.weights if options.weights in (IMAGENET, RANDOM) else Path(options.weights).name
        return _Start(replace(options, backbone=row.name), name, {})
    if options.weights != IMAGENET or options.backbone != catalog.DEFAULT:
        raise TlkitError("--from takes backbone and weights from the bundle", "leave --backbone and --weights out")
    from tlkit.bundle.load import load

    bundle = load(options.from_bundle)
    manifest = bundle.manifest
    size = options.image_size or int(manifest["input_size"][0])
    row, _ = check_request(manifest["backbone"], IMAGENET, size)
    if manifest.get("strategy") == EARLY:
        show.note(f"{bundle.path.name} holds the first stages alone; the later ones have ImageNet weights")
    changed = replace(options, backbone=row.name, weights=str(bundle.path / MODEL), image_size=size)
    return _Start(changed, bundle.path.name, manifest["split"])


def _scan(images: str, show: Progress) -> ImageFolder:
    folder = scan(images)
    require_enough(folder, ())
    if folder.loose:
        show.note(f"{folder.loose} loose pictures outside class folders are not used")
    return folder


def _train(
    start: _Start,
    folder: ImageFolder,
    target: Path,
    overwrite: bool,
    run: RunFolder | None,
    workers: int | None,
    show: Progress,
    clock: _Clock,
) -> TrainResult:
    """Train, and leave the run's folder only where there is something to go on with."""
    try:
        result = _train_and_save(start, folder, target, overwrite, run, workers, show, clock)
    except KeyboardInterrupt:
        if run is not None:
            show.note(f"to go on: tlkit train --resume {run.path}")
        raise
    except TlkitError:
        if run is not None and not run.has_state and not run.resumed:
            run.remove()
        raise
    if run is not None and result.resume is None:
        run.remove()
    return result


def _train_and_save(
    start: _Start,
    folder: ImageFolder,
    target: Path,
    overwrite: bool,
    run: RunFolder | None,
    workers: int | None,
    show: Progress,
    clock: _Clock,
) -> TrainResult:
    from tlkit.training.keras_process import keras_process

    options = start.options
    extractor = open_extractor(
        options.backbone, weights=options.weights, input_size=options.image_size, engine=options.engine, progress=show
    )
    clock.lap("loading")
    check_boundary(options.boundary, options.strategy, extractor.taps)
    with nullcontext(None) if run else keras_process(extractor) as process:
        found = read_features(folder, extractor, workers, show, taps=_needed(extractor, options))
        clock.lap("features")
        data = prepare(folder, found, options.val_split, options.seed, options.drop_leaks, start.known)
        _tell_copies(data, show)
        balanced = options.class_weights == "auto" and is_uneven(data.folder)
        made = _make(start, data, extractor, balanced, run, workers, show, clock)
        clock.lap("training")
        manifest = outcome.manifest_of(made.plan, extractor.weights_hash, data, made.metrics)
        if made.tuned is not None and made.kept:
            outcome.save_tuned(target, extractor, data, made.tuned, made.plan, manifest, overwrite, show)
        else:
            extractor.forget()  # its variables may have been tuned
            outcome.save_frozen(target, extractor, data, made.head, made.plan, manifest, overwrite, process, show)
    interrupted = run is not None and made.tuned is not None and made.tuned.interrupted
    if run is not None and interrupted:
        run.wrote_bundle()
    skipped = skipped_files(folder, found)
    return TrainResult(
        model=target,
        plan=made.plan,
        classes=data.folder.classes,
        images={**{split: len(data.of(split)) for split in (TRAIN, VAL, TEST)}, "skipped": len(skipped)},
        skipped=skipped,
        leaks=data.leaks,
        uneven=is_uneven(data.folder),
        metrics=made.metrics,
        seconds={"total": clock.total(), "features": clock.laps["features"], "training": clock.laps["training"]},
        reused=found.reused,
        tuning=made.tuning(),
        resume=run.path if run is not None and interrupted else None,
    )


@dataclass(frozen=True)
class _Made:
    """A network to save: the tuned one, or the best of the frozen ones."""

    plan: Plan
    head: Head
    metrics: dict[str, Any]
    frozen: dict[str, Any]
    tuned: Tuned | None
    kept: bool

    def tuning(self) -> dict[str, Any] | None:
        if self.tuned is None:
            return None
        return {
            "kept": self.kept,
            "stopped": self.tuned.outcome.why,
            "steps": self.tuned.outcome.steps,
            "best_step": self.tuned.outcome.best["step"],
            "frozen_val_accuracy": self.frozen["val_accuracy"],
            "frozen_val_loss": self.frozen["val_loss"],
        }


def _make(
    start: _Start,
    data: Dataset,
    extractor: Extractor,
    balanced: bool,
    run: RunFolder | None,
    workers: int | None,
    show: Progress,
    clock: _Clock,
) -> _Made:
    """Solve the head, tune where that was asked for, and take what is better on the validation pictures."""
    options = start.options
    boundary = options.boundary
    if options.strategy == LAST_LAYERS and boundary is None:
        from tlkit.training.trainable import count_operations, default_boundary

        with show.phase(f"Building {extractor.backbone.name}", None):
            network = extractor.network
        boundary = default_boundary(network.stages, count_operations(network))
    choice, head = _solve(data, replace(options, boundary=boundary), balanced, show)
    base = _plan(start, extractor, choice, outcome.data_reasons(data, balanced, options.val_split, options.seed))
    reasons = outcome.head_reasons(head, choice, options.strategy)
    metrics = outcome.metrics_of(data, outcome.frozen_probabilities(data, head, choice))
    if run is None:
        return _Made(replace(base, reasons=(*reasons, *base.reasons)), head, metrics, metrics, None, False)
    from tlkit.api.tuning import tune

    tuned = tune(
        data,
        extractor,
        head,
        choice,
        options,
        run,
        balanced=balanced,
        workers=workers,
        deadline=None if options.time_budget is None else clock.start + options.time_budget,
        show=show,
    )
    ours = outcome.metrics_of(data, tuned.probabilities)
    frozen, frozen_choice, frozen_head = metrics, choice, head
    # what is measured against is the whole backbone, frozen
    if options.strategy == EARLY or (options.strategy == LAST_LAYERS and options.features != LAST):
        frozen_choice, frozen_head = _solve(data, replace(options, strategy=FREEZE, boundary=None), balanced, show)
        frozen = outcome.metrics_of(data, outcome.frozen_probabilities(data, frozen_head, frozen_choice))
    if outcome.better(ours, frozen):
        plan = replace(base, recipe=tuned.recipe, reasons=(*reasons, *tuned.reasons, *base.reasons))
        return _Made(plan, head, ours, frozen, tuned, True)
    said = (
        f"{options.strategy} did not help: {ours['val_accuracy']:.1%} on the validation pictures (log loss "
        f"{ours['val_loss']:.3f}) against {frozen['val_accuracy']:.1%} ({frozen['val_loss']:.3f}) of the frozen "
        "backbone, which is what is saved"
    )
    show.note(said)
    plan = replace(
        base,
        strategy=FREEZE,
        boundary=None,
        taps=frozen_choice.taps,
        recipe=None,
        reasons=(said, *outcome.head_reasons(frozen_head, frozen_choice, FREEZE), *base.reasons),
    )
    return _Made(plan, frozen_head, frozen, frozen, tuned, False)


def _plan(start: _Start, extractor: Extractor, choice: Choice, reasons: tuple[str, ...]) -> Plan:
    options = start.options
    return Plan(
        backbone=options.backbone,
        weights=start.weights_name,
        strategy=options.strategy,
        input_size=extractor.input_size,
        val_split=options.val_split,
        class_weights=options.class_weights,
        seed=options.seed,
        features=options.features,
        boundary=choice.boundary,
        taps=choice.taps,
        reasons=reasons,
    )


def _needed(extractor: Extractor, options: TrainOptions) -> list[str]:
    """The blocks to hold in memory: what a head may take, and the top, which tells copies apart."""
    if options.strategy != EARLY and options.features == LAST:
        return [TOP]
    return [name for name, _ in extractor.taps]


def _solve(data: Dataset, options: TrainOptions, balanced: bool, show: Progress) -> tuple[Choice, Head]:
    """What the head takes, and the head."""
    from tlkit.training.head import solve_head

    chosen = data.of(TRAIN)
    labels, groups = [data.folder.labels[i] for i in chosen], [data.groups[i] for i in chosen]
    matrix, taps = data.features.matrix[[data.rows[i] for i in chosen]], data.features.taps
    choice = choose_taps(
        matrix,
        taps,
        labels,
        groups,
        strategy=options.strategy,
        features=options.features,
        boundary=options.boundary,
        balanced=balanced,
        seed=options.seed,
        progress=show,
    )
    matrix = rows_of(matrix, taps, choice.taps)
    classes = len(data.folder.classes)
    head = solve_head(matrix, labels, classes, groups=groups, balanced=balanced, seed=options.seed, progress=show)
    return choice, head


def _tell_copies(data: Dataset, show: Progress) -> None:
    if data.seen:
        show.note(f"{data.seen} validation pictures were trained on before: accuracy may be inflated")
    if data.leaks:
        done = f"{data.dropped} left out of training" if data.dropped else "accuracy may be inflated (--drop-leaks)"
        show.note(
            f"{len(data.leaks)} pictures have copies in another split, such as {' = '.join(data.leaks[0][:2])}: {done}"
        )
    elif data.copies:
        show.note(f"{data.copies} pictures are copies of others; copies stay on one side of the split")
