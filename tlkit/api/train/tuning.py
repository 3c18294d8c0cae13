"""From a solved head to a network with tuned weights: the tuned strategies of ``train``."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.train.dataset import Dataset, require_all
from tlkit.api.train.network import Built, build, training_network
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.run_dir import RunFolder
from tlkit.api.train.tuning_decisions import check_same, choose_rate, keep, plan_time, reasons_of, settle
from tlkit.backbones.extractor import Extractor
from tlkit.finetune.tensorboard import board
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.linear.flip_check import FlipCheck
from tlkit.plan.recipe import Recipe
from tlkit.progress import Progress
from tlkit.store.decoded import Decoded, decode_all

if TYPE_CHECKING:
    from tlkit.finetune.loop import Outcome
    from tlkit.linear.head import Head
    from tlkit.linear.taps import Choice

SAMPLE, HASTY = 1000, 200  # training images that tell what known ones look like in the end; if time is short


@dataclass(frozen=True)
class Tuned:
    """A network with tuned weights.

    Attributes:
        model: The ``keras.Model``, float32 RGB 0..255 to probabilities, with the best weights.
        recipe: How it was trained.
        outcome: How that went.
        layers: Of the blocks that the head and `tlkit.linear.ood` look at, by name.
        probabilities: By split, float32 [n, classes], in the order of `Dataset.of`.
        features: Of the training images in ``sample`` and of all validation images, by split, float32 [n, columns].
        sample: Indices into the data set's folder.
        flips: What mirroring does; None where nobody asked.
        reasons: Why the recipe is what it is, one sentence each.
        interrupted: Whether it could go on.
    """

    model: Any
    recipe: Recipe
    outcome: Outcome
    layers: dict[str, str]
    probabilities: dict[str, NDArray[np.float32]]
    features: dict[str, NDArray[np.float32]]
    sample: tuple[int, ...]
    flips: FlipCheck | None
    reasons: tuple[str, ...]

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped from outside."""
        from tlkit.finetune.loop import INTERRUPTED

        return self.outcome.why == INTERRUPTED


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
        data: Images, split and features.
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
        TlkitError: The images have changed since the run began, the state cannot be written, or memory is too
            small for a single image.
    """
    from tlkit.finetune.hardware import enough_memory, keep_memory
    from tlkit.finetune.interrupt import gentle_interrupt
    from tlkit.finetune.loop import INTERRUPTED, fit
    from tlkit.linear.classifier import layers_of, watched, with_features

    keep_memory()
    check_same(data, run)
    size = (extractor.input_size, extractor.input_size)
    with contextlib.ExitStack() as stack:
        decoded = stack.enter_context(decode_all(data.folder.paths, size, workers=workers, progress=show))
        require_all(decoded, data.folder)
        settled = settle(data, decoded, extractor, options, run, workers, deadline, show)
        built = build(data, decoded, extractor, head, choice, settled.recipe, options, balanced, workers, show, stack)
        job, settled = choose_rate(built.job, replace(settled, recipe=built.job.recipe), data, deadline, show)
        sample = sampled(data, options.seed, SAMPLE if deadline is None else HASTY)
        settled = plan_time(job, settled, data, deadline, len(sample))
        keep(settled, data, run)
        with board(options.tensorboard) as observe, gentle_interrupt(show.note) as stop, enough_memory():
            outcome = fit(job, show, folder=run.path, seconds=settled.seconds, stop=stop, observe=observe)
        model = _plain_model(built, extractor, head, choice)
        shown = watched(extractor.taps, choice.taps)
        layers = layers_of(built.network, list(dict.fromkeys((*choice.taps, *shown))))
        seen = sample if outcome.why != INTERRUPTED else []
        wide = with_features(model, [layers[tap] for tap in shown])
        probabilities, features = _answers(wide, seen, data, decoded, show)
    reasons = reasons_of(settled, job, len(data.of(TRAIN)), built.trainable)
    return Tuned(model, job.recipe, outcome, layers, probabilities, features, tuple(seen), settled.flips, reasons)


def sampled(data: Dataset, seed: int, most: int) -> list[int]:
    """Training images whose features are computed once more at the end, ``most`` at most."""
    train = data.of(TRAIN)
    return (
        train if len(train) <= most else sorted(np.random.default_rng(seed).choice(train, most, replace=False).tolist())
    )


def _plain_model(built: Built, extractor: Extractor, head: Head, choice: Choice) -> Any:
    """The trained network in float32 and on one device, whatever it was trained in and on."""
    from tlkit.finetune.hardware import FLOAT32
    from tlkit.linear.classifier import attach_head

    if built.job.recipe.precision == FLOAT32 and built.strategy.num_replicas_in_sync == 1:
        return built.trainable.model
    model = attach_head(training_network(extractor), head, choice.taps)
    model.set_weights(built.trainable.model.get_weights())
    return model


def _answers(
    wide: Any, sample: Sequence[int], data: Dataset, decoded: Decoded, show: Progress
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """What the finished network says of the held-out images; its features of these and of the sample."""
    from tlkit.backbones.engines import batch_size, keras_forward

    forward, size, classes = keras_forward(wide), batch_size(), len(data.folder.classes)
    parts = {VAL: data.of(VAL), TEST: data.of(TEST), TRAIN: list(sample)}
    probabilities, features = {}, {}
    with show.phase("Last look at the images", sum(map(len, parts.values()))) as advance:
        for split, chosen in parts.items():
            rows = []
            for start in range(0, len(chosen), size):
                rows.append(forward(decoded.pixels(chosen[start : start + size])))
                advance(len(rows[-1]))
            if rows:
                probabilities[split], features[split] = np.split(np.concatenate(rows), [classes], axis=1)
    probabilities.pop(TRAIN, None)
    return probabilities, features
