"""Whether promises of precision are kept: JSON lines in a table, one for each set, way and precision; resumes.

    python benchmarks/promise.py WORK promise.jsonl flowers sign_digits clothing=clothing_test scenes=scenes_test
    python benchmarks/promise.py --report promise.jsonl

A frozen network is trained once on each folder, or on half of its images if no folder of others is named after "=".
The others are predicted once, by the saved bundle.

- ``draws``: SPLITS times, the promise is learnt from as many predictions as half of these, drawn with replacement; all
  of them are then the world that was drawn from, whose precision is known. ``kept``: share of the draws in which it is
  at least what was promised, or nothing was promised: what the promise says, at least 95%. ``coverage`` and
  ``precision`` are means over the draws in which something was promised.
- ``halves``: the same with a random half, tried on the other half. That is a harder test: the other half has luck of
  its own, and bad luck where the first had good. Where precision is just as promised, half of the splits are below it.
- ``own``: the promise that the bundle makes of itself, from cross-validation of its training images, tried on all of
  them. ``kept``: 1 or 0.
- ``known``: the same, without the images that it flags as unknown, as ``tlkit predict`` leaves them out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine

import tlkit
from tlkit.evaluation.promise import PROMISED, HeldOut, doubts_of, promise
from tlkit.images.folder import scan

SPLITS = 200
OPTIONS: dict[str, Any] = {
    "strategy": "freeze",
    "backbone": "efficientnet-lite0",
    "image_size": 224,
    "features": "last",
    "report": False,
}

Row = dict[str, Any]


def halves(folder: Path, work: Path) -> tuple[Path, Path]:
    """Links to the images of a folder, half of each class in one place and half in another."""
    found, rng = scan(folder), np.random.default_rng(0)
    places = work / "seen", work / "fresh"
    labels = np.asarray(found.labels)
    for label, name in enumerate(found.classes):
        its = rng.permutation(np.flatnonzero(labels == label))
        for place, rows in zip(places, np.array_split(its, 2), strict=True):
            (place / name).mkdir(parents=True, exist_ok=True)
            for row in rows:
                link = place / name / f"{row}-{found.paths[row].name}"
                if not link.is_symlink():
                    link.symlink_to(found.paths[row].resolve())
    return places


def predictions(named: str, work: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """The bundle, and its predictions for images that it was not trained on; both are made once."""
    folder, _, others = named.partition("=")
    place = work / Path(folder).name
    place.mkdir(parents=True, exist_ok=True)
    seen, fresh = (Path(folder), Path(others)) if others else halves(Path(folder), place)
    bundle, file = place / "m.tlkit", place / "fresh.npz"
    if not bundle.is_dir():
        tlkit.train(seen, output=bundle, **OPTIONS)
    if not file.is_file():
        result = tlkit.evaluate(fresh, bundle)
        its = [index for index, used in enumerate(result.used) if not used]  # without copies of training images
        rows, unknown = result.probabilities[its], np.asarray(result.unknown or [False] * len(result.files))[its]
        np.savez(file, probabilities=rows, labels=np.asarray(result.labels)[its], unknown=unknown)
    with np.load(file) as found:
        return bundle, dict(found)


def in_splits(found: dict[str, np.ndarray], precision: float, halves: bool) -> Row:
    rng, count = np.random.default_rng(0), len(found["labels"])
    rows, labels = found["probabilities"], found["labels"]
    doubts, right = doubts_of(rows), rows.argmax(axis=1) == labels
    kept, coverages, precisions = 0, [], []
    for _ in range(SPLITS):
        order = rng.permutation(count) if halves else rng.integers(0, count, count)
        learn, test = order[: count // 2], order[count // 2 :] if halves else np.arange(count)
        made = promise(HeldOut.of(rows[learn], labels[learn]), precision)
        sure = test[doubts[test] < made.limit] if made is not None else test[:0]
        if made is None or not len(sure):
            kept += 1
            continue
        coverages.append(len(sure) / len(test))
        precisions.append(float(right[sure].mean()))
        kept += precisions[-1] >= precision
    return {
        "images": count // 2,
        "promised": len(coverages) / SPLITS,
        "kept": kept / SPLITS,
        "coverage": float(np.mean(coverages)) if coverages else None,
        "precision": float(np.mean(precisions)) if precisions else None,
    }


def of_itself(bundle: Path, found: dict[str, np.ndarray], precision: float, known: bool) -> Row:
    held_out = tlkit.load(bundle).held_out
    assert held_out is not None
    made = promise(held_out, precision)
    row: Row = {"images": len(held_out), "promised": float(made is not None), "said": made and made.coverage}
    if made is None:
        return {**row, "kept": 1.0, "coverage": None, "precision": None}
    sure = (doubts_of(found["probabilities"]) < made.limit) & ~(found["unknown"] & known)
    right = (found["probabilities"].argmax(axis=1) == found["labels"])[sure]
    reached = float(right.mean())
    return {**row, "kept": float(reached >= precision), "coverage": float(sure.mean()), "precision": reached}


def measured(named: str, work: Path) -> Iterator[Row]:
    bundle, found = predictions(named, work)
    rows = found["probabilities"]
    base = {"set": Path(named.partition("=")[0]).name, "fresh": len(rows)}
    base["accuracy"] = float((rows.argmax(axis=1) == found["labels"]).mean())
    held_out = tlkit.load(bundle).held_out
    base["accuracy_held_out"] = held_out and float(held_out.right.mean())
    for precision in PROMISED:
        asked = {**base, "asked": precision}
        for way in ("draws", "halves"):
            yield {**asked, "way": way, **in_splits(found, precision, way == "halves")}
        for way in ("own", "known"):
            yield {**asked, "way": way, **of_itself(bundle, found, precision, way == "known")}


def report(table: Path) -> None:
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    print("| set | accuracy, as cross-validated | asked | way | learnt from | promised | answers | right | kept |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        share = ["-" if row[name] is None else f"{row[name]:.1%}" for name in ("coverage", "precision")]
        accuracies = f"{row['accuracy']:.1%}, {row['accuracy_held_out']:.1%}"
        cells = [row["set"], accuracies, f"{row['asked']:.0%}", row["way"], f"{row['images']:,} images"]
        print("| " + " | ".join([*cells, f"{row['promised']:.0%}", *share, f"{row['kept']:.1%}"]) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, metavar="TABLE")
    parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("sets", nargs="*", metavar="FOLDER[=OTHERS]")
    asked = parser.parse_args()
    if asked.report:
        return report(asked.report)
    done = {json.loads(line)["set"] for line in asked.table.read_text().splitlines()} if asked.table.exists() else set()
    for named in asked.sets:
        if Path(named.partition("=")[0]).name in done:
            continue
        rows = [{**row, **machine()} for row in measured(named, asked.work)]
        with asked.table.open("a") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)
        print(f"{named}: {len(rows)} rows", flush=True)
    return None


if __name__ == "__main__":
    main()
