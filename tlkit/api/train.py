"""``tlkit.train``: from a folder of pictures to a bundle."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.api.dataset import Dataset, is_uneven, prepare, read_features, require_enough, skipped_files
from tlkit.backbones import catalog
from tlkit.backbones.build import check_request
from tlkit.backbones.engines import AUTO, check_engine
from tlkit.backbones.extractor import TOP, Extractor, open_extractor
from tlkit.backbones.weights import IMAGENET, RANDOM
from tlkit.bundle.save import LITE, MODEL, choose_output, save_bundle
from tlkit.errors import TlkitError
from tlkit.evaluation.metrics import majority_accuracy, measure
from tlkit.images.folder import TEST, TRAIN, VAL, scan
from tlkit.images.split import check_fraction
from tlkit.progress import Progress, SilentProgress
from tlkit.training.boundary import Choice, check_boundary, choose_taps, rows_of
from tlkit.training.plan import FREEZE, LAST, Plan, check_features, check_strategy

if TYPE_CHECKING:
    from tlkit.training.head import Head
    from tlkit.training.keras_process import KerasProcess

PathLike = str | os.PathLike[str]
CLASS_WEIGHTS = ("auto", "none")
COMPARED = 4  # validation pictures on which the engines must agree


@dataclass(frozen=True)
class TrainResult:
    """What training gave.

    Attributes:
        model: The bundle's folder.
        plan: What was done.
        classes: Class names; a label is an index into it.
        images: Pictures used, by split, and how many were "skipped".
        skipped: (file, reason) of every picture that could not be read.
        leaks: Groups of files that are copies of one another in different splits of the folder's own.
        uneven: Whether the largest class has over twice the training pictures of the smallest.
        metrics: Figures on the held-out pictures, as in the JSON contract: shares 0..1, loss in nats.
        seconds: "total", "features" and "training".
        reused: Pictures whose features were kept from an earlier run.
    """

    model: Path
    plan: Plan
    classes: tuple[str, ...]
    images: dict[str, int]
    skipped: tuple[tuple[str, str], ...]
    leaks: tuple[tuple[str, ...], ...]
    uneven: bool
    metrics: dict[str, Any]
    seconds: dict[str, float]
    reused: int

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields of the command line's JSON."""
        return {
            "model": str(self.model),
            "backbone": self.plan.backbone,
            "strategy": self.plan.strategy,
            "classes": list(self.classes),
            "images": self.images,
            "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
            "leaks": [list(group) for group in self.leaks],
            "features_reused": self.reused,
            "metrics": self.metrics,
            "seconds": self.seconds,
            "plan": self.plan.to_json(),
        }


