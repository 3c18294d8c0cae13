"""``tlkit.train``: from a folder of pictures to a bundle."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.backbones import catalog
from tlkit.backbones.build import check_request
from tlkit.backbones.weights import IMAGENET, RANDOM
from tlkit.bundle.save import choose_output, save_bundle
from tlkit.errors import TlkitError
from tlkit.evaluation.metrics import Metrics, majority_accuracy, measure
from tlkit.images.folder import TEST, TRAIN, VAL, ImageFolder, scan
from tlkit.images.split import check_fraction, stratified_split
from tlkit.progress import Progress, SilentProgress
from tlkit.training.plan import Plan, check_strategy

if TYPE_CHECKING:
    from tlkit.backbones.build import Network
    from tlkit.backbones.features import Features
    from tlkit.training.head import Head

PathLike = str | os.PathLike[str]
SMALLEST = 2  # training pictures a class


@dataclass(frozen=True)
class TrainResult:
    """What training gave.

    Attributes:
        model: The bundle's folder.
        plan: What was done.
        classes: Class names; a label is an index into it.
        images: Pictures used, by split, and how many were "skipped".
        skipped: (file, reason) of every picture that could not be read.
        metrics: Figures on the held-out pictures, as in the JSON contract: shares 0..1, loss in nats.
        seconds: "total", "features" and "training".
        reused: Pictures whose features were kept from an earlier run.
    """

    model: Path
    plan: Plan
    classes: tuple[str, ...]
    images: dict[str, int]
    skipped: tuple[tuple[str, str], ...]
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
    strategy: str = "freeze",
    backbone: str = catalog.DEFAULT,
    weights: str = "imagenet",
    output: PathLike | None = None,
    overwrite: bool = False,
    image_size: int | None = None,
    val_split: float = 0.2,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a classifier on a folder of pictures and save it as a bundle.

    Args:
        images: A folder with one sub-folder per class, or with train/ and optionally val/ and test/.
        strategy: "freeze": the backbone stays as it is, a softmax head is solved on its features.
        backbone: Name in the catalogue, in any unambiguous spelling.
        weights: "imagenet", "none" (random; for tests of the machinery only) or a weights file.
        output: Where the bundle goes; None: ``<folder name>.tlkit`` in the current folder, never overwriting.
        overwrite: Replace a bundle that lies at ``output``.
        image_size: Side of the square input in pixels; None: the backbone's own.
        val_split: Share of each class kept for validation where the folder has no split of its own.
        workers: Reading threads; None: one a processor.
        seed: Of the split and the folds.
        progress: Told what goes on.

    Raises:
        TlkitError: The folder, an option, the weights or the place of the output cannot be used.
    """
    show = progress or SilentProgress()
    clock = _Clock()
    check_strategy(strategy)
    row, _ = check_request(backbone, weights, image_size)
    if weights == RANDOM:
        show.note("random weights: what comes out is no transfer learning")
    check_fraction(val_split)
    folder = scan(images)
    _require_enough(folder, ())
    target = choose_output(folder.root, output, overwrite)
    if folder.loose:
        show.note(f"{folder.loose} loose pictures outside class folders are not used")

    network = _load_network(row.name, weights, image_size, show)
    clock.lap("loading")
    features = _features(folder, network, workers, show)
    clock.lap("features")
    skipped = tuple((folder.files[index], reason) for index, reason in features.errors.items())
    used = folder.keep(list(features.rows))
    _require_enough(used, skipped)
    used = _with_validation(used, val_split, seed)
    rows = {split: [i for i, its in enumerate(used.splits) if its == split] for split in (TRAIN, VAL, TEST)}

    from tlkit.training.head import solve_head

    labels = [used.labels[i] for i in rows[TRAIN]]
    head = solve_head(features.matrix[rows[TRAIN]], labels, len(used.classes), seed=seed, progress=show)
    metrics = _metrics(used, rows, {split: head.probabilities(features.matrix[rows[split]]) for split in (VAL, TEST)})
    clock.lap("training")

    size = int(network.model.input_shape[1])
    plan = _plan(row.name, weights, strategy, size, val_split, seed, VAL in folder.splits, head.c)
    contents = [features.contents[i] for i in features.rows]
    manifest = _manifest(plan, network.weights_hash, used, contents, metrics)
    _save(target, network, head, plan, manifest, overwrite, show)
    return TrainResult(
        model=target,
        plan=plan,
        classes=used.classes,
        images={**{split: len(rows[split]) for split in rows}, "skipped": len(skipped)},
        skipped=skipped,
        metrics=metrics,
        seconds={"total": clock.total(), "features": clock.laps["features"], "training": clock.laps["training"]},
        reused=features.reused,
    )


def _load_network(name: str, weights: str, image_size: int | None, show: Progress) -> Network:
    with show.phase(f"Loading {name}", None):
        from tlkit.backbones.build import build_backbone

        return build_backbone(name, weights=weights, input_size=image_size)


