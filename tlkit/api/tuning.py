"""From a solved head to a network with tuned weights: the tuned strategies of ``train``."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.dataset import Dataset
from tlkit.api.options import TrainOptions
from tlkit.api.runs import RunFolder
from tlkit.backbones.extractor import TOP, Extractor, columns_of
from tlkit.backbones.store import rounded
from tlkit.cache import cache_limit
from tlkit.errors import TlkitError
from tlkit.images.decoded import Decoded, decode_all
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.progress import Progress
from tlkit.training import augment as augmenting
from tlkit.training.flips import FlipCheck, check_flips, chosen_for_check
from tlkit.training.plan import LAST_LAYERS
from tlkit.training.recipe import Recipe, make_recipe

if TYPE_CHECKING:
    from tlkit.backbones.build import Network
    from tlkit.backbones.maps import Maps
    from tlkit.backbones.stages import Stage
    from tlkit.training.boundary import Choice
    from tlkit.training.fit import Job, Outcome
    from tlkit.training.head import Head
    from tlkit.training.rates import Trial
    from tlkit.training.trainable import Trainable

MAPS_SHARE = 0.5  # of the cache's bound, that the outputs of a frozen part may take
CHECK_SHARE = 0.15  # of the time there is, that the learning-rate check may take
SAVING = 6.0  # seconds to write a bundle
MARGIN = 0.04  # of a time budget, kept for what was estimated too low


@dataclass(frozen=True)
class Tuned:
    """A network with tuned weights.

    Attributes:
        model: The ``keras.Model``, float32 RGB 0..255 to probabilities, with the best weights.
        recipe: How it was trained.
        outcome: How that went.
        probabilities: By split, float32 [n, classes], in the order of `Dataset.of`.
        reasons: Why the recipe is what it is, one sentence each.
        interrupted: Whether it could go on.
    """

    model: Any
    recipe: Recipe
    outcome: Outcome
    probabilities: dict[str, NDArray[np.float32]]
    reasons: tuple[str, ...]

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped from outside."""
        return self.outcome.why == "interrupted"


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


def tune(
    data: Dataset,
    extractor: Extractor,
    head: Head,
    choice: Choice,
    options: TrainOptions,
    run: RunFolder,
    *,
    balanced: bool,
    workers: int | None,
    deadline: float | None,
    show: Progress,
) -> Tuned:
    """Train the weights that the strategy names, starting from the solved head (LP-FT).

    Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution": a head that
    is right from the start does not pull the features about.

    Args:
        data: Pictures, split and features.
        extractor: The backbone.
        head: The solved head.
        choice: Its features and the boundary.
        options: What was asked for.
        run: Where the state is kept; what it has decided already is used.
        balanced: Weigh classes by the inverse of their share.
        workers: Threads and cores; None: all.
        deadline: `time.perf_counter` at which the whole command is to end; None: no limit.
        show: Told what goes on.

    Raises:
        TlkitError: The pictures have changed since the run began, the state cannot be written, or memory is too
            small for a single picture.
    """
    from tlkit.training.fit import fit
    from tlkit.training.hardware import computing_in, device_strategy, keep_memory
    from tlkit.training.interrupt import gentle_interrupt
    from tlkit.training.trainable import make_trainable

    keep_memory()
    _check_same(data, run)
    size = (extractor.input_size, extractor.input_size)
    with contextlib.ExitStack() as stack:
        decoded = stack.enter_context(decode_all(data.folder.paths, size, workers=workers, progress=show))
        if decoded.errors:
            index, reason = next(iter(decoded.errors.items()))
            raise TlkitError(f"cannot read {data.folder.files[index]} again: {reason}", "leave the pictures in place")
        settled = _settle(data, decoded, extractor, options, run, workers, deadline, show)
        recipe = settled.recipe
        strategy = device_strategy()
        with show.phase("Building the network", None), strategy.scope(), computing_in(recipe.precision):
            network = _network(extractor, recipe.precision)
            boundary = choice.boundary if options.strategy == LAST_LAYERS else None
            stage = next((each for each in network.stages if each.name == boundary), None)
            recipe = replace(recipe, views=_views(recipe, data, stage))
            trainable = make_trainable(
                network,
                head,
                choice.taps,
                boundary=boundary,
                split=recipe.views > 0,
                layer_decay=recipe.layer_decay,
                batch_norm=recipe.batch_norm,
            )
        feed = _feed(data, decoded, extractor, stage, recipe, workers, show, stack)
        job = _job(data, trainable, recipe, feed, balanced, options.seed, strategy, show)
        job, settled = _choose_rate(job, replace(settled, recipe=recipe), deadline, show)
        settled = _plan_time(job, settled, data, deadline)
        run.settle(**_to_json(settled), pictures=_pictures_digest(data))
        with _board(options.tensorboard) as observe, gentle_interrupt(show.note) as stop:
            try:
                outcome = fit(job, show, folder=run.path, seconds=settled.seconds, stop=stop, observe=observe)
            except MemoryError:
                raise TlkitError(
                    "out of memory, even for one picture at a time", "try a smaller --image-size"
                ) from None
        model = _plain_model(trainable, extractor, head, choice, recipe, strategy)
        probabilities = _probabilities(model, data, decoded, show)
    return Tuned(model, job.recipe, outcome, probabilities, _reasons(settled, job, len(data.of(TRAIN)), trainable))