class _Clock:
    """Seconds in all and by lap, to a millisecond."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self.last = round(now - self.last, 3), now

    def total(self) -> float:
        return round(time.perf_counter() - self.start, 3)


def train(
    images: PathLike,
    *,
    strategy: str = FREEZE,
    features: str = LAST,
    boundary: str | None = None,
    backbone: str = catalog.DEFAULT,
    weights: str = "imagenet",
    output: PathLike | None = None,
    overwrite: bool = False,
    image_size: int | None = None,
    val_split: float = 0.2,
    class_weights: str = "auto",
    drop_leaks: bool = False,
    engine: str = AUTO,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a classifier on a folder of pictures and save it as a bundle.

    Args:
        images: A folder with one sub-folder per class, or with train/ and optionally val/ and test/.
        strategy: "freeze": the backbone stays as it is, a softmax head is solved on its features. "early-layers": the
            same on its first stages alone; the later layers are dropped.
        features: "last": the pooled output of the last stage kept; "all": those of all stages kept.
        boundary: With "early-layers", the last stage kept, such as "stage3"; None: chosen by cross-validation.
        backbone: Name in the catalogue, in any unambiguous spelling.
        weights: "imagenet", "none" (random; for tests of the machinery only) or a weights file.
        output: Where the bundle goes; None: ``<folder name>.tlkit`` in the current folder, never overwriting.
        overwrite: Replace a bundle that lies at ``output``.
        image_size: Side of the square input in pixels; None: the backbone's own.
        val_split: Share of each class kept for validation where the folder has no split of its own.
        class_weights: "auto": where the largest class has over twice the training pictures of the smallest, classes
            are weighed by the inverse of their share. "none": never.
        drop_leaks: Leave training pictures out that have a copy in the folder's own val/ or test/.
        engine: What computes features: "auto" (LiteRT on a CPU, Keras on a GPU), "litert" or "keras".
        workers: Reading threads, and cores to compute with at most; None: one a processor.
        seed: Of the split and the folds.
        progress: Told what goes on.

    Raises:
        TlkitError: The folder, an option, the weights or the place of the output cannot be used.
    """
    show = progress or SilentProgress()
    clock = _Clock()
    check_strategy(strategy)
    check_features(features)
    check_boundary(boundary, strategy)
    row, _ = check_request(backbone, weights, image_size)
    if weights == RANDOM:
        show.note("random weights: what comes out is no transfer learning")
    check_fraction(val_split)
    check_engine(engine)
    if class_weights not in CLASS_WEIGHTS:
        raise TlkitError(f"unknown --class-weights '{class_weights}'", f"one of {', '.join(CLASS_WEIGHTS)}")
    folder = scan(images)
    require_enough(folder, ())
    target = choose_output(folder.root, output, overwrite)
    if folder.loose:
        show.note(f"{folder.loose} loose pictures outside class folders are not used")

    from tlkit.training.keras_process import keras_process

    extractor = open_extractor(row.name, weights=weights, input_size=image_size, engine=engine, progress=show)
    clock.lap("loading")
    check_boundary(boundary, strategy, extractor.taps)
    with keras_process(extractor) as process:
        found = read_features(folder, extractor, workers, show, taps=_needed(extractor, strategy, features))
        clock.lap("features")
        data = prepare(folder, found, val_split, seed, drop_leaks)
        _tell_copies(data, show)
        balanced = class_weights == "auto" and is_uneven(data.folder)
        choice, head = _solve(data, strategy, features, boundary, balanced, seed, show)
        metrics = _metrics(data, head, choice)
        clock.lap("training")

        plan = Plan(
            backbone=row.name,
            weights=weights if weights in (IMAGENET, RANDOM) else Path(weights).name,
            strategy=strategy,
            input_size=extractor.input_size,
            val_split=val_split,
            class_weights=class_weights,
            seed=seed,
            features=features,
            boundary=choice.boundary,
            taps=choice.taps,
            reasons=_reasons(data, head, choice, balanced, val_split, seed),
        )
        _save(
            target,
            extractor,
            data,
            head,
            plan,
            _manifest(plan, extractor.weights_hash, data, metrics),
            overwrite,
            process,
            show,
        )
    skipped = skipped_files(folder, found)
    return TrainResult(
        model=target,
        plan=plan,
        classes=data.folder.classes,
        images={**{split: len(data.of(split)) for split in (TRAIN, VAL, TEST)}, "skipped": len(skipped)},
        skipped=skipped,
        leaks=data.leaks,
        uneven=is_uneven(data.folder),
        metrics=metrics,
        seconds={"total": clock.total(), "features": clock.laps["features"], "training": clock.laps["training"]},
        reused=found.reused,
    )


def _needed(extractor: Extractor, strategy: str, features: str) -> list[str]:
    """The blocks to hold in memory: what a head may take, and the top, which tells copies apart."""
    if strategy == FREEZE and features == LAST:
        return [TOP]
    return [name for name, _ in extractor.taps]


def _solve(
    data: Dataset, strategy: str, features: str, boundary: str | None, balanced: bool, seed: int, show: Progress
) -> tuple[Choice, Head]:
    """What the head takes, and the head."""
    from tlkit.training.head import solve_head

    chosen = data.of(TRAIN)
    labels, groups = [data.folder.labels[i] for i in chosen], [data.groups[i] for i in chosen]
    matrix, taps = data.features.matrix[[data.rows[i] for i in chosen]], data.features.taps
    choice = choose_taps(
        matrix,
        taps,
        labels,
        groups,
        strategy=strategy,
        features=features,
        boundary=boundary,
        balanced=balanced,
        seed=seed,
        progress=show,
    )
    matrix = rows_of(matrix, taps, choice.taps)
    classes = len(data.folder.classes)
    head = solve_head(matrix, labels, classes, groups=groups, balanced=balanced, seed=seed, progress=show)
    return choice, head


