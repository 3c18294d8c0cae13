"""Whether recent images are like those of training: the tests against scipy's, and what is said."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.serve.drift import ALPHA, Drift, Expected, beta_binomial_tail, fisher

CLASSES = ("a", "b", "c")
COUNTS = st.integers(0, 400)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_fisher_is_scipys(count: int, others: int, trained: int, rest: int) -> None:
    from scipy.stats import fisher_exact

    expected = fisher_exact([[count, others], [trained, rest]]).pvalue
    assert fisher(count, count + others, trained, trained + rest) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 50), st.integers(1, 500))
def test_the_tail_is_scipys(count: int, others: int, above: int, below: int) -> None:
    from scipy.stats import betabinom

    images = count + others
    expected = betabinom.sf(count - 1, images, above, below)
    # SciPy subtracts from 1, which costs small tails their last digits
    assert beta_binomial_tail(count, images, above, below) == pytest.approx(expected, rel=1e-6, abs=1e-10)


def fed(drift: Drift, shares: dict[str, float], unknown: float, images: int, seed: int = 0) -> dict[str, Any]:
    draw = random.Random(seed)
    for label in draw.choices(list(shares), list(shares.values()), k=images):
        drift.add(label, draw.random() < unknown)
    return drift.to_json()


def made() -> Drift:
    return Drift(CLASSES, Expected((100, 60, 40), 4, 99))


def test_images_like_those_of_training_raise_no_alarm() -> None:
    alarms = [fed(made(), {"a": 0.5, "b": 0.3, "c": 0.2}, 0.05, 600, seed)["differs"] for seed in range(40)]
    assert sum(alarms) <= 1
    assert 40 * ALPHA < 0.1


def test_other_images_are_told() -> None:
    found = fed(made(), {"a": 0.1, "b": 0.3, "c": 0.6}, 0.3, 600)
    assert found["differs"]
    assert found["unknown"]["differs"]
    assert [row["differs"] for row in found["labels"]] == [True, False, True]
    assert [sentence.partition("%")[2] for sentence in found["says"]][:1] == [
        " of the last 600 images are flagged as unknown; expected: 5%"
    ]
    assert any("labelled c; of the training images: 20%" in sentence for sentence in found["says"])


def test_only_the_last_thousand_count() -> None:
    drift = made()
    assert fed(drift, {"c": 1.0}, 1.0, 1000)["differs"]
    found = fed(drift, {"a": 0.5, "b": 0.3, "c": 0.2}, 0.05, 1000)
    assert (found["images"], found["differs"]) == (1000, False)


def test_few_unknown_images_are_no_alarm_and_no_images_say_nothing() -> None:
    assert not fed(made(), {"a": 0.5, "b": 0.3, "c": 0.2}, 0.0, 1000)["unknown"]["differs"]
    empty = made().to_json()
    assert (empty["images"], empty["differs"], empty["labels"][0]["share"]) == (0, False, None)


def test_a_bundle_that_does_not_say_what_it_saw() -> None:
    found = fed(Drift(CLASSES, Expected((), 0, 0)), {"a": 1.0}, 0.0, 50)
    assert found["unknown"] is None
    assert found["labels"][0] == {
        "label": "a",
        "count": 50,
        "share": 1.0,
        "expected": None,
        "p": None,
        "differs": None,
    }
    assert not found["differs"]


def test_the_alarm_of_unknown_images_is_as_rare_as_it_says() -> None:
    """By simulation: a threshold from 99 scores, then 200 images of the same kind."""
    rng = np.random.default_rng(0)
    alarms, rounds = 0, 2000
    for _ in range(rounds):
        threshold = np.sort(rng.random(99))[94]
        count = int((rng.random(200) > threshold).sum())
        alarms += beta_binomial_tail(count, 200, 5, 95) < 0.05
    assert alarms / rounds < 0.05 + 3 * math.sqrt(0.05 * 0.95 / rounds)
    assert alarms / rounds > 0.02