def _features(folder: ImageFolder, network: Network, workers: int | None, show: Progress) -> Features:
    from tlkit.backbones.features import compute_features, feature_key
    from tlkit.backbones.store import FeatureStore

    paths = [folder.path(index) for index in range(len(folder.files))]
    store = FeatureStore(feature_key(network))
    try:
        features = compute_features(paths, network, store=store, workers=workers, progress=show)
    finally:
        store.close()
    if features.problem:
        show.note(features.problem)
    if features.reused:
        show.note(f"features of {features.reused} of {len(paths)} pictures reused from an earlier run")
    return features


def _save(
    target: Path, network: Network, head: Head, plan: Plan, manifest: dict[str, Any], overwrite: bool, show: Progress
) -> None:
    from tlkit.training.assemble import attach_head

    history = [
        {"step": step, "c": point.c, "cv_log_loss": point.log_loss, "cv_accuracy": point.accuracy}
        for step, point in enumerate(head.search, 1)
    ]
    with show.phase("Saving the bundle", None):
        save_bundle(
            target,
            write_model=lambda path: attach_head(network, head).save(path),
            manifest=manifest,
            plan=plan.to_json(),
            history=history,
            overwrite=overwrite,
        )


def _require_enough(folder: ImageFolder, skipped: Sequence[tuple[str, str]]) -> None:
    """Every class needs `SMALLEST` pictures to train on.

    Args:
        folder: The pictures that can be used.
        skipped: (file, reason) of those that cannot be read.
    """
    if skipped and not folder.files:
        raise TlkitError(f"no readable picture in {folder.root}", "{}: {}".format(*skipped[0]))
    depth = 1 if folder.has_splits else 0
    for name, count in folder.counts(TRAIN if folder.has_splits else None).items():
        if count >= SMALLEST:
            continue
        lost = [(file, reason) for file, reason in skipped if file.split("/")[depth] == name]
        kind = "readable picture" if lost else "picture"
        where = " in train/" if folder.has_splits else ""
        hint = "add pictures, or take the class folder away"
        if lost:
            hint = f"{len(lost)} could not be read, such as {lost[0][0]}: {lost[0][1]}"
        raise TlkitError(
            f"class '{name}' has {count} {kind}{'' if count == 1 else 's'}{where}, at least {SMALLEST} are needed", hint
        )


def _with_validation(folder: ImageFolder, val_split: float, seed: int) -> ImageFolder:
    """The folder's own validation pictures, or a part split off the training pictures."""
    if VAL in folder.splits:
        return folder
    inner = [index for index, split in enumerate(folder.splits) if split != TEST]
    drawn = stratified_split([folder.labels[index] for index in inner], val_split, seed)
    splits = list(folder.splits)
    for index, split in zip(inner, drawn, strict=True):
        splits[index] = split
    return folder.with_splits(splits)


def _metrics(folder: ImageFolder, rows: dict[str, list[int]], probabilities: dict[str, Any]) -> dict[str, Any]:
    labels = {split: [folder.labels[index] for index in rows[split]] for split in rows}
    figures: dict[str, Any] = {}
    for split in (VAL, TEST):
        if not rows[split]:
            continue
        found: Metrics = measure(probabilities[split], labels[split])
        figures.update(found.to_json(f"{split}_"))
        prefix = "" if split == VAL else f"{split}_"
        figures[f"{prefix}baseline_accuracy"] = majority_accuracy(labels[TRAIN], labels[split], len(folder.classes))
    return figures


def _plan(
    backbone: str, weights: str, strategy: str, size: int, val_split: float, seed: int, own_split: bool, c: float
) -> Plan:
    split = (
        "the folder's own validation pictures are used"
        if own_split
        else f"{val_split:.0%} of each class is kept for validation, drawn with seed {seed}"
    )
    return Plan(
        backbone=backbone,
        weights=weights if weights in (IMAGENET, RANDOM) else Path(weights).name,
        strategy=strategy,
        input_size=size,
        val_split=val_split,
        seed=seed,
        reasons=(
            "freeze: the backbone's weights stay, the head is logistic regression solved on its pooled top features",
            f"L2 strength 1/C with C = {c:.3g}, the least log loss in cross-validation on the training pictures",
            split,
        ),
    )


def _manifest(
    plan: Plan, weights_hash: str, folder: ImageFolder, contents: list[str], metrics: dict[str, Any]
) -> dict[str, Any]:
    from importlib.metadata import version

    from tlkit.images.read import READING_VERSION

    return {
        "keras": version("keras"),
        "backbone": plan.backbone,
        "weights": plan.weights,
        "weights_sha256": weights_hash,
        "strategy": plan.strategy,
        "input_size": [plan.input_size, plan.input_size],
        "reading": READING_VERSION,
        "classes": list(folder.classes),
        "metrics": metrics,
        "calibration": None,
        "split": dict(zip(contents, folder.splits, strict=True)),
    }
