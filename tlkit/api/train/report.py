"""The page that ``train`` leaves in the bundle."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.api.report_data import sections_of
from tlkit.api.train.dataset import Dataset, is_uneven
from tlkit.api.train.result import accuracy_lines
from tlkit.backbones.runtime import import_keras
from tlkit.bundle.save import LITE, MODEL, PLAN
from tlkit.evaluation.classes import figures
from tlkit.evaluation.grad_cam import ClassMaps
from tlkit.evaluation.metrics import exact
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.plan.plan import Plan
from tlkit.report.training import Story, training_page

FEW = 10  # training images of a class, below which that is said
NAMED = 5  # files or classes in a sentence

LOOKED_AT = {
    (TEST, False): "test images, on which nothing was chosen,",
    (TEST, True): "test images, on which nothing was chosen,",
    (VAL, False): "validation images",
    (VAL, True): "validation images, by which the network was chosen,",
}


@dataclass(frozen=True)
class Trained:
    """What a page is made from.

    Attributes:
        data: Images, split and features.
        plan: What was done.
        probabilities: Of the finished network, by split, float32 [n, classes].
        metrics: As in `tlkit.api.train.result.TrainResult`.
        tuning: Likewise.
        calibration: What was done to confidence, in a sentence.
        skipped: (file, reason) of every image that could not be read.
        target: The bundle's folder.
    """

    data: Dataset
    plan: Plan
    probabilities: dict[str, Any]
    metrics: dict[str, Any]
    tuning: dict[str, Any] | None
    calibration: str
    skipped: Sequence[tuple[str, str]]
    target: Path


def page_of_training(trained: Trained, place: Path, history: Sequence[dict[str, Any]]) -> str:
    """The HTML page of a training run.

    Args:
        trained: What came of it.
        place: Where the networks of the bundle lie just now.
        history: Rows of ``history.csv``.
    """
    data, plan = trained.data, trained.plan
    split = TEST if TEST in trained.probabilities else VAL
    chosen = data.of(split)
    labels, probabilities = [data.folder.labels[i] for i in chosen], exact(trained.probabilities[split])
    found = figures(probabilities, labels, data.folder.classes) | {"unknown_share": None}
    files = [(data.folder.files[i], data.folder.paths[i]) for i in chosen]
    size = (plan.input_size, plan.input_size)
    sections = sections_of(found, probabilities, labels, files, _class_maps(place), size)
    root = data.folder.root
    story = Story(
        name=root.name,
        plan=plan,
        accuracies=accuracy_lines(trained.metrics, trained.tuning is not None, is_uneven(data.folder)),
        looked_at=LOOKED_AT[split, trained.tuning is not None],
        tuning=trained.tuning,
        history=history,
        calibration=trained.calibration,
        problems=_problems(data, trained.skipped),
        fewer=split == VAL,
        command=f"tlkit train {shlex.quote(str(root))} --plan {shlex.quote(str(trained.target / PLAN))}",
    )
    return training_page(story, sections)


def _class_maps(place: Path) -> ClassMaps:
    lite = place / LITE

    def model() -> Any:
        return import_keras().models.load_model(place / MODEL, compile=False, safe_mode=True)

    return ClassMaps.of_files(lite if lite.is_file() else None, model)


def _problems(data: Dataset, skipped: Sequence[tuple[str, str]]) -> list[str]:
    """What is wrong with the images, as far as training has noticed, one sentence each."""
    found = []
    if skipped:
        named = "; ".join(f"{file}: {reason}" for file, reason in skipped[:NAMED])
        found.append(f"{len(skipped)} images could not be read: {named}{_more(len(skipped))}")
    if data.leaks:
        named = "; ".join(" = ".join(group[:2]) for group in data.leaks[:NAMED])
        found.append(f"copies in different parts of the folder's own split: {named}{_more(len(data.leaks))}")
    elif data.copies:
        found.append(f"{data.copies} images are copies of others; copies are on one side of the split")
    counts = data.folder.counts(TRAIN)
    if is_uneven(data.folder):
        largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        found.append(
            f"classes are uneven: {counts[largest]} training images of {largest}, {counts[smallest]} of {smallest}"
        )
    if few := [name for name, count in counts.items() if count < FEW]:
        named = ", ".join(few[:NAMED])
        found.append(f"fewer than {FEW} training images of {named}{_more(len(few))}")
    if data.seen:
        found.append(f"{data.seen} held-out images were trained on before, by the bundle that was started from")
    return found


def _more(count: int) -> str:
    return f" and {count - NAMED} more" if count > NAMED else ""
