from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from sklearn import metrics as reference

from tlkit.csvtext import original
from tlkit.evaluation.classes import ConfusedPair, class_figures, confusion, most_confused
from tlkit.evaluation.metrics import exact, measure, wilson_interval
from tlkit.evaluation.prediction_table import image_table

NAMES = ("ant", "bee, wild", "=cat", "dog")


def guesses() -> tuple[np.ndarray, list[int]]:
    """Probabilities of 120 images of the first three classes, and what they are."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 120)
    values = rng.dirichlet(np.ones(4), 120).astype(np.float32)
    values[np.arange(120), labels] += 0.2
    return exact(values), labels.tolist()


def test_figures_of_classes_equal_scikit_learns() -> None:
    probabilities, labels = guesses()
    found = class_figures(probabilities, labels, NAMES)
    answers = probabilities.argmax(1)
    report = reference.classification_report(labels, answers, labels=range(4), output_dict=True, zero_division=0)
    for index, each in enumerate(found):
        theirs = report[str(index)]
        assert (each.precision, each.recall, each.f1, each.support) == (
            theirs["precision"],
            theirs["recall"],
            theirs["f1-score"],
            theirs["support"],
        )
    assert [each.name for each in found] == list(NAMES)
    matrix = confusion(probabilities, labels)
    assert found[1].recall_ci95 == wilson_interval(int(matrix[1, 1]), int(matrix[1].sum()))
    assert (found[3].support, found[3].recall, found[3].recall_ci95) == (0, 0, None)


def test_the_most_confused_pairs_come_first() -> None:
    matrix = np.array([[5, 2, 0, 0], [0, 90, 0, 2], [1, 0, 0, 1], [0, 0, 0, 0]])
    assert most_confused(matrix, NAMES, max_pairs=3) == [
        ConfusedPair("ant", "bee, wild", 2, pytest.approx(2 / 7)),
        ConfusedPair("bee, wild", "dog", 2, pytest.approx(2 / 92)),
        ConfusedPair("=cat", "ant", 1, 0.5),
    ]
    assert most_confused(np.diag([3, 4]), NAMES) == []


def test_figures_can_be_computed_again_from_the_table() -> None:
    """To the last bit, by scikit-learn."""
    probabilities, labels = guesses()
    files = [f"a,b {number}.jpg" for number in range(len(labels))]
    text = image_table(
        files, labels, probabilities, [True, *[False] * (len(labels) - 1)], ["train", *[""] * (len(labels) - 1)], NAMES
    )
    rows = [{key: original(cell) for key, cell in row.items()} for row in csv.DictReader(io.StringIO(text))]
    assert [row["file"] for row in rows] == files
    assert [row["used"] for row in rows][:2] == ["train", ""]
    assert [row["unknown"] for row in rows][:2] == ["true", "false"]
    again = np.array([[float(row[f"p:{name}"]) for name in NAMES] for row in rows])
    np.testing.assert_array_equal(again, probabilities)
    truth, answers = [row["label"] for row in rows], [row["answer"] for row in rows]
    found = measure(probabilities, labels)
    assert found.accuracy == reference.accuracy_score(truth, answers)
    assert found.macro_f1 == reference.f1_score(truth, answers, average="macro", zero_division=0)
    assert found.log_loss == reference.log_loss([NAMES.index(each) for each in truth], again, labels=range(4))
    for row in rows:
        assert float(row["probability"]) == max(float(row[f"p:{name}"]) for name in NAMES)
        assert (row["correct"] == "true") == (row["label"] == row["answer"])