def _settle(
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
    from tlkit.training.hardware import choose_precision

    known = run.settled()
    if "recipe" in known:
        return _from_json(known)
    flips = None
    if options.augment != augmenting.NONE:
        flips = _look_at_flips(data, decoded, extractor, options.seed, workers, show)
    recipe = make_recipe(
        len(data.of(TRAIN)),
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        augment=options.augment,
        flip=flips is not None and flips.harmless,
        precision=choose_precision(options.mixed_precision),
    )
    return Settled(recipe, flips, (), None)


def _look_at_flips(
    data: Dataset, decoded: Decoded, extractor: Extractor, seed: int, workers: int | None, show: Progress
) -> FlipCheck:
    train = data.of(TRAIN)
    chosen = [train[place] for place in chosen_for_check([data.folder.labels[index] for index in train], seed)]
    columns = columns_of(data.features.taps, [TOP])
    plain = data.features.matrix[[data.rows[index] for index in chosen]][:, columns]
    forward = extractor.forward(workers)
    top = columns_of(extractor.taps, [TOP])
    mirrored = []
    with show.phase("Mirrored pictures", len(chosen)) as advance:
        for start in range(0, len(chosen), 32):
            part = chosen[start : start + 32]
            mirrored.append(rounded(forward(np.ascontiguousarray(decoded.pixels(part)[:, :, ::-1])))[:, top])
            advance(len(part))
    labels, groups = [data.folder.labels[i] for i in chosen], [data.groups[i] for i in chosen]
    return check_flips(plain, np.concatenate(mirrored), labels, groups, seed)


def _network(extractor: Extractor, precision: str) -> Network:
    """A network of its own for training, built where and how the caller says."""
    from tlkit.backbones.build import build_backbone

    return build_backbone(
        extractor.backbone.name, weights=extractor.weights, input_size=extractor.input_size, seed=extractor.seed
    )


def _views(recipe: Recipe, data: Dataset, stage: Stage | None) -> int:
    """How many versions of each picture's map are stored; 0 where there is no frozen part, or no room."""
    if stage is None:
        return 0
    if recipe.views:
        return recipe.views
    count = len(data.of(TRAIN))
    epochs = recipe.steps * recipe.batch_size / count
    wanted = 1 if recipe.augment == augmenting.NONE else min(8, max(2, round(epochs / 3)))
    size = 2 * stage.height * stage.width * stage.channels
    room = int(MAPS_SHARE * cache_limit()) - size * len(data.of(VAL))
    return max(0, min(wanted, room // (size * count)))


def _feed(
    data: Dataset,
    decoded: Decoded,
    extractor: Extractor,
    stage: Stage | None,
    recipe: Recipe,
    workers: int | None,
    show: Progress,
    stack: contextlib.ExitStack,
) -> Any:
    from tlkit.training.feeds import PixelFeed

    if stage is None or not recipe.views:
        return PixelFeed(decoded)
    from tlkit.backbones.maps import compute_maps
    from tlkit.training.feeds import MapFeed, changer

    kind = json.dumps([recipe.augment, recipe.flip, str(augmenting.AMOUNTS.get(recipe.augment))])

    def maps(split: str, versions: int) -> Maps:
        found = compute_maps(
            decoded,
            data.of(split),
            extractor,
            stage,
            versions=versions,
            kind=kind,
            change=changer(recipe),
            workers=workers,
            progress=show,
        )
        stack.callback(found.close)
        return found

    return MapFeed(maps(TRAIN, recipe.views), maps(VAL, 1), recipe.views)


def _job(
    data: Dataset,
    trainable: Trainable,
    recipe: Recipe,
    feed: Any,
    balanced: bool,
    seed: int,
    strategy: Any,
    show: Progress,
) -> Job:
    from tlkit.training.fit import Job
    from tlkit.training.tuner import Tuner

    labels = np.asarray(data.folder.labels, dtype=np.int32)
    train = data.of(TRAIN)
    weights = None
    if balanced:
        share = np.bincount(labels[train], minlength=len(data.folder.classes)) / len(train)
        weights = np.asarray(1 / (share * len(share)), dtype=np.float32)
    tuner = Tuner(trainable, recipe, strategy, show.note)
    return Job(tuner, recipe, feed, labels, tuple(train), tuple(data.of(VAL)), weights, seed)


def _choose_rate(job: Job, settled: Settled, deadline: float | None, show: Progress) -> tuple[Job, Settled]:
    """The learning rate: as asked for, or by trying some."""
    from tlkit.training.rates import best_rate, try_rates

    if job.recipe.learning_rate is not None:
        return job, settled
    seconds = math.inf if deadline is None else CHECK_SHARE * (deadline - time.perf_counter())
    trials = try_rates(job, show, seconds)
    recipe = replace(job.recipe, learning_rate=best_rate(trials))
    return replace(job, recipe=recipe), replace(settled, recipe=recipe, trials=trials)


def _plan_time(job: Job, settled: Settled, data: Dataset, deadline: float | None) -> Settled:
    """How long training may take, so that what follows still fits."""
    if deadline is None or settled.seconds is not None:
        return settled
    some = list(job.val[: job.recipe.batch_size])
    job.tuner.logits(job.feed.batch(some, None))  # the first time includes building the graph
    start = time.perf_counter()
    job.tuner.logits(job.feed.batch(some, None))
    each = (time.perf_counter() - start) / len(some)
    left = deadline - time.perf_counter()
    # the last look at all held-out pictures goes through the whole network, which takes a few times as long
    after = 3 * each * (len(data.of(VAL)) + len(data.of(TEST))) + SAVING + MARGIN * left
    return replace(settled, seconds=max(0.0, left - after))


def _plain_model(
    trainable: Trainable, extractor: Extractor, head: Head, choice: Choice, recipe: Recipe, strategy: Any
) -> Any:
    """The trained network in float32 and on one device, whatever it was trained in and on."""
    from tlkit.training.assemble import attach_head
    from tlkit.training.hardware import FLOAT32

    if recipe.precision == FLOAT32 and strategy.num_replicas_in_sync == 1:
        return trainable.model
    model = attach_head(_network(extractor, FLOAT32), head, choice.taps)
    model.set_weights(trainable.model.get_weights())
    return model


def _probabilities(model: Any, data: Dataset, decoded: Decoded, show: Progress) -> dict[str, NDArray[np.float32]]:
    """What the finished network says of the held-out pictures."""
    from tlkit.backbones.engines import batch_size, keras_forward

    forward, found = keras_forward(model), {}
    size = batch_size()
    with show.phase("Held-out pictures", len(data.of(VAL)) + len(data.of(TEST))) as advance:
        for split in (VAL, TEST):
            rows, chosen = [], data.of(split)
            for start in range(0, len(chosen), size):
                rows.append(forward(decoded.pixels(chosen[start : start + size])))
                advance(len(rows[-1]))
            if rows:
                found[split] = np.concatenate(rows)
    return found


def _reasons(settled: Settled, job: Job, pictures: int, trainable: Trainable) -> tuple[str, ...]:
    recipe = job.recipe
    tried = ", ".join(f"{each.rate:.0e} {each.loss:.3f}" for each in settled.trials)
    count = sum(math.prod(each.shape) for each in trainable.variables)
    epochs = recipe.steps * recipe.batch_size / pictures
    lines = [
        f"training starts from the solved head and changes {count:,} parameters",
        f"{recipe.steps} steps of {recipe.batch_size} pictures are {epochs:.1f} epochs",
        f"learning rate {recipe.learning_rate:.2g} for the head, times {recipe.layer_decay:g} for each stage below it"
        + (f"; training loss of those tried: {tried}" if tried else ""),
    ]
    if recipe.augment != augmenting.NONE:
        lines.append(f"augmentation {recipe.augment}: {_flip_reason(settled.flips)}")
    if recipe.views:
        lines.append(f"the frozen part was computed once for {recipe.views} versions of each picture")
    return tuple(lines)


def _flip_reason(flips: FlipCheck | None) -> str:
    if flips is None or not flips.pictures:
        return "pictures are not mirrored, as too few were there to tell whether that is harmless"
    found = (
        f"probes are right on {flips.plain:.1%} of {flips.pictures} pictures and {flips.mirrored:.1%} of them mirrored"
    )
    return f"pictures are mirrored too: {found}" if flips.harmless else f"pictures are not mirrored: {found}"


@contextlib.contextmanager
def _board(folder: str | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Something that writes each row of figures for TensorBoard, where that was asked for."""
    if folder is None:
        yield lambda row: None
        return
    from tlkit.backbones.runtime import import_tensorflow

    tf = import_tensorflow()
    writer = tf.summary.create_file_writer(folder)

    def observe(row: dict[str, Any]) -> None:
        with writer.as_default():
            for name, value in row.items():
                if name != "step" and value is not None:
                    tf.summary.scalar(name, value, step=row["step"])
        writer.flush()

    try:
        yield observe
    finally:
        writer.close()


def require_tensorboard() -> None:
    """Raise where the package is missing.

    Raises:
        TlkitError: It is.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise TlkitError("TensorBoard is not installed", 'pip install "tlkit[tensorboard]", or leave --tensorboard out')


def _pictures_digest(data: Dataset) -> str:
    contents = [data.features.contents[data.features.rows[row]] for row in data.rows]
    text = json.dumps([contents, list(data.folder.labels), list(data.folder.splits), list(data.folder.classes)])
    return hashlib.sha256(text.encode()).hexdigest()


def _check_same(data: Dataset, run: RunFolder) -> None:
    known = run.settled().get("pictures")
    if known is not None and known != _pictures_digest(data):
        raise TlkitError(
            f"the pictures in {data.folder.root} are not those this run began with",
            "put them back, or train anew without --resume",
        )


def _to_json(settled: Settled) -> dict[str, Any]:
    return {
        "recipe": settled.recipe.to_json(),
        "flips": asdict(settled.flips) if settled.flips else None,
        "trials": [[each.rate, each.loss] for each in settled.trials],
        "seconds": settled.seconds,
    }


def _from_json(data: dict[str, Any]) -> Settled:
    from tlkit.training.rates import Trial

    return Settled(
        Recipe.from_json(data["recipe"]),
        FlipCheck(**data["flips"]) if data["flips"] else None,
        tuple(Trial(*each) for each in data["trials"]),
        data["seconds"],
    )