def _tell_copies(data: Dataset, show: Progress) -> None:
    if data.leaks:
        done = f"{data.dropped} left out of training" if data.dropped else "accuracy may be inflated (--drop-leaks)"
        show.note(
            f"{len(data.leaks)} pictures have copies in another split, such as {' = '.join(data.leaks[0][:2])}: {done}"
        )
    elif data.copies:
        show.note(f"{data.copies} pictures are copies of others; copies stay on one side of the split")


def _save(
    target: Path,
    extractor: Extractor,
    data: Dataset,
    head: Head,
    plan: Plan,
    manifest: dict[str, Any],
    overwrite: bool,
    process: KerasProcess | None,
    show: Progress,
) -> None:
    from tlkit.training.assemble import write_networks

    history = [
        {"step": step, "c": point.c, "cv_log_loss": point.log_loss, "cv_accuracy": point.accuracy}
        for step, point in enumerate(head.search, 1)
    ]
    samples = [data.folder.paths[index] for index in data.of(VAL)[:COMPARED]]
    extractor.convert(show)

    def write(place: Path) -> None:
        if problem := write_networks(place / MODEL, place / LITE, extractor, head, samples, plan.taps, process):
            show.note(problem)

    with show.phase("Saving the bundle", None):
        save_bundle(
            target,
            write_model=write,
            manifest=manifest,
            plan=plan.to_json(),
            history=history,
            overwrite=overwrite,
        )


def _metrics(data: Dataset, head: Head, choice: Choice) -> dict[str, Any]:
    """Figures on the held-out pictures, by the names of the JSON contract."""
    labels = data.folder.labels
    figures: dict[str, Any] = {}
    for split, prefix in ((VAL, ""), (TEST, "test_")):
        chosen = data.of(split)
        if not chosen:
            continue
        truth = [labels[i] for i in chosen]
        matrix = rows_of(data.features.matrix[[data.rows[i] for i in chosen]], data.features.taps, choice.taps)
        found = measure(head.probabilities(matrix), truth)
        figures.update(found.to_json(f"{split}_"))
        baseline = majority_accuracy([labels[i] for i in data.of(TRAIN)], truth, len(data.folder.classes))
        figures[f"{prefix}baseline_accuracy"] = baseline
    return figures


def _reasons(data: Dataset, head: Head, choice: Choice, balanced: bool, val_split: float, seed: int) -> tuple[str, ...]:
    counts = data.folder.counts(TRAIN).values()
    blocks = f"of {', '.join(choice.taps)}"
    kept = f"early-layers: what lies behind {choice.boundary} is dropped, the rest stays as it is"
    measured = ", ".join(f"{stage} {loss:.3f}" for stage, loss, _ in choice.measured)
    return (
        ("freeze: the backbone's weights stay" if choice.boundary is None else kept)
        + f", the head is logistic regression solved on the pooled features {blocks}",
        *([f"{choice.boundary} has the least log loss in cross-validation: {measured}"] if measured else []),
        f"L2 strength 1/C with C = {head.c:.3g}, the least log loss in cross-validation on the training pictures"
        if head.search
        else f"L2 strength 1/C with C = {head.c:.3g}, as a class is too small for cross-validation",
        f"the largest class has {max(counts) / min(counts):.1f} times the training pictures of the smallest: "
        + ("classes are weighed by the inverse of their share" if balanced else "classes are not weighed"),
        "the folder's own validation pictures are used"
        if data.own_validation
        else f"{val_split:.0%} of each class is kept for validation, drawn with seed {seed}, copies on one side",
    )


def _manifest(plan: Plan, weights_hash: str, data: Dataset, metrics: dict[str, Any]) -> dict[str, Any]:
    from importlib.metadata import version

    from tlkit.images.read import READING_VERSION

    contents = [data.features.contents[data.features.rows[row]] for row in data.rows]
    # of exact copies in two splits, the one in training counts: the network has seen that picture
    order = sorted(zip(contents, data.folder.splits, strict=True), key=lambda pair: pair[1] == TRAIN)
    return {
        "keras": version("keras"),
        "backbone": plan.backbone,
        "weights": plan.weights,
        "weights_sha256": weights_hash,
        "strategy": plan.strategy,
        "input_size": [plan.input_size, plan.input_size],
        "reading": READING_VERSION,
        "classes": list(data.folder.classes),
        "metrics": metrics,
        "calibration": None,
        "split": dict(order),
    }
