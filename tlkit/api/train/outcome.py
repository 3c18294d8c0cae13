"""What a training run came to: figures, reasons, the manifest, the bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.options import TrainOptions
from tlkit.backbones.extractor import Extractor
from tlkit.bundle.save import KNOWN, LITE, MODEL, REPORT, save_bundle
from tlkit.evaluation.metrics import majority_accuracy, measure, wilson_interval
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.images.splits import TESTED_FROM
from tlkit.linear.taps import Choice, rows_of, widths_of
from tlkit.plan.plan import FREEZE, Plan
from tlkit.plan.recipe import FEWEST_TO_CHOOSE
from tlkit.progress import Progress

if TYPE_CHECKING:
    from tlkit.api.train.tuning import Tuned
    from tlkit.export.keras_process import KerasProcess
    from tlkit.export.networks import Written
    from tlkit.linear.head import Head
    from tlkit.linear.ood import Known

LOSS_NOISE = 1e-3  # relative
COMPARED = 4  # validation images on which the engines must agree

Page = Callable[[Path, list[dict[str, Any]]], str]
Probabilities = dict[str, NDArray[np.float32]]


def frozen_probabilities(data: Dataset, head: Head, choice: Choice) -> Probabilities:
    """What a head says of the held-out images, by split: float32 [n, classes]."""
    found = {}
    for split in (VAL, TEST):
        if chosen := data.of(split):
            matrix = data.features.matrix[[data.rows[i] for i in chosen]]
            found[split] = head.probabilities(rows_of(matrix, data.features.taps, choice.taps))
    return found


def metrics_of(data: Dataset, probabilities: Probabilities) -> dict[str, Any]:
    """Figures on the held-out images, by the names of the JSON contract."""
    labels = data.folder.labels
    figures: dict[str, Any] = {}
    for split, prefix in ((VAL, ""), (TEST, "test_")):
        if split not in probabilities:
            continue
        truth = [labels[i] for i in data.of(split)]
        figures.update(measure(probabilities[split], truth).to_json(f"{split}_"))
        baseline = majority_accuracy([labels[i] for i in data.of(TRAIN)], truth, len(data.folder.classes))
        figures[f"{prefix}baseline_accuracy"] = baseline
    return figures


def better(ours: dict[str, Any], frozen: dict[str, Any], images: int) -> bool:
    """Whether tuned weights are what to save: by validation accuracy, where that is equal by log loss.

    A loss that is lower by no more than what engines and half precision differ by does not count. On fewer than
    `FEWEST_TO_CHOOSE` images a single one of them would often decide against a network that is far better on new
    images: there it is enough that either accuracy or log loss speaks for the tuned one, and equal accuracy does
    (benchmarks/keep_rules.py compares ways to choose).

    Args:
        ours: Metrics of the tuned network.
        frozen: Of the frozen one.
        images: Validation images.
    """
    mine, its = ours["val_accuracy"], frozen["val_accuracy"]
    surer = bool(ours["val_loss"] < frozen["val_loss"] * (1 - LOSS_NOISE))
    if images < FEWEST_TO_CHOOSE:
        return bool(mine >= its) or surer
    return bool(mine > its) if mine != its else surer


def head_reasons(head: Head, choice: Choice, strategy: str) -> tuple[str, ...]:
    """Why the head is what it is, one sentence each."""
    blocks = f"of {', '.join(choice.taps)}"
    kept = f"early-layers: what lies behind {choice.boundary} is dropped"
    measured = ", ".join(f"{stage} {loss:.3f}" for stage, loss, _ in choice.measured)
    first = kept if choice.boundary is not None and strategy != FREEZE else "freeze: the backbone's weights stay"
    return (
        f"{first}, the head is logistic regression solved on the pooled features {blocks}",
        *([f"{choice.boundary} has the least log loss in cross-validation: {measured}"] if measured else []),
        f"L2 strength 1/C with C = {head.c:.3g}, the least log loss in cross-validation on the training images"
        if head.search
        else f"L2 strength 1/C with C = {head.c:.3g}, as a class is too small for cross-validation",
    )


def without_test(
    data: Dataset, head: Head, choice: Choice, balanced: bool, seed: int, show: Progress
) -> dict[str, Any]:
    """What stands in for test images where there are none: repeated cross-validation of a frozen head.

    Empty where there are some, where images are so many that some could be had, and where a class is too small.
    """
    from tlkit.linear.repeated_cv import repeated_accuracy

    chosen = data.of(TRAIN)
    if data.of(TEST) or len(chosen) >= TESTED_FROM:
        return {}
    matrix, taps = data.features.matrix[[data.rows[i] for i in chosen]], data.features.taps
    accuracy = repeated_accuracy(
        rows_of(matrix, taps, choice.taps),
        [data.folder.labels[i] for i in chosen],
        head.c,
        groups=[data.groups[i] for i in chosen],
        balanced=balanced,
        blocks=widths_of(taps, choice.taps),
        seed=seed,
        progress=show,
    )
    if accuracy is None:
        return {}
    interval = wilson_interval(round(accuracy * len(chosen)), len(chosen))
    return {"cv_accuracy": accuracy, "cv_accuracy_ci95": list(interval)}


def data_reasons(data: Dataset, balanced: bool, options: TrainOptions) -> tuple[str, ...]:
    """Why images are weighed and split as they are, one sentence each."""
    counts = data.folder.counts(TRAIN).values()
    return (
        f"the largest class has {max(counts) / min(counts):.1f} times the training images of the smallest: "
        + ("classes are weighed by the inverse of their share" if balanced else "classes are not weighed"),
        "the folder's own validation images are used"
        if data.own_validation
        else f"{options.val_split:.0%} of each class is kept for validation, drawn with seed {options.seed}, copies on "
        "one side",
        *_test_reason(data),
    )


def _test_reason(data: Dataset) -> tuple[str, ...]:
    count = len(data.of(TEST))
    if not count:
        return (f"there are no test images: they are drawn from {TESTED_FROM} images on, or with --test-split",)
    whose = "of the folder" if data.own_test else "that are kept aside"
    return (f"nothing is chosen on the {count} test images {whose}",)


@dataclass(frozen=True)
class Saving:
    """A bundle to be written.

    Attributes:
        target: Its folder.
        plan: What was done.
        manifest: What ``tlkit.json`` says of it; the layers looked at are added.
        known: What known images look like; None where that is not known.
        page: From the folder with the networks and the rows of ``history.csv`` to the report; None: there is none.
        overwrite: Whether what lies there is replaced.
        show: Told what goes on.
    """

    target: Path
    plan: Plan
    manifest: dict[str, Any]
    known: Known | None
    page: Page | None
    overwrite: bool
    show: Progress

    def save_frozen(self, extractor: Extractor, data: Dataset, head: Head, process: KerasProcess | None) -> None:
        """Write the bundle of a backbone whose weights stayed as they are."""
        from tlkit.export.networks import write_networks

        history = [
            {"step": step, "c": point.c, "cv_log_loss": point.log_loss, "cv_accuracy": point.accuracy}
            for step, point in enumerate(head.search, 1)
        ]
        extractor.convert(self.show)

        def write(place: Path) -> Written:
            samples = _samples(data)
            return write_networks(place / MODEL, place / LITE, extractor, head, samples, self.plan.taps, process)

        self._save(write, history)

    def save_tuned(self, extractor: Extractor, data: Dataset, tuned: Tuned) -> None:
        """Write the bundle of a network whose weights were tuned."""
        from tlkit.export.networks import write_tuned

        def write(place: Path) -> Written:
            keras_file, lite_file, taps = place / MODEL, place / LITE, self.plan.taps
            return write_tuned(keras_file, lite_file, tuned.model, extractor, taps, tuned.layers, _samples(data))

        self._save(write, list(tuned.outcome.rows))

    def _save(self, write: Callable[[Path], Written], history: list[dict[str, Any]]) -> None:
        def write_model(place: Path) -> None:
            written = write(place)
            if written.problem:
                self.show.note(written.problem)
            self.manifest["layers"] = written.layers
            if self.known is not None:
                np.savez(place / KNOWN, **self.known.arrays())  # type: ignore[arg-type]
            self._report(place, history)

        with self.show.phase("Saving the bundle", None):
            save_bundle(
                self.target,
                write_model=write_model,
                manifest=self.manifest,
                plan=self.plan.to_json(),
                history=history,
                overwrite=self.overwrite,
            )

    def _report(self, place: Path, history: list[dict[str, Any]]) -> None:
        """Write the page; a defect in it must not cost the trained network."""
        if self.page is None:
            return
        try:
            text = self.page(place, history)
        except Exception as error:  # noqa: BLE001
            self.show.note(f"the report could not be made: {error!r}")
            return
        (place / REPORT).write_text(text, encoding="utf-8", errors="xmlcharrefreplace")


def _samples(data: Dataset) -> list[Path]:
    return [data.folder.paths[index] for index in data.of(VAL)[:COMPARED]]


def _own(plan: Plan) -> dict[str, Any] | None:
    """Where a backbone of the user's own came from; None for a catalogued one."""
    if plan.backbone_file is None:
        return None
    names = ("backbone_file", "backbone_sha256", "preprocessing")
    return {name: getattr(plan, name) for name in names}


def manifest_of(plan: Plan, weights_hash: str, data: Dataset, metrics: dict[str, Any]) -> dict[str, Any]:
    """What ``tlkit.json`` says of a run."""
    from importlib.metadata import version

    from tlkit.images.read import READING_VERSION

    contents = [data.features.contents[data.features.rows[row]] for row in data.rows]
    # of exact copies in two splits, the one in training counts: the network has seen that image
    order = sorted(zip(contents, data.folder.splits, strict=True), key=lambda pair: pair[1] == TRAIN)
    return {
        "keras": version("keras"),
        "backbone": plan.backbone,
        "own_backbone": _own(plan),
        "weights": plan.weights,
        "weights_sha256": weights_hash,
        "strategy": plan.strategy,
        "boundary": plan.boundary if plan.strategy != FREEZE else None,
        "input_size": [plan.input_size, plan.input_size],
        "reading": READING_VERSION,
        "classes": list(data.folder.classes),
        "metrics": metrics,
        "calibration": None,
        "unknown": None,
        "split": dict(order),
    }
