"""``tlkit.train`` and ``tlkit.resume``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from tlkit.api.recommend.plan_file import request_of
from tlkit.api.train.keywords import documented
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.pipeline import run_pipeline
from tlkit.api.train.result import TrainResult
from tlkit.api.train.run_dir import free_place, open_run, resumed_place
from tlkit.api.train.stages import IMAGES, expect_training
from tlkit.api.train.start import context_of, prepare_start, scan_folder
from tlkit.files import absolute
from tlkit.images.folder import existing_folder
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
        images: A folder with one sub-folder per class, or with train/ and optionally val/ and test/.
        plan: A plan from `tlkit.recommend` or a bundle's ``plan.json``. Options that it decides cannot be given, except
            for the location of its backbone, its weights file or the bundle it started from.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: The folder, an option, the weights or the output folder cannot be used.
    """
    request = TrainOptions.make(images, **options) if plan is None else request_of(plan, images, options)
    context = context_of(request, progress)
    expect_training(request, context)
    place = free_place(existing_folder(request.images), request.output, request.overwrite)
    context.begin(IMAGES)
    start, folder = prepare_start(request, context, plan), scan_folder(request.images, context)
    return run_pipeline(start, folder, place, context)


def resume(
    folder: PathLike,
    *,
    images: PathLike | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Resume a run that was killed or interrupted, with its original options.

    Args:
        folder: The run's folder, ``NAME.tlkit-run``, or the bundle it writes.
        images: The images' folder, if it was moved.
        workers: As for `train`.
        progress: Progress reporter.

    Raises:
        TlkitError: There is no such run, its images have changed, or as for `train`.
    """
    run = open_run(folder)
    where = run.request.images if images is None else absolute(images)
    request = replace(run.request, images=where, workers=workers)
    context = context_of(request, progress)
    place = resumed_place(run)
    expect_training(request, context)
    context.begin(IMAGES)
    start = prepare_start(request, context, run.plan)
    return run_pipeline(start, scan_folder(where, context), place, context, run)
