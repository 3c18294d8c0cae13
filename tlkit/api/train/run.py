"""``tlkit.train``: from a folder of images to a bundle."""

from __future__ import annotations

import os
from dataclasses import replace

from tlkit.advisor.advise import MEASURED
from tlkit.api.recommend.backbone_selection import start_and_folder
from tlkit.api.recommend.plan_file import options_of
from tlkit.api.train.context import Task
from tlkit.api.train.options import TrainOptions, absolute, absolute_backbone
from tlkit.api.train.pipeline import carry_out
from tlkit.api.train.result import Clock, TrainResult
from tlkit.api.train.run_dir import begin_run, free_target, open_run
from tlkit.api.train.start import prepare_start, scan_folder
from tlkit.backbones import catalog
from tlkit.backbones.engines import AUTO as AUTO_ENGINE
from tlkit.backbones.weights.loading import IMAGENET, RANDOM
from tlkit.errors import TlkitError
from tlkit.linear.ood import RATE
from tlkit.plan.plan import AUTO, LAST, Plan
from tlkit.progress import Progress, SilentProgress

PathLike = str | os.PathLike[str]

__all__ = ["TrainResult", "resume", "train"]


def train(
    images: PathLike,
    *,
    strategy: str = AUTO,
    advisor: str = MEASURED,
    pilot: bool = False,
    features: str = LAST,
    boundary: str | None = None,
    backbone: str = catalog.DEFAULT,
    preprocessing: str | None = None,
    max_params: float | None = None,
    max_latency: float | None = None,
    weights: str = "imagenet",
    from_bundle: PathLike | None = None,
    output: PathLike | None = None,
    overwrite: bool = False,
    image_size: int | None = None,
    val_split: float = 0.2,
    test_split: float | None = None,
    class_weights: str = "auto",
    drop_leaks: bool = False,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    augment: str = "auto",
    mixed_precision: bool | None = None,
    time_budget: float | None = None,
    tensorboard: PathLike | None = None,
    engine: str = AUTO_ENGINE,
    unknown_rate: float = RATE,
    report: bool = True,
    workers: int | None = None,
    seed: int = 0,
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a classifier on a folder of images and save it as a bundle.

    While weights are tuned, the state lies in a folder ``NAME.tlkit-run`` beside the bundle, so that a run that was
    killed or interrupted can be taken up with `resume`; it is removed when the run is over.

    Args:
        images: A folder with one sub-folder per class, or with train/ and optionally val/ and test/.
        strategy: "auto": what the advisor chooses, see `tlkit.recommend`. "freeze": the backbone stays as it is, a
            softmax head is solved on its features. "last-layers": then its last stages are trained too. "fine-tune":
            all of it is. "early-layers": only its first stages are kept, with a head of their own, and trained; the
            later layers are dropped. Of tuned and frozen network the one that is better on the validation images is
            saved.
        advisor: With "auto". "measured": by cross-validation; "rule": by size and similarity alone.
        pilot: With "auto": where it is open whether training weights helps, train the last layers for a while on a part
            of the images, and see.
        features: What the head takes. "last": the pooled output of the last stage; "all": those of all stages.
        boundary: With "early-layers", the last stage kept, such as "stage3"; None: chosen by cross-validation. With
            "last-layers", the last stage that stays as it is; None: by the share of the work that is above it.
        backbone: Name in the catalogue, in any unambiguous spelling; a ``.keras`` file with a network of your own, see
            docs/own-backbone.md; "auto": of those whose weights are on this machine, the smallest that is not clearly
            worse than the best, by cross-validation on a sample.
        preprocessing: Of a ``.keras`` file: what its network takes, a key of
            `tlkit.backbones.own.keras_file.PREPROCESSING`; None: what it begins with.
        max_params: With "auto", parameters without the classifier at most.
        max_latency: With "auto", seconds an image on one core at most.
        weights: "imagenet", "none" (random; for tests of the machinery only) or a weights file.
        from_bundle: A bundle whose network to start from instead, on the same images and classes or on others.
            Images it was trained on are not validated on.
        output: Where the bundle goes; None: ``<folder name>.tlkit`` in the current folder, never overwriting.
        overwrite: Replace a bundle, or an unfinished run, that lies at ``output``.
        image_size: Side of the square input in pixels; None: the backbone's own.
        val_split: Share of each class kept for validation where the folder has no split of its own.
        test_split: Share of each class kept as test images, on which nothing is chosen, where the folder has none of
            its own; None: 0.1 where there are 300 images to draw from, else 0.
        class_weights: "auto": where the largest class has over twice the training images of the smallest, classes
            are weighed by the inverse of their share. "none": never.
        drop_leaks: Leave training images out that have a copy in the folder's own val/ or test/.
        epochs: Passes over the training images; None: by their number. 0, with "early-layers": the head is solved
            and nothing else.
        learning_rate: Largest rate, that of the head; None: some are tried for a few steps.
        batch_size: Images an optimizer step; None: 32.
        augment: "auto", "none", "light" or "strong".
        mixed_precision: Compute in bfloat16; None: on GPUs made for it.
        time_budget: Seconds that everything may take; the schedule is made to fit.
        tensorboard: Folder for TensorBoard's event files; None: none are written.
        engine: What computes features: "auto" (LiteRT on a CPU, Keras on a GPU), "litert" or "keras".
        unknown_rate: Share of images of the known classes that `predict` may call unknown, 0..0.5.
        report: Write ``report.html`` into the bundle.
        workers: Reading threads, and cores to compute features with at most; None: one a processor.
        seed: Of the split, the folds, the order and the augmentation.
        plan: What to do, instead of the arguments that it decides: strategy, features, boundary, backbone, weights,
            size, split, class weights, seed, and the recipe where it has one. Where its backbone is a ``.keras`` file
            that was moved, ``backbone`` says where it is now.
        progress: Told what goes on.

    Raises:
        TlkitError: The folder, an option, the weights or the place of the output cannot be used.
    """
    options = TrainOptions(
        images=absolute(images),
        strategy=strategy,
        advisor=advisor,
        pilot=pilot,
        features=features,
        boundary=boundary,
        backbone=absolute_backbone(backbone),
        preprocessing=preprocessing,
        max_params=max_params,
        max_latency=max_latency,
        weights=weights if weights in (IMAGENET, RANDOM) else absolute(weights),
        from_bundle=None if from_bundle is None else absolute(from_bundle),
        image_size=image_size,
        val_split=val_split,
        test_split=test_split,
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
        unknown_rate=unknown_rate,
        report=report,
        seed=seed,
    )
    if plan is not None:
        options = replace(options, **options_of(plan, options.backbone))
    show = progress or SilentProgress()
    clock = Clock()
    start, folder = start_and_folder(options, workers, show)
    target = free_target(folder.root, output, overwrite)
    options = replace(options, backbone_sha256=start.options.backbone_sha256)
    run = begin_run(options, target, overwrite) if options.tunes and options.strategy != AUTO else None
    return carry_out(Task(start, folder, target, overwrite, workers, show, clock), run)


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
        images: Where the images are now, if they were moved.
        workers: As for `train`.
        progress: Told what goes on.

    Raises:
        TlkitError: There is no such run, its images have changed, or as for `train`.
    """
    show = progress or SilentProgress()
    clock = Clock()
    run = open_run(folder)
    options = run.options if images is None else replace(run.options, images=absolute(images))
    start = prepare_start(options, show)
    found = scan_folder(options.images, show)
    overwrite = run.may_replace()
    if os.path.lexists(run.target) and not overwrite:
        raise TlkitError(f"output exists: {run.target}", "move it away, then resume")
    return carry_out(Task(start, found, run.target, overwrite, workers, show, clock), run)
