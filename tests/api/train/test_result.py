"""How the accuracies of a run are said."""

from __future__ import annotations

import re

from tlkit.api.train.result import accuracy_lines
from tlkit.images.grouping import Grouping

METRICS = {
    **{f"{split}_accuracy": 0.8 for split in ("val", "test", "cv")},
    **{f"{split}_accuracy_ci95": [0.7, 0.9] for split in ("val", "test", "cv")},
    **{f"{split}_balanced_accuracy": 0.75 for split in ("val", "test")},
    **{f"{split}_macro_f1": 0.7 for split in ("val", "test")},
    **{"baseline_accuracy": 0.5, "test_baseline_accuracy": 0.5},
}
IMAGES = {"train": 70, "val": 20, "test": 10, "skipped": 0}


def test_no_percentage_stands_without_its_number_of_images() -> None:
    for asked in (True, False):
        found = Grouping("folder", asked, "site1", 12, 70, 0.9, 0.6, (0.4, 0.8), True)
        lines = accuracy_lines(METRICS, IMAGES, tuned=True, imbalanced=True, refit=("train", "val"), groups=found)
        assert len([line for line in lines if "%" in line]) == 6
        for line in lines:
            assert re.search(r"\b(70|20|10|90) (training )?images\b", line), line
