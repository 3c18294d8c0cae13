"""The decisions of a run that trains weights: made once, by measuring, and reused when it is resumed."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.flip_check import look_at_flips
from tlkit.api.train.network import Material
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.run_dir import RunDir
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.plan.choices import NONE
from tlkit.plan.plan import Flips
from tlkit.plan.recipe import Recipe, make_recipe
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.finetune.loop import FitResult, Job
    from tlkit.finetune.lr_search import Trial
    from tlkit.finetune.trainable import Trainable

CHECK_SHARE = 0.15  # of the time left that the learning-rate search may take
SAVING = 6.0  # seconds to write a bundle
MARGIN = 0.04  # of a time budget, held back for wrong estimates


@dataclass(frozen=True)
class TuningDecisions:
    """The decisions of a run.

    Attributes:
        recipe: How weights are trained.
        flips: Whether mirroring is harmless; None if not checked.
        trials: The learning rates that were tried.
        seconds: Seconds that training may take; None: no limit.
    """

    recipe: Recipe
    flips: Flips | None
    trials: tuple[Trial, ...] = ()
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dump``."""
        return {
            "recipe": self.recipe.to_json(),
            "flips": asdict(self.flips) if self.flips else None,
            "trials": [[each.rate, each.loss, each.harmless] for each in self.trials],
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TuningDecisions:
        """Rebuild decisions from `to_json`."""
        from tlkit.finetune.lr_search import Trial

        return cls(
            Recipe.from_json(data["recipe"]),
            Flips(**data["flips"]) if data["flips"] else None,
            tuple(Trial(*each) for each in data["trials"]),
            data["seconds"],
        )


def decide_recipe(material: Material, request: TrainOptions, run: RunDir) -> TuningDecisions:
    """Decide the recipe, except for learning rate and time; a resumed run or a complete plan has decided everything."""
    from tlkit.finetune.hardware import choose_precision

    dataset, plan, kept = material.dataset, material.plan, run.decisions()
    if "recipe" in kept:
        return TuningDecisions.from_json(kept)
    if plan.recipe is not None:
        return TuningDecisions(plan.recipe, plan.flips)
    flips = None
    if request.augment != NONE:
        flips = look_at_flips(dataset, material.extractor, material.decoded.pixels, material.context)
    recipe = make_recipe(
        dataset.count(TRAIN),
        validation=dataset.count(VAL),
        epochs=request.epochs,
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        augment=request.augment,
        flip=flips is not None and flips.harmless,
        precision=choose_precision(request.mixed_precision),
    )
    return TuningDecisions(recipe, flips)


def decide_rate(
    job: Job, decisions: TuningDecisions, classes: int, context: Context, seconds: float | None = None
) -> tuple[Job, TuningDecisions]:
    """Decide the learning rate, by trying some unless it is decided already.

    Args:
        job: What is trained on what.
        decisions: The decisions so far.
        classes: Number of classes.
        context: Context of the run.
        seconds: Seconds that the search may take; None: a share of the time left.
    """
    from tlkit.finetune.lr_search import best_rate, try_rates

    if job.recipe.learning_rate is not None:
        return job, decisions
    left = context.left()
    if seconds is None:
        seconds = math.inf if left is None else CHECK_SHARE * left
    trials = try_rates(job, classes, context.show, seconds)
    recipe = replace(job.recipe, learning_rate=best_rate(trials, len(job.train)))
    return replace(job, recipe=recipe), replace(decisions, recipe=recipe, trials=trials)


def decide_time(
    job: Job, decisions: TuningDecisions, dataset: Dataset, deadline: float | None, sample: int
) -> TuningDecisions:
    """Decide how long training may take, so that the evaluation after it still fits."""
    if deadline is None or decisions.seconds is not None:
        return decisions
    some = list(job.val[: job.recipe.batch_size])
    job.trainer.logits(job.inputs.batch(some, None))  # the first time includes building the graph
    start = time.perf_counter()
    job.trainer.logits(job.inputs.batch(some, None))
    each = (time.perf_counter() - start) / len(some)
    left = deadline - time.perf_counter()
    # the final evaluation runs the whole network, which takes a few times as long
    after = 3 * each * (dataset.count(VAL) + dataset.count(TEST) + sample) + SAVING + MARGIN * left
    return replace(decisions, seconds=max(0.0, left - after))


def tuning_reasons(decisions: TuningDecisions, job: Job, images: int, trainable: Trainable) -> tuple[str, ...]:
    """Why the recipe is what it is, one sentence each."""
    recipe = job.recipe
    tried = ", ".join(f"{each.rate:.0e} {each.loss:.3f}" for each in decisions.trials)
    count = sum(math.prod(each.shape) for each in trainable.variables)
    epochs = recipe.steps * recipe.batch_size / images
    lines = [
        f"training starts from the solved head and changes {count:,} parameters",
        f"{recipe.steps} steps with batch size {recipe.batch_size}: {epochs:.1f} epochs",
        f"peak learning rate {recipe.learning_rate:.2g} for "
        + (
            "all layers"
            if recipe.layer_decay == 1
            else f"the head, times {recipe.layer_decay:g} for each stage below it"
        )
        + (f"; training loss after a few steps at each rate tried: {tried}" if tried else ""),
    ]
    if recipe.augment != NONE:
        lines.append(f"augmentation {recipe.augment}: {_flip_reason(decisions.flips)}")
    if recipe.views:
        lines.append(f"the frozen part is computed once, for {plural(recipe.views, 'version')} of each image")
    return tuple(lines)


def interpolation_reasons(outcome: FitResult, images: int) -> tuple[str, ...]:
    """How the saved weights were made from those before and after training, in a sentence; none if they were not.

    Args:
        outcome: How training went.
        images: Number of validation images.
    """
    if not outcome.mixes:
        return ()
    share = outcome.share
    said = f"the saved weights are {share:.0%} trained and {1 - share:.0%} as they were before (WiSE-FT)"
    if share == 1:
        said = "the saved weights are the trained ones, not a mix with those from before (WiSE-FT)"
    if len(outcome.mixes) == 1:
        return (f"{said}; {plural(images, 'validation image')} would be too few to choose that",)
    by_share = sorted(outcome.mixes, key=lambda mix: mix.share)
    tried = ", ".join(f"{mix.share:.0%} {mix.calibrated_loss:.3f}" for mix in by_share)
    return (f"{said}: lowest validation log loss, calibrated, of {tried}",)


def _flip_reason(flips: Flips | None) -> str:
    if flips is None or not flips.images:
        return "images are not mirrored, as there are too few to check that it is harmless"
    found = f"accuracy of probes {flips.plain:.1%} on {flips.images} images, {flips.mirrored:.1%} on them mirrored"
    return f"images are also mirrored ({found})" if flips.harmless else f"images are not mirrored ({found})"


def _images_digest(dataset: Dataset) -> str:
    folder = dataset.folder
    text = json.dumps([dataset.contents, list(folder.labels), list(folder.splits), list(folder.classes)])
    return hashlib.sha256(text.encode()).hexdigest()


def check_same(dataset: Dataset, run: RunDir) -> None:
    """Require the images that a run started with.

    Raises:
        TlkitError: They have changed.
    """
    known = run.decisions().get("images")
    if known is not None and known != _images_digest(dataset):
        raise TlkitError(
            f"the images in {dataset.folder.root} are not those that this run started with",
            "restore them, or start again without --resume",
        )


def keep(decisions: TuningDecisions, dataset: Dataset, run: RunDir) -> None:
    """Save the decisions, and the images they are for, so that the run can be resumed.

    Raises:
        TlkitError: It cannot be written.
    """
    run.decide(**decisions.to_json(), images=_images_digest(dataset))
