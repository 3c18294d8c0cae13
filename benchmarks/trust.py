"""How well unknown images are told and how honest confidence is: one JSON line a measurement, and a last one in all.

    python benchmarks/trust.py FOLDER FOLDER... [--most 1500] [--leave-out sign_digits flowers] [--seeds 0]

Of each folder three fifths of the images are training, a fifth validation and a fifth test images, drawn by class;
the head is frozen, and everything is as ``tlkit train --strategy freeze`` does it.

- ``other``: known are the test images, unknown are all images of each other folder. AUROC of "how unlike".
- ``held_out``: for the folders named by --leave-out, each class in turn is left out of training and is what is unknown.
- ``false_alarms``: share of test images that are called unknown at the default rate.
- ``ece``: expected calibration error on the test images, as trained and with the temperature that the validation
  images gave.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from measure import machine
from sklearn.metrics import roc_auc_score

from tlkit.api.train.calibration import calibrate
from tlkit.api.train.dataset import Dataset, prepare, stored_features
from tlkit.api.train.head import solve
from tlkit.api.train.metrics import frozen_probabilities
from tlkit.api.train.ood import ood_of_frozen
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.context import Context
from tlkit.evaluation.metrics import calibration_error, exact
from tlkit.images.folder import TEST, TRAIN, VAL, scan
from tlkit.linear.classifier import ood_taps
from tlkit.plan.choices import UNKNOWN_RATE
from tlkit.plan.plan import Plan

BACKBONE = "efficientnet-lite0"
SHARE = 0.2  # of each class that is validated on, and that is tested on

Row = dict[str, Any]


def plan_of(seed: int) -> Plan:
    """A frozen backbone with a head on its last stage."""
    return Plan(BACKBONE, "imagenet", "freeze", 224, SHARE, "none", seed)


def read(folder: Path, extractor: Extractor, shown: Sequence[str], most: int, seed: int) -> Dataset:
    """A folder's images, ``most`` at most, with features and a split of their own."""
    found = scan(str(folder))
    if len(found.files) > most:
        found = found.keep(sorted(np.random.default_rng(seed).choice(len(found.files), most, replace=False).tolist()))
    found = replace(found, splits=("",) * len(found.files))
    features = stored_features(found.paths, extractor, Context(), taps=shown)
    return prepare(found, features, SHARE, seed, drop_leaks=False, test_split=SHARE)


def without(data: Dataset, label: int) -> Dataset:
    """The same without the images of one class, whose number goes to no other."""
    kept = [index for index, its in enumerate(data.folder.labels) if its != label]
    return data.part(kept, [data.folder.splits[index] for index in kept])


def vectors(data: Dataset, chosen: Sequence[int], shown: Sequence[str]) -> np.ndarray:
    """Features of some images, float32 [n, columns]."""
    return data.features_of(chosen, shown)


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Of "how unlike", 0..1."""
    truth = [0] * len(known) + [1] * len(unknown)
    return float(roc_auc_score(truth, np.concatenate([known, unknown])))


def unlike(
    data: Dataset, shown: Sequence[str], others: dict[str, np.ndarray], seed: int
) -> tuple[dict[str, float], float]:
    """AUROC against each of the others, and the share of false alarms."""
    known = ood_of_frozen(data, shown, plan_of(seed)).statistics
    if known is None:
        raise SystemExit(f"too few images in {data.folder.root}")
    mine = known.score(vectors(data, data.of(TEST), shown))
    alarms = float((mine > known.threshold(UNKNOWN_RATE)).mean())
    return {name: auroc(mine, known.score(rows)) for name, rows in others.items()}, alarms


def calibration(data: Dataset, seed: int) -> Row:
    """ECE on the test images before and after."""
    before = frozen_probabilities(data, solve(data, plan_of(seed), Context(seed=seed)))
    made, after = calibrate(data, before)
    labels = [data.folder.labels[index] for index in data.of(TEST)]
    return {
        "val": len(data.of(VAL)),
        "temperature": made.temperature,
        "before": calibration_error(exact(before[TEST]), labels),
        "after": calibration_error(exact(after[TEST]), labels),
    }


def measurements(folders: Sequence[Path], leave_out: Sequence[str], most: int, seed: int) -> Iterator[Row]:
    """Everything, for one seed."""
    extractor = open_extractor(BACKBONE)
    shown = ood_taps(extractor.taps, ["top"])
    sets = {folder.name: read(folder, extractor, shown, most, seed) for folder in folders}
    for name, data in sets.items():
        others = {other: vectors(its, range(len(its.rows)), shown) for other, its in sets.items() if other != name}
        found, alarms = unlike(data, shown, others, seed)
        counts = {split: len(data.of(split)) for split in (TRAIN, VAL, TEST)}
        yield {"measured": "other", "images": name, **counts, "auroc": found}
        yield {"measured": "false_alarms", "images": name, **counts, "share": alarms}
        yield {"measured": "ece", "images": name, "test": counts[TEST], **calibration(data, seed)}
        if name in leave_out:
            for label, left in enumerate(data.folder.classes):
                rest = without(data, label)
                gone = [index for index, its in enumerate(data.folder.labels) if its == label]
                found, alarms = unlike(rest, shown, {left: vectors(data, gone, shown)}, seed)
                yield {"measured": "held_out", "images": name, "class": left, "auroc": found, "share": alarms}


def summary(rows: Sequence[Row]) -> Row:
    """Means, and the worst of each."""

    def aurocs(kind: str, name: str | None = None) -> list[float]:
        chosen = [row for row in rows if row["measured"] == kind and name in (None, row["images"])]
        return [value for row in chosen for value in row["auroc"].values()]

    left_out = sorted({row["images"] for row in rows if row["measured"] == "held_out"})
    alarms = [row["share"] for row in rows if row["measured"] == "false_alarms"]
    many = [row for row in rows if row["measured"] == "ece" and row["test"] >= 200]
    return {
        "other": {"mean": mean(aurocs("other")), "worst": min(aurocs("other"))} if aurocs("other") else None,
        "held_out": {name: mean(aurocs("held_out", name)) for name in left_out},
        "held_out_mean": mean(mean(aurocs("held_out", name)) for name in left_out) if left_out else None,
        "false_alarms": {"mean": mean(alarms), "largest": max(alarms), "asked": UNKNOWN_RATE},
        "ece_from_200": {key: mean(row[key] for row in many) for key in ("before", "after")} if many else None,
        "ece_worst": max(row["after"] for row in many) if many else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=1500, help="images of a folder")
    parser.add_argument(
        "--leave-out", nargs="*", default=[], help="names of folders whose classes are left out in turn"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    given = parser.parse_args()
    about = {"benchmark": "trust", "date": date.today().isoformat(), **machine()}
    rows = []
    for seed in given.seeds:
        for row in measurements(given.folders, given.leave_out, given.most, seed):
            rows.append(row)
            print(json.dumps({**about, "seed": seed, **row}), flush=True)
    print(json.dumps({**about, "seeds": given.seeds, "most": given.most, **summary(rows)}))


if __name__ == "__main__":
    main()
