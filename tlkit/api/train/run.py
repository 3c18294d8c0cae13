"""``tlkit.train`` and ``tlkit.resume``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlkit.api.places import places_of
from tlkit.api.recommend.plan_file import request_of
from tlkit.api.train.keywords import documented
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.pipeline import run_pipeline
from tlkit.api.train.reserve import reserved, reserved_run
from tlkit.api.train.result import TrainResult
from tlkit.api.train.stages import IMAGES, expect_training
from tlkit.api.train.start import context_of, find_labelled, prepare_start
from tlkit.errors import TlkitError
from tlkit.files import absolute
from tlkit.images.folder import ImageFolder
from tlkit.images.labelled import existing_images
from tlkit.plan.plan import Plan
from tlkit.progress import Progress

PathLike = str | os.PathLike[str]

__all__ = ["TrainResult", "resume", "train"]


@documented(TrainOptions)
def train(
    images: PathLike, *, plan: Plan | None = None, progress: Progress | None = None, **options: Any
) -> TrainResult:
    """Train a classifier on a folder of images and save it as a bundle.

    While weights are trained, the state is kept in a folder ``NAME.tlkit-run`` beside the bundle, so that `resume` can
    continue a run that was killed or interrupted. The folder is removed when the run is finished.

    Example:
        >>> tlkit.train("photos", strategy="freeze").metrics["val_accuracy"]  # doctest: +SKIP
        0.93

    Args:
        images: A folder with one sub-folder per class, or with train/ and optionally val/ and test/; or a table of
            files and labels: CSV, TSV or JSON Lines.
        plan: A plan from `tlkit.recommend` or a bundle's ``plan.json``. Options that it decides cannot be given, except
            for the location of its backbone, its weights file or the bundle it started from.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: The folder, an option, the weights or the output folder cannot be used.
    """
    if plan is not None and options.get("add"):
        raise TlkitError("--plan does not apply to --add", "the bundle given by --from has its own plan")
    request = TrainOptions.make(images, **options) if plan is None else request_of(plan, images, options)
    context = context_of(request, progress)
    if request.add:
        from tlkit.api.train.adding import add_images

        return add_images(request, context)
    expect_training(request, context)
    with reserved(existing_images(request.images), request.output, request.overwrite) as place:
        context.begin(IMAGES)
        start, folder = prepare_start(request, context, plan), find_labelled(request, context)
        _refuse_among_images(request, place.target, folder)
        return run_pipeline(start, folder, place, context)


def _refuse_among_images(request: TrainOptions, target: Path, folder: ImageFolder) -> None:
    """Refuse to write a bundle, or the metrics for TensorBoard, among the images.

    Raises:
        TlkitError: They would lie there.
    """
    images = places_of(folder)
    if images.hold(target):
        raise TlkitError(f"the bundle would lie among the images: {target}", "choose another folder with --output")
    if request.tensorboard is not None and images.hold(Path(request.tensorboard) / "events"):
        raise TlkitError(f"--tensorboard is inside the image folder: {request.tensorboard}", "choose another folder")


def resume(
    folder: PathLike,
    *,
    images: PathLike | None = None,
    root: PathLike | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Resume a run that was killed or interrupted, with its original options.

    Args:
        folder: The run's folder, ``NAME.tlkit-run``, or the bundle it writes.
        images: The images' folder or table, if it was moved.
        root: The folder that the table's paths start from, if it was moved.
        workers: As for `train`.
        progress: Progress reporter.

    Raises:
        TlkitError: There is no such run, another process works on it, its images have changed, or as for `train`.
    """
    with reserved_run(folder) as (run, place):
        where = run.request.images if images is None else absolute(images)
        base = run.request.root if root is None else absolute(root)
        request = replace(run.request, images=where, root=base, workers=workers)
        context = context_of(request, progress)
        expect_training(request, context)
        context.begin(IMAGES)
        start, found = prepare_start(request, context, run.plan), find_labelled(request, context)
        _refuse_among_images(request, place.target, found)
        return run_pipeline(start, found, place, context, run)
