"""Carries out a training run: features, head, tuning, the better of both, the bundle."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.api.train import outcome
from tlkit.api.train.calibration import Calibration, calibrate
from tlkit.api.train.context import Task, advised, read_data
from tlkit.api.train.dataset import Dataset, Skipped, is_uneven, skipped_files
from tlkit.api.train.head import solve
from tlkit.api.train.ood import Unknown, learn_frozen, learn_tuned
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.result import TrainResult
from tlkit.api.train.run_dir import RunFolder, begin_run
from tlkit.api.train.start import Start, in_bundle
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.bundle.save import REPORT
from tlkit.errors import TlkitError
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.linear.classifier import watched
from tlkit.linear.taps import Choice, check_boundary, widths_of
from tlkit.plan.plan import AUTO, EARLY, FREEZE, LAST, LAST_LAYERS, Plan

if TYPE_CHECKING:
    from tlkit.api.train.tuning import Tuned
    from tlkit.export.keras_process import KerasProcess
    from tlkit.linear.head import Head


def carry_out(task: Task, run: RunFolder | None) -> TrainResult:
    """Train, and leave the run's folder only where there is something to go on with.

    Args:
        task: What to do; the strategy "auto" is settled on the way.
        run: Of a strategy that tunes weights; of "auto" it is made here.
    """
    from tlkit.export.keras_process import keras_process

    options = task.options
    try:
        extractor = open_extractor(
            task.start.backbone,
            weights=options.weights,
            input_size=options.image_size,
            engine=options.engine,
            progress=task.show,
        )
        task.clock.lap("loading")
        if options.strategy != AUTO:
            check_boundary(options.boundary, options.strategy, extractor.taps)
        with ExitStack() as stack:
            process = None if options.tunes else stack.enter_context(keras_process(extractor))
            data = read_data(task, extractor)
            if options.strategy == AUTO:
                # most often the head alone is solved, and TensorFlow is there by the time that is known
                process = stack.enter_context(keras_process(extractor))
                task = advised(task, data, extractor)
                if task.options.tunes:
                    stack.close()
                    run, process = begin_run(task.options, task.target, task.overwrite), None
            result = _train_and_save(task, data, extractor, run, process)
    except KeyboardInterrupt:
        if run is not None:
            task.show.note(f"to go on: tlkit train --resume {run.path}")
        raise
    except TlkitError:
        if run is not None and not run.has_state and not run.resumed:
            run.remove()
        raise
    if run is not None and result.resume is None:
        run.remove()
    return result


def _train_and_save(
    task: Task, data: Dataset, extractor: Extractor, run: RunFolder | None, process: KerasProcess | None
) -> TrainResult:
    options, show, clock = task.options, task.show, task.clock
    balanced = options.class_weights == "auto" and is_uneven(data.folder)
    made = _with_unknown(_calibrated(_make(task, data, extractor, balanced, run), data), data, extractor, options)
    clock.lap("training")
    manifest = outcome.manifest_of(made.plan, extractor.weights_hash, data, made.metrics)
    manifest["run"] = run.name if run else None
    manifest["calibration"] = made.calibration and made.calibration.to_json()
    flips = (made.tuned and made.tuned.flips) or options.flips
    manifest["flips"] = asdict(flips) if flips else None
    manifest["unknown"] = made.unknown and made.unknown.to_json()
    known = made.unknown.known if made.unknown else None
    skipped = skipped_files(task.folder, data.features)
    page = _page(made, data, skipped, task) if options.report else None
    bundle = outcome.Saving(task.target, made.plan, manifest, known, page, task.overwrite, show)
    if made.tuned is not None and made.kept:
        bundle.save_tuned(extractor, data, made.tuned)
    else:
        bundle.save_frozen(extractor, data, made.head, process)
    interrupted = run is not None and made.tuned is not None and made.tuned.interrupted
    return TrainResult(
        model=task.target,
        report=task.target / REPORT if (task.target / REPORT).is_file() else None,
        plan=made.plan,
        classes=data.folder.classes,
        images={**{split: len(data.of(split)) for split in (TRAIN, VAL, TEST)}, "skipped": len(skipped)},
        skipped=skipped,
        leaks=data.leaks,
        uneven=is_uneven(data.folder),
        metrics=made.metrics,
        seconds={
            "total": clock.total(),
            **{name: clock.laps[name] for name in ("features", "advice", "training") if name in clock.laps},
        },
        reused=data.features.reused,
        tuning=made.tuning(),
        resume=run.path if run is not None and interrupted else None,
    )


@dataclass(frozen=True)
class _Made:
    """A network to save: the tuned one, or the best of the frozen ones."""

    plan: Plan
    head: Head
    probabilities: outcome.Probabilities
    metrics: dict[str, Any]
    frozen: dict[str, Any]
    tuned: Tuned | None
    kept: bool
    repeated: dict[str, Any]
    calibration: Calibration | None = None
    unknown: Unknown | None = None

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


def _page(made: _Made, data: Dataset, skipped: Skipped, task: Task) -> outcome.Page:
    """What draws the report, once the networks are written."""

    def page(place: Path, history: list[dict[str, Any]]) -> str:
        from tlkit.api.train.report import Trained, page_of_training

        why = made.calibration.why if made.calibration else ""
        trained = Trained(data, made.plan, made.probabilities, made.metrics, made.tuning(), why, skipped, task.target)
        return page_of_training(trained, place, history)

    return page


def _calibrated(made: _Made, data: Dataset) -> _Made:
    """The same with its confidence scaled, in the weights of head or network."""
    calibration, probabilities = calibrate(data, made.probabilities)
    plan = replace(made.plan, reasons=(*made.plan.reasons, calibration.why))
    if calibration.temperature is None:
        return replace(made, plan=plan, metrics=made.metrics | made.repeated, calibration=calibration)
    if made.tuned is not None and made.kept:
        from tlkit.linear.classifier import cool

        cool(made.tuned.model, calibration.temperature)
    return replace(
        made,
        plan=plan,
        head=made.head.cooled(calibration.temperature),
        probabilities=probabilities,
        metrics=outcome.metrics_of(data, probabilities) | made.repeated,
        calibration=calibration,
    )


def _with_unknown(made: _Made, data: Dataset, extractor: Extractor, options: TrainOptions) -> _Made:
    """The same with what tells images unlike those trained on."""
    shown = watched(extractor.taps, made.plan.taps)
    if made.tuned is not None and made.kept:
        blocks = widths_of(extractor.taps, shown)
        unknown = learn_tuned(data, made.tuned, blocks, options.unknown_rate, options.seed)
    else:
        unknown = learn_frozen(data, shown, options.unknown_rate, options.seed)
    return replace(made, unknown=unknown, plan=replace(made.plan, reasons=(*made.plan.reasons, unknown.why)))


def _make(task: Task, data: Dataset, extractor: Extractor, balanced: bool, run: RunFolder | None) -> _Made:
    """Solve the head, tune where that was asked for, and take what is better on the validation images."""
    options, show = task.options, task.show
    boundary = options.boundary
    if options.strategy == LAST_LAYERS and boundary is None:
        from tlkit.api.train.network import last_layers_from

        boundary = last_layers_from(extractor, show)
    choice, head = solve(data, replace(options, boundary=boundary), balanced, show)
    base = _plan(task.start, extractor, choice, outcome.data_reasons(data, balanced, options))
    reasons = outcome.head_reasons(head, choice, options.strategy)
    held_out = outcome.frozen_probabilities(data, head, choice)
    metrics = outcome.metrics_of(data, held_out)
    if run is None:
        plan = replace(base, reasons=(*reasons, *base.reasons))
        repeated = outcome.without_test(data, head, choice, balanced, options.seed, show)
        return _Made(plan, head, held_out, metrics, metrics, None, False, repeated)
    from tlkit.api.train.tuning import tune

    tuned = tune(
        data,
        extractor,
        head,
        choice,
        options,
        run,
        balanced=balanced,
        workers=task.workers,
        deadline=None if options.time_budget is None else task.clock.start + options.time_budget,
        show=show,
    )
    ours = outcome.metrics_of(data, tuned.probabilities)
    frozen, frozen_choice, frozen_head = metrics, choice, head
    # what is measured against is the whole backbone, frozen
    if options.strategy == EARLY or (options.strategy == LAST_LAYERS and options.features != LAST):
        frozen_choice, frozen_head = solve(data, replace(options, strategy=FREEZE, boundary=None), balanced, show)
        held_out = outcome.frozen_probabilities(data, frozen_head, frozen_choice)
        frozen = outcome.metrics_of(data, held_out)
    repeated = outcome.without_test(data, frozen_head, frozen_choice, balanced, options.seed, show)
    if outcome.better(ours, frozen, len(data.of(VAL))):
        plan = replace(base, recipe=tuned.recipe, reasons=(*reasons, *tuned.reasons, *base.reasons))
        return _Made(plan, head, tuned.probabilities, ours, frozen, tuned, True, repeated)
    said = (
        f"{options.strategy} did not help: {ours['val_accuracy']:.1%} on the validation images (log loss "
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
    return _Made(plan, frozen_head, held_out, frozen, frozen, tuned, False, repeated)


def _plan(start: Start, extractor: Extractor, choice: Choice, reasons: tuple[str, ...]) -> Plan:
    options = start.options
    return Plan(
        backbone=extractor.backbone.name,
        weights=start.weights_name,
        strategy=options.strategy,
        input_size=extractor.input_size,
        val_split=options.val_split,
        test_split=options.test_split,
        class_weights=options.class_weights,
        seed=options.seed,
        features=options.features,
        boundary=choice.boundary,
        taps=choice.taps,
        reasons=(*options.advice, *reasons, *([extractor.filling] if extractor.filling else [])),
        expected=options.expected,
        **in_bundle(start.origin),
    )
