"""The decisions of a run that trains weights: made once, by measuring, and reused when it is resumed."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.flip_check import look_at_flips
from tlkit.api.train.network import Material
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.run_dir import RunDir
from tlkit.api.train.run_note import DECISIONS, damaged
from tlkit.errors import TlkitError
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.plan.choices import NONE
from tlkit.plan.fields import record_of
from tlkit.plan.plan import Flips
from tlkit.plan.recipe import Recipe, make_recipe
from tlkit.schema import Within, WrongDataError, parsed
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.finetune.interpolation import Mix
    from tlkit.finetune.job import Job
    from tlkit.finetune.loop import FitResult
    from tlkit.finetune.lr_search import Trial
    from tlkit.finetune.trainable import Trainable

SAVING = 6.0  # seconds to write a bundle
_Seconds = Annotated[float, Within(0, 1e9)] | None
MARGIN = 0.04  # of a time budget, held back for wrong estimates


@dataclass(frozen=True)
class TuningDecisions:
    """The decisions of a run.

    Attributes:
        recipe: How weights are trained.
        flips: Whether mirroring is harmless; None if not checked.
        searching: Whether a higher learning rate may follow.
        trial: What training at the rate before this one did; None: there was none.
        seconds: Seconds that training may take; None: no limit.
    """

    recipe: Recipe
    flips: Flips | None
    searching: bool = False
    trial: Trial | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dump``."""
        return {
            "recipe": self.recipe.to_json(),
            "flips": asdict(self.flips) if self.flips else None,
            "searching": self.searching,
            "trial": asdict(self.trial) if self.trial else None,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TuningDecisions:
        """Rebuild decisions from `to_json`.

        Raises:
            TlkitError: Fields are missing, have another type, or are out of bounds.
        """
        from tlkit.finetune.lr_search import Trial

        flips, trial = data.get("flips"), data.get("trial")
        try:
            searching = parsed(bool, data.get("searching"), "searching")
            seconds = parsed(_Seconds, data.get("seconds"), "seconds")
        except WrongDataError as error:
            raise TlkitError(f"not a set of decisions of this version: {error}") from error
        return cls(
            Recipe.from_json(data["recipe"]),
            None if flips is None else record_of(Flips, flips, "flip check"),
            searching,
            None if trial is None else record_of(Trial, trial, "trial of a learning rate"),
            seconds,
        )


def decide_recipe(material: Material, request: TrainOptions, run: RunDir) -> TuningDecisions:
    """Decide the recipe to begin with; a resumed run or a complete plan has decided everything."""
    from tlkit.finetune.hardware import choose_precision

    dataset, plan, kept = material.dataset, material.plan, run.decisions()
    if "recipe" in kept:
        try:
            return TuningDecisions.from_json(kept)
        except TlkitError as error:
            raise damaged(run.path, DECISIONS, error.message) from error
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
    return TuningDecisions(recipe, flips, searching=request.learning_rate is None)


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
        + _rate_reason(decisions),
    ]
    if recipe.augment != NONE:
        lines.append(f"augmentation {recipe.augment}: {_flip_reason(decisions.flips)}")
    if recipe.views:
        lines.append(f"the frozen part is computed once, for {plural(recipe.views, 'version')} of each image")
    return tuple(lines)


def _rate_reason(decisions: TuningDecisions) -> str:
    trial = decisions.trial
    if trial is None:
        return ""
    found = f"{trial.rate:.2g} took the validation log loss, calibrated, from {trial.before:.3f} to {trial.after:.3f}"
    return f"; {found}{', which asks for more' if trial.more else ', which does not ask for a higher rate'}"


def interpolation_reasons(outcome: FitResult, images: int) -> tuple[str, ...]:
    """How the saved weights were made from those before and after training, in a sentence; none if they were not.

    Args:
        outcome: How training went.
        images: Number of validation images.
    """
    from tlkit.finetune.interpolation import SHARES

    if not outcome.mixes:
        return ()
    share, count = outcome.share, len(outcome.mixes)
    said = f"the saved weights are {share:.0%} trained and {1 - share:.0%} as they were before (WiSE-FT)"
    if share == 1:
        said = "the saved weights are the trained ones, not mixed with those from before (WiSE-FT)"
    if count < len(SHARES):
        return (f"{said}, as {plural(images, 'validation image')} cannot choose the share",)
    tried = ", ".join(f"{mix.share:.0%} {mix.calibrated_loss:.3f}" for mix in sorted(outcome.mixes, key=_by_share))
    return (f"{said}: validation log loss, calibrated, by share: {tried}",)


def _by_share(mix: Mix) -> float:
    return mix.share


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
            f"the images in {dataset.folder.source} are not those that this run started with",
            "restore them, or start again without --resume",
        )


def keep(decisions: TuningDecisions, dataset: Dataset, run: RunDir) -> None:
    """Save the decisions, and the images they are for, so that the run can be resumed.

    Raises:
        TlkitError: It cannot be written.
    """
    run.decide(**decisions.to_json(), images=_images_digest(dataset))
