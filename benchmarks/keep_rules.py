"""Ways of choosing between a tuned and the frozen network, on the runs of the advisor's grid: one JSON line.

    python keep_rules.py advisor_grid.jsonl

By number of validation images: points of test accuracy that what is kept has over the frozen network, on average over
all runs that train weights, and the most that were lost.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine
from strategies import rows_in

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    arguments = parser.parse_args()
    gains: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for count, ours, frozen in networks(arguments.table):
        size = next((f"under {most}" for most in (10, 30, 100) if count < most), "100 and more")
        gain = 100 * (ours["test_accuracy"] - frozen["test_accuracy"])
        for name, kept in rules(ours, frozen, count).items():
            gains["all"][name].append(gain * kept)
            gains[size][name].append(gain * kept)
        gains["all"]["whichever is better"].append(max(gain, 0.0))
        gains[size]["whichever is better"].append(max(gain, 0.0))
    figures = {
        size: {name: [round(float(np.mean(its)), 2), round(min(its), 1)] for name, its in found.items()}
        for size, found in gains.items()
    }
    runs = {size: len(found["always"]) for size, found in gains.items()}
    print(json.dumps({"benchmark": "keep_rules", "runs": runs, "points_mean_and_worst": figures, **machine()}))


def networks(table: Path) -> list[tuple[int, Row, Row]]:
    """Validation images, figures of the tuned network and of the frozen one, of every run that trained weights."""
    found = []
    for row in rows_in(table):
        if "tuned" in row:
            ours, its = (
                {
                    "val_accuracy": row[f"{name}_val"][0],
                    "val_loss": row[f"{name}_val"][1],
                    "test_accuracy": row[name][0],
                }
                for name in ("tuned", "frozen")
            )
            found.append((row["val_images"], ours, its))
    return found


def rules(ours: Row, frozen: Row, count: int) -> dict[str, bool]:
    """Whether the tuned network is kept, by the name of the rule."""
    from tlkit.api.train.trained import better

    mine, its = ours["val_accuracy"], frozen["val_accuracy"]
    inside = min(max(its, 0.5 / count), 1 - 0.5 / count)
    error = math.sqrt(inside * (1 - inside) / count)
    return {
        "tlkit's": better(ours, frozen, count),
        "always": True,
        "accuracy not lower": mine >= its,
        "lower by one standard error at most": mine >= its - error,
        "lower by two standard errors at most": mine >= its - 2 * error,
        "log loss lower": ours["val_loss"] < frozen["val_loss"],
        "accuracy not lower, or log loss lower and accuracy by two standard errors at most": (
            mine >= its or (ours["val_loss"] < frozen["val_loss"] and mine >= its - 2 * error)
        ),
        "accuracy not lower, or log loss lower": mine >= its or ours["val_loss"] < frozen["val_loss"],
    }


if __name__ == "__main__":
    main()
