"""The report that ``train`` writes into the bundle."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlkit.api.train.coverage import coverage_warnings
from tlkit.api.train.dataset import Dataset
from tlkit.api.train.finished import Finished
from tlkit.api.train.metrics import Probabilities
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.reading import ONE_GROUP, classes_of_one_group
from tlkit.api.train.result import accuracy_lines, promised
from tlkit.api.train.trained import Trained
from tlkit.backbones.runtime import import_keras
from tlkit.bundle.manifest import LITE, MODEL, PLAN
from tlkit.evaluation.classes import figures
from tlkit.evaluation.grad_cam import ClassMaps
from tlkit.evaluation.metrics import exact
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.images.group_spec import split_table
from tlkit.images.labelled import data_name
from tlkit.images.layout import layout_notes
from tlkit.linear.label_issues import find_label_issues
from tlkit.plan.choices import AUTO, WEIGHTS
from tlkit.plan.plan import Plan
from tlkit.report.gather import sections_of
from tlkit.report.training import TrainingStory, training_page
from tlkit.words import plural

MIN_PER_CLASS = 10  # training images of a class, below which the report says so
MAX_NAMED = 5  # files or classes listed in a sentence

EVALUATED_ON = {
    (TEST, False): "test images, never used in training",
    (TEST, True): "test images, never used in training",
    (VAL, False): "validation images",
    (VAL, True): "validation images, also used to select the model",
}


def page_of_training(finished: Finished, plan: Plan, folder: Path, history: Sequence[dict[str, Any]]) -> str:
    """Render the HTML page of a training run.

    Args:
        finished: The result of the run.
        plan: The complete plan.
        folder: The folder that holds the networks of the bundle for now.
        history: Rows of ``history.csv``.
    """
    trained, dataset = finished.trained, finished.dataset
    tuned = trained.tuning is not None
    split = TEST if TEST in trained.probabilities else VAL
    labels, probabilities = dataset.labels(split), exact(trained.probabilities[split])
    found = figures(probabilities, labels, dataset.classes) | {"unknown_share": None}
    found["accuracy_ci95"] = trained.metrics[f"{split}_accuracy_ci95"]  # counts groups, if images come in groups
    files = [dataset.folder.files[index] for index in dataset.of(split)]
    size = (plan.input_size, plan.input_size)
    shown = list(zip(files, dataset.paths(split), strict=True))
    sections = sections_of(found, probabilities, labels, shown, _class_maps(folder), size)
    promises = promised(trained, dataset.classes)
    counts = {each: dataset.count(each) for each in (TRAIN, VAL, TEST)}
    story = TrainingStory(
        name=data_name(dataset.folder.source),
        plan=plan,
        accuracies=accuracy_lines(trained.metrics, counts, tuned, dataset.imbalanced, trained.refit, dataset.grouping),
        evaluated_on=EVALUATED_ON[split, tuned],
        tuning=None if trained.tuning is None else trained.tuning.to_json(),
        history=history,
        calibration=trained.calibration.why if trained.calibration else "",
        problems=_once(
            *_ended_early(trained),
            *coverage_warnings(dataset),
            *layout_notes(finished.folder),
            *_problems(dataset, finished.skipped),
            *doubtful_labels(dataset, trained.probabilities),
        ),
        promise=None if promises is None else promises.to_json(),
        has_test=split == TEST,
        command=again(finished.start.request, plan, dataset.folder.source, finished.place.target),
    )
    return training_page(story, sections)


def again(request: TrainOptions, plan: Plan, images: Path, target: Path) -> str:
    """The command that repeats the run."""
    if request.add:
        words = ["tlkit", "train", str(images), *request.table_words(), "--from", str(request.from_bundle), "--add"]
        return shlex.join([*words, *(["--rename", request.rename] if request.rename else [])])
    words = ["tlkit", "train", str(images), *request.table_words(), "--plan", str(target / PLAN)]
    if plan.from_bundle is not None and request.from_bundle is not None:
        words += ["--from", request.from_bundle]
    elif plan.backbone_file is not None:
        words += ["--backbone", str(request.backbone)]
    elif plan.weights not in WEIGHTS:
        words += ["--weights", request.weights]
    if plan.groups is not None and split_table(plan.groups):
        words += ["--groups", str(request.groups)]
    words += ["--engine", request.engine] if request.engine != AUTO else []
    return shlex.join(words)


def _class_maps(place: Path) -> ClassMaps:
    lite = place / LITE

    def model() -> Any:
        return import_keras().models.load_model(place / MODEL, compile=False, safe_mode=True)

    return ClassMaps.from_files(lite if lite.is_file() else None, model)


def _once(*lines: str) -> list[str]:
    return list(dict.fromkeys(lines))


def _ended_early(trained: Trained) -> list[str]:
    """Say so if training was interrupted."""
    its = trained.tuning
    if its is None or not trained.interrupted:
        return []
    saved = f"the weights of step {its.best_step} are saved" if its.kept else "the frozen backbone is saved"
    return [f"interrupted at step {its.steps} of {its.planned_steps}; {saved}"]


def _problems(dataset: Dataset, skipped: Sequence[tuple[str, str]]) -> list[str]:
    """Problems of the images that training noticed, one sentence each."""
    found = []
    if skipped:
        named = "; ".join(f"{file}: {reason}" for file, reason in skipped[:MAX_NAMED])
        found.append(f"{plural(len(skipped), 'image')} could not be read: {named}{_more(len(skipped))}")
    if dataset.leaks:
        named = "; ".join(" = ".join(group[:2]) for group in dataset.leaks[:MAX_NAMED])
        found.append(f"copies in more than one of train/, val/ and test/: {named}{_more(len(dataset.leaks))}")
    if dataset.split_groups:
        named = ", ".join(dataset.split_groups[:MAX_NAMED])
        found.append(f"groups with images in more than one split: {named}{_more(len(dataset.split_groups))}")
    if untested := classes_of_one_group(dataset):
        found.append(f"no validation images of {', '.join(untested[:MAX_NAMED])}: {ONE_GROUP}")
    if dataset.copies and not dataset.leaks:
        found.append(f"images that have copies: {dataset.copies}; copies stay on one side of the split")
    counts = dataset.folder.counts(TRAIN)
    if dataset.imbalanced:
        largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        found.append(
            f"class imbalance: {counts[largest]:,} training images of {largest}, {counts[smallest]:,} of {smallest}"
        )
    if few := [name for name, count in counts.items() if count < MIN_PER_CLASS]:
        named = ", ".join(few[:MAX_NAMED])
        found.append(f"fewer than {MIN_PER_CLASS} training images of {named}{_more(len(few))}")
    if dataset.seen:
        found.append(f"held-out images that the starting bundle was trained on: {dataset.seen}")
    return found


def doubtful_labels(dataset: Dataset, held_out: Probabilities) -> list[str]:
    """Say which labels may be wrong: of copies in several classes, and of held-out images.

    Args:
        dataset: Images and split.
        held_out: Probabilities of the held-out images, by split, float32 [n, classes].
    """
    found, files, labels = [], dataset.folder.files, dataset.folder.labels
    apart = [(one, two) for one, two in dataset.copy_pairs if labels[one] != labels[two]]
    if apart:
        named = "; ".join(f"{files[one]} = {files[two]}" for one, two in apart[:MAX_NAMED])
        found.append(f"copies in more than one class: {named}{_more(len(apart))}")
    told = {index for pair in apart for index in pair}
    suspects = []
    for split, probabilities in held_out.items():
        its = dataset.of(split)
        for each in find_label_issues(probabilities, dataset.labels(split)):
            if its[each.index] not in told:
                suspects.append((each.margin, its[each.index], each.looks_like))
    if suspects:
        suspects.sort()
        named = "; ".join(
            f"{files[index]} (in {dataset.classes[labels[index]]}, looks like {dataset.classes[other]})"
            for _, index, other in suspects[:MAX_NAMED]
        )
        count = f"held-out labels that are probably wrong: {len(suspects)}"
        found.append(f"{count}, {named}{_more(len(suspects))}; tlkit check looks at all images")
    return found


def _more(count: int) -> str:
    return f" and {count - MAX_NAMED} more" if count > MAX_NAMED else ""
