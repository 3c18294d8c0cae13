"""Write the bundle of a finished run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.finished import Finished
from tlkit.api.train.keeping import keep_features
from tlkit.api.train.report import page_of_training
from tlkit.bundle.manifest import HELD_OUT, LITE, MODEL, OOD, REPORT, Manifest
from tlkit.bundle.save import save_bundle
from tlkit.context import Context
from tlkit.formats.keras_archive import keras_version
from tlkit.images.folder import TRAIN, VAL
from tlkit.images.group_spec import split_table
from tlkit.images.read import READING_VERSION
from tlkit.libraries import missing_library
from tlkit.plan.choices import FREEZE
from tlkit.plan.plan import Plan

if TYPE_CHECKING:
    from tlkit.formats.networks import Written

MAX_SAMPLES = 4  # validation images on which the engines must agree

History = Sequence[dict[str, Any]]


def save(finished: Finished, context: Context) -> tuple[Plan, Path]:
    """Write the bundle.

    Returns:
        The plan in it, which is complete, and the bundle's folder: another than planned if that was taken meanwhile.

    Raises:
        TlkitError: It cannot be written.
    """
    trained, place = finished.trained, finished.place
    plan = _complete(trained.plan)
    write, history = _tuned_writer(finished) if trained.tuned is not None else _frozen_writer(finished, context)

    def write_files(folder: Path) -> Manifest:
        written = write(folder)
        if written.problem:
            context.show.note(written.problem)
        if trained.ood is not None and trained.ood.statistics is not None:
            np.savez(folder / OOD, **trained.ood.statistics.arrays())  # type: ignore[arg-type]
        if trained.measured is not None and trained.measured.held_out is not None:
            np.savez(folder / HELD_OUT, **trained.measured.held_out.arrays())  # type: ignore[arg-type]
        if finished.start.request.keeps_features:
            keep_features(finished, plan, folder, context)
        _write_report(finished, plan, folder, history, context)
        return _manifest(finished, plan, written.layers)

    with context.show.phase("Saving the bundle", None):
        target = save_bundle(
            place.target, write=write_files, plan=plan.to_json(), history=history, overwrite=place.overwrite
        )
    if target != place.target:
        context.show.note(f"{place.target} exists by now and is left alone; the bundle is {target}")
    return plan, target


def _complete(plan: Plan) -> Plan:
    """Complete the plan for the bundle, with names of the user's files, not their private paths."""
    name = None if plan.backbone_file is None else Path(plan.backbone_file).name
    table = None if plan.groups is None else split_table(plan.groups)
    groups = plan.groups if table is None else f"{Path(table[0]).name}:{table[1]}"
    return replace(plan, backbone_file=name, groups=groups, complete=True)


def _frozen_writer(finished: Finished, context: Context) -> tuple[Callable[[Path], Written], History]:
    """Return the writer and history for a frozen backbone."""
    from tlkit.formats.networks import write_networks

    head, extractor, taps = finished.trained.head, finished.extractor, finished.head_taps
    history = [
        {"step": step, "c": point.c, "cv_log_loss": point.log_loss, "cv_accuracy": point.accuracy}
        for step, point in enumerate(head.search, 1)
    ]
    extractor.convert(context.show)

    def write(folder: Path) -> Written:
        samples = _samples(finished.dataset)
        return write_networks(folder / MODEL, folder / LITE, extractor, head, samples, taps)

    return write, history


def _tuned_writer(finished: Finished) -> tuple[Callable[[Path], Written], History]:
    """Return the writer and history for a tuned network."""
    from tlkit.formats.networks import write_tuned

    tuned, taps = finished.trained.tuned, finished.trained.plan.taps
    assert tuned is not None

    def write(folder: Path) -> Written:
        files, samples = (folder / MODEL, folder / LITE), _samples(finished.dataset)
        return write_tuned(*files, tuned.model, finished.extractor, taps, tuned.layers, samples)

    return write, list(tuned.outcome.rows)


def _write_report(finished: Finished, plan: Plan, folder: Path, history: History, context: Context) -> None:
    """Write the report; a bug in it must not cost the trained network."""
    if not finished.start.request.report:
        return
    try:
        text = page_of_training(finished, plan, folder, history)
    except Exception as error:  # noqa: BLE001
        lacking = missing_library(error)
        reason = f"{lacking.message} ({lacking.hint})" if lacking else repr(error)
        context.show.note(f"the report could not be written: {reason}")
        return
    (folder / REPORT).write_text(text, encoding="utf-8", errors="backslashreplace")


def _manifest(finished: Finished, plan: Plan, layers: dict[str, str]) -> Manifest:
    trained, dataset = finished.trained, finished.dataset
    own = {name: getattr(plan, name) for name in ("backbone_file", "backbone_sha256", "preprocessing")}
    # of exact copies in two splits, the one in training counts: the network was trained on that image
    order = sorted(zip(dataset.contents, dataset.folder.splits, strict=True), key=lambda pair: pair[1] == TRAIN)
    return Manifest(
        keras=keras_version(),
        backbone=plan.backbone,
        own_backbone=own if plan.backbone_file is not None else None,
        weights=plan.weights,
        weights_sha256=finished.extractor.weights_hash,
        strategy=plan.strategy,
        boundary=plan.boundary if plan.strategy != FREEZE else None,
        input_size=(plan.input_size, plan.input_size),
        reading=READING_VERSION,
        classes=dataset.classes,
        metrics=trained.metrics,
        split=dict(order),
        layers=layers,
        calibration=trained.calibration.to_json() if trained.calibration else None,
        unknown=trained.ood.to_json() if trained.ood else None,
        groups=None if dataset.grouping is None else dataset.grouping.to_json(),
        flips=asdict(trained.flips) if trained.flips else None,
        refit=trained.refit,
        held_out=trained.measured.to_json() if trained.measured else None,
        run=finished.run.name if finished.run else None,
    )


def _samples(dataset: Dataset) -> list[Path]:
    """Return some images that are there: those that a bundle knows by their features alone are not."""
    there = (path for path in chain(dataset.paths(VAL), dataset.paths(TRAIN)) if path.is_file())
    return list(islice(there, MAX_SAMPLES))
