"""What `advisor.py` judges networks by: test images in two halves, and a training run with all its networks kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 32  # test images at a time

Row = dict[str, Any]


def halves(labels: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each image is in the first half: every other image of a class, so that both have as many of each."""
    seen: Counter[int] = Counter()
    found = []
    for label in labels:
        # classes start in turn, so that odd numbers of images add up evenly
        found.append((seen[label] + label) % 2 == 0)
        seen[label] += 1
    return np.asarray(found)


class Exam:
    """Test images.

    Args:
        images: (file, label) of each, in an order that does not depend on the number of training images.
    """

    def __init__(self, images: Sequence[tuple[Path, int]]) -> None:
        self.paths = [path for path, _ in images]
        self.labels = np.asarray([label for _, label in images])
        self.first = halves(self.labels.tolist())

    def score(self, answers: NDArray[Any]) -> list[float]:
        """Accuracy of logits or probabilities, [n, classes]: on all images, on the first half, on the second."""
        right = answers.argmax(axis=1) == self.labels
        return [round(float(each.mean()), 4) for each in (right, right[self.first], right[~self.first])]

    def features(self, extractor: Any, context: Any) -> NDArray[np.float32]:
        """Features of all taps, float32 [n, columns]."""
        from tlkit.api.train.dataset import stored_features

        found = stored_features(self.paths, extractor, context)
        if len(found.rows) < len(self.paths):
            raise SystemExit(f"unreadable test images: {found.errors}")
        return found.matrix

    def probabilities(self, model: Any, size: int) -> NDArray[np.float32]:
        """Answers of a Keras model with square inputs of ``size`` pixels."""
        from tlkit.backbones.engines import keras_forward
        from tlkit.store.decoded import decode_all

        forward, places = keras_forward(model), range(len(self.paths))
        with decode_all(self.paths, (size, size)) as decoded:
            parts = [forward(decoded.pixels(list(places[i : i + BATCH]))) for i in places[::BATCH]]
        return np.concatenate(parts)


def train_once(tree: Path, exam: Exam, strategy: str, network: tuple[str, int, str], seed: int, bundle: Path) -> Row:
    """Train with a strategy from a network, and judge all networks that there were.

    Args:
        tree: The images.
        exam: The test images.
        strategy: The strategy.
        network: Backbone, input size and features of the frozen head.
        seed: The seed.
        bundle: Where the bundle goes.

    Returns:
        Test accuracies: "saved", of the network that the bundle holds; with "freeze" also "part", of the head before
        the refit; else "tuned" and "frozen", of the networks compared. Their metrics on the validation images, what was
        kept, and how long it took.
    """
    import tlkit
    from tlkit.backbones.runtime import import_keras

    import_keras().backend.clear_session()
    # a frozen head is compared with the features given; those of a tuned network are always the last stage's
    options = {"features": network[2]} if strategy == "freeze" else {}
    with networks_of_run(exam) as found:
        result = tlkit.train(
            tree,
            strategy=strategy,
            backbone=network[0],
            image_size=network[1],
            seed=seed,
            output=bundle,
            overwrite=True,
            report=False,
            **options,
        )
    tuning = result.tuning.to_json() if result.tuning else None
    if tuning is not None and tuning["stopped"] == "interrupted":  # a signal ends a run gently
        raise SystemExit("interrupted")
    return {
        **found,
        "kept": tuning and tuning["kept"],
        "steps": tuning and tuning["steps"],
        "train_images": result.images["train"],
        "val_images": result.images["val"],
        "refit": list(result.refit),
        "tuning_seconds": result.seconds["training"],
        "total_seconds": result.seconds["total"],
    }


@contextmanager
def networks_of_run(exam: Exam) -> Iterator[Row]:
    """Judge the networks of the training run inside: frozen and tuned, before and after the refit."""
    from tlkit.api.train import pipeline
    from tlkit.api.train import trained as choosing
    from tlkit.api.train.metrics import frozen_probabilities, metrics_of
    from tlkit.backbones.extractor import rows_of

    found: Row = {}
    finish, choose = pipeline.finish, choosing.choose

    def head_score(head: Any, taps: Sequence[str], extractor: Any, context: Any) -> list[float]:
        return exam.score(head.logits(rows_of(exam.features(extractor, context), extractor.taps, taps)))

    def validation(dataset: Any, probabilities: Any) -> list[float]:
        its = metrics_of(dataset, probabilities)
        return [round(its["val_accuracy"], 4), round(its["val_loss"], 4)]

    def watched_choose(dataset: Any, plan: Any, solved: Any, rival: Any, tuned: Any, context: Any) -> Any:
        found["tuned"] = exam.score(exam.probabilities(tuned.model, plan.input_size))
        found["tuned_val"] = validation(dataset, tuned.probabilities)
        found["frozen_val"] = validation(dataset, frozen_probabilities(dataset, rival))
        found["learning_rate"], found["share"] = tuned.recipe.learning_rate, tuned.outcome.share
        return choose(dataset, plan, solved, rival, tuned, context)

    def watched_finish(trained: Any, rival: Any, dataset: Any, extractor: Any, context: Any) -> Any:
        done = finish(trained, rival, dataset, extractor, context)
        before = "part" if trained.tuning is None else "frozen"
        found[before] = head_score(rival.head, rival.choice.taps, extractor, context)
        saved = found.get("tuned") if done.tuned else head_score(done.head, done.plan.taps, extractor, context)
        found["saved"] = saved
        return done

    pipeline.finish, pipeline.choose = watched_finish, watched_choose
    try:
        yield found
    finally:
        pipeline.finish, pipeline.choose = finish, choose
