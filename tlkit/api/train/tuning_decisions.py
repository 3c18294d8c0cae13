"""What a run with tuned weights decides once, by measuring, and finds again when it is resumed."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.flip_check import look_at_flips
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.run_dir import RunFolder
from tlkit.backbones.extractor import Extractor
from tlkit.errors import TlkitError
from tlkit.finetune import augmentation as augmenting
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.linear.flip_check import FlipCheck
from tlkit.plan.recipe import Recipe, make_recipe
from tlkit.progress import Progress
from tlkit.store.decoded import Decoded

if TYPE_CHECKING:
    from tlkit.finetune.loop import Job
    from tlkit.finetune.lr_search import Trial
    from tlkit.finetune.trainable import Trainable

CHECK_SHARE = 0.15  # of the time there is, that the learning-rate check may take
SAVING = 6.0  # seconds to write a bundle
MARGIN = 0.04  # of a time budget, kept for what was estimated too low


@dataclass(frozen=True)
class Settled:
    """What a run decides once, and finds again when it is resumed.

    Attributes:
        recipe: How weights are tuned.
        flips: What mirroring does, or None where nobody asked.
        trials: The learning rates that were tried.
        seconds: Time that training may take; None: no limit.
    """

    recipe: Recipe
    flips: FlipCheck | None
    trials: tuple[Trial, ...]
    seconds: float | None


def settle(
    data: Dataset,
    decoded: Decoded,
    extractor: Extractor,
    options: TrainOptions,
    run: RunFolder,
    workers: int | None,
    deadline: float | None,
    show: Progress,
) -> Settled:
    """The recipe, but for rate and time; of a run that is resumed, all of it."""
    from tlkit.finetune.hardware import choose_precision

    known = run.settled()
    if "recipe" in known:
        return _from_json(known)
    flips = None
    if options.augment != augmenting.NONE:
        flips = look_at_flips(data, extractor, decoded.pixels, seed=options.seed, workers=workers, show=show)
    recipe = make_recipe(
        len(data.of(TRAIN)),
        validation=len(data.of(VAL)),
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        augment=options.augment,
        flip=flips is not None and flips.harmless,
        precision=choose_precision(options.mixed_precision),
    )
    return Settled(recipe, flips, (), None)


def choose_rate(
    job: Job, settled: Settled, data: Dataset, deadline: float | None, show: Progress
) -> tuple[Job, Settled]:
    """The learning rate: as asked for, or by trying some."""
    from tlkit.finetune.lr_search import best_rate, try_rates

    if job.recipe.learning_rate is not None:
        return job, settled
    seconds = math.inf if deadline is None else CHECK_SHARE * (deadline - time.perf_counter())
    trials = try_rates(job, len(data.folder.classes), show, seconds)
    recipe = replace(job.recipe, learning_rate=best_rate(trials, len(job.train)))
    return replace(job, recipe=recipe), replace(settled, recipe=recipe, trials=trials)


def plan_time(job: Job, settled: Settled, data: Dataset, deadline: float | None, sample: int) -> Settled:
    """How long training may take, so that what follows still fits: a look at held-out images and a sample."""
    if deadline is None or settled.seconds is not None:
        return settled
    some = list(job.val[: job.recipe.batch_size])
    job.tuner.logits(job.feed.batch(some, None))  # the first time includes building the graph
    start = time.perf_counter()
    job.tuner.logits(job.feed.batch(some, None))
    each = (time.perf_counter() - start) / len(some)
    left = deadline - time.perf_counter()
    # the last look goes through the whole network, which takes a few times as long
    after = 3 * each * (len(data.of(VAL)) + len(data.of(TEST)) + sample) + SAVING + MARGIN * left
    return replace(settled, seconds=max(0.0, left - after))


def reasons_of(settled: Settled, job: Job, images: int, trainable: Trainable) -> tuple[str, ...]:
    """Why weights are tuned as they are, one sentence each."""
    recipe = job.recipe
    tried = ", ".join(f"{each.rate:.0e} {each.loss:.3f}" for each in settled.trials)
    count = sum(math.prod(each.shape) for each in trainable.variables)
    epochs = recipe.steps * recipe.batch_size / images
    lines = [
        f"training starts from the solved head and changes {count:,} parameters",
        f"{recipe.steps} steps of {recipe.batch_size} images are {epochs:.1f} epochs",
        f"learning rate {recipe.learning_rate:.2g} for "
        + (
            "all layers"
            if recipe.layer_decay == 1
            else f"the head, times {recipe.layer_decay:g} for each stage below it"
        )
        + (f"; training loss after a few steps of those tried: {tried}" if tried else ""),
    ]
    if recipe.augment != augmenting.NONE:
        lines.append(f"augmentation {recipe.augment}: {_flip_reason(settled.flips)}")
    if recipe.views:
        lines.append(f"the frozen part was computed once for {recipe.views} versions of each image")
    return tuple(lines)


def _flip_reason(flips: FlipCheck | None) -> str:
    if flips is None or not flips.images:
        return "images are not mirrored, as too few were there to tell whether that is harmless"
    found = f"probes are right on {flips.plain:.1%} of {flips.images} images and {flips.mirrored:.1%} of them mirrored"
    return f"images are mirrored too: {found}" if flips.harmless else f"images are not mirrored: {found}"


def _images_digest(data: Dataset) -> str:
    contents = [data.features.contents[data.features.rows[row]] for row in data.rows]
    text = json.dumps([contents, list(data.folder.labels), list(data.folder.splits), list(data.folder.classes)])
    return hashlib.sha256(text.encode()).hexdigest()


def check_same(data: Dataset, run: RunFolder) -> None:
    """Refuse to go on with other images than those a run began with.

    Raises:
        TlkitError: They are others.
    """
    known = run.settled().get("images")
    if known is not None and known != _images_digest(data):
        raise TlkitError(
            f"the images in {data.folder.root} are not those this run began with",
            "put them back, or train anew without --resume",
        )


def keep(settled: Settled, data: Dataset, run: RunFolder) -> None:
    """Write down what was decided, and on which images, for a resume.

    Raises:
        TlkitError: It cannot be written.
    """
    run.settle(**_to_json(settled), images=_images_digest(data))


def _to_json(settled: Settled) -> dict[str, Any]:
    return {
        "recipe": settled.recipe.to_json(),
        "flips": asdict(settled.flips) if settled.flips else None,
        "trials": [[each.rate, each.loss, each.harmless] for each in settled.trials],
        "seconds": settled.seconds,
    }


def _from_json(data: dict[str, Any]) -> Settled:
    from tlkit.finetune.lr_search import Trial

    return Settled(
        Recipe.from_json(data["recipe"]),
        FlipCheck(**data["flips"]) if data["flips"] else None,
        tuple(Trial(*each) for each in data["trials"]),
        data["seconds"],
    )
