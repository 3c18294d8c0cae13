"""Which images to label next: what each way chooses, and whether a replay can tell a good one from a bad one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.linear import replay as replaying
from tlkit.linear.acquisition import (
    DIVERSE,
    MARGIN,
    MAX_COLUMNS,
    RANDOM,
    TYPICAL,
    WAYS,
    choose,
    compact,
    margins,
    probabilities_of,
)
from tlkit.linear.replay import Backtest, Replayed, replay


def blobs(counts: list[int], seed: int = 0, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Images of classes around distant centres, float32 [n, 8], and their labels."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(len(counts), 8))
    labels = np.repeat(np.arange(len(counts)), counts)
    return (centres[labels] + spread * rng.normal(size=(len(labels), 8))).astype(np.float32), labels


def test_compact_features_keep_the_distances() -> None:
    rng = np.random.default_rng(0)
    for shape in ((60, 300), (400, 300)):
        rows = (rng.normal(size=(shape[0], 20)) @ rng.normal(size=(20, shape[1]))).astype(np.float32)
        small = compact(rows)
        assert small.shape == (shape[0], min(MAX_COLUMNS, shape[0]))
        from tlkit.linear.scaling import standardise

        scaled = standardise(rows)[0]
        one, two = np.linalg.norm(scaled[0] - scaled[1:], axis=1), np.linalg.norm(small[0] - small[1:], axis=1)
        assert np.allclose(one, two, rtol=1e-3)


def test_margin_takes_the_closest_decisions() -> None:
    shown = np.array([[0.9, 0.1, 0.0], [0.4, 0.35, 0.25], [0.5, 0.5, 0.0], [0.6, 0.3, 0.1]])
    assert margins(shown).round(2).tolist() == [0.8, 0.05, 0.0, 0.3]
    found = choose(MARGIN, np.zeros((9, 2), np.float32), [], [5, 6, 7, 8], shown, 3, np.random.default_rng(0))
    assert found == [7, 6, 8]


def test_diverse_does_not_take_the_same_image_twice() -> None:
    rows = np.repeat(np.eye(3, 8, dtype=np.float32), 20, axis=0)
    shown = np.full((60, 2), 0.5)
    found = choose(DIVERSE, rows, [], list(range(60)), shown, 3, np.random.default_rng(0))
    assert {each // 20 for each in found} == {0, 1, 2}


def test_typical_takes_the_middle_of_a_cluster_without_labels() -> None:
    rows, labels = blobs([20, 20, 20])
    known = np.flatnonzero(labels == 0).tolist()[:2]
    pool = [each for each in range(60) if each not in known]
    found = choose(TYPICAL, rows, known, pool, np.zeros((58, 3)), 2, np.random.default_rng(0))
    assert {int(labels[each]) for each in found} == {1, 2}


@settings(max_examples=25)
@given(way=st.sampled_from((*WAYS, RANDOM)), size=st.integers(1, 40), count=st.integers(1, 50), known=st.integers(1, 8))
def test_every_way_takes_images_of_the_pool_once(way: str, size: int, count: int, known: int) -> None:
    rows = np.random.default_rng(size).normal(size=(known + size, 4)).astype(np.float32)
    rows[known:] = rows[known:][np.arange(size) // 2]  # half of them are copies
    shown = np.full((size, 3), 1 / 3)
    pool = list(range(known, known + size))
    found = choose(way, rows, list(range(known)), pool, shown, count, np.random.default_rng(0))
    assert len(found) == len(set(found)) == min(count, size)
    assert set(found) <= set(pool)


def test_a_class_without_labels_has_the_probability_zero() -> None:
    rows, labels = blobs([10, 10, 10])
    known = labels != 1
    shown = probabilities_of(rows[known], labels[known], rows, 3, 1.0)
    assert np.allclose(shown.sum(axis=1), 1)
    assert (shown[:, 1] == 0).all()
    one = probabilities_of(rows[:5], labels[:5], rows, 3, 1.0)
    assert (one[:, 0] == 1).all()


def test_a_replay_sees_that_a_way_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat([0, 1, 2], [80, 60, 60])
    rows = labels[:, None].astype(np.float32)

    def chosen(way: str, rows: Any, known: Any, pool: list[int], shown: Any, count: int, rng: Any) -> list[int]:
        return [each for each in pool if (labels[each] > 0) == (way == MARGIN)][:count]

    def answered(known: Any, given: Any, others: Any, classes: int, c: float) -> Any:
        """As many right answers as there are labels of the classes that matter."""
        answers = others[:, 0].astype(int)
        answers[int((given > 0).sum()) :] += 1
        return np.eye(classes)[answers % classes]

    monkeypatch.setattr(replaying, "choose", chosen)
    monkeypatch.setattr(replaying, "probabilities_of", answered)
    found = replay(rows, labels.tolist(), list(range(200)), 0.1, 30)
    assert found is not None
    assert found.best is not None
    assert found.best.way == MARGIN
    assert found.ways[0] == found.best
    assert [each.won for each in found.ways] == [True, False, False]
    assert (found.start, found.batch, found.tested) == (66, 10, 67)
    assert found.best.gain == pytest.approx(np.mean([10, 20, 27]) / 67, abs=0.02)


def test_the_predicted_gain_follows_the_curve() -> None:
    sizes = np.array([50, 60, 70, 80])
    drawn = np.tile(1 - 2 / sizes, (4, 1))  # errors fall with the number of images
    middle, low, high = replaying._predicted(sizes, drawn, 100, np.random.default_rng(0)) or (0, 0, 0)
    assert middle == pytest.approx(2 / 100 - 2 / 150)
    assert low == pytest.approx(middle) == pytest.approx(high)
    rising = replaying._predicted(sizes, 1 - drawn[:, ::-1] / 2, 100, np.random.default_rng(0))
    assert rising is not None
    assert rising[0] >= 0


def test_a_replay_of_labels_that_mean_nothing_has_no_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "REPEATS", 6)
    rng = np.random.default_rng(3)
    labels = np.arange(90) % 3
    found = replay(rng.normal(size=(90, 8)).astype(np.float32), labels.tolist(), list(range(90)), 1e-3, 30)
    assert found is not None
    assert found.best is None


def test_few_images_are_not_replayed() -> None:
    rows, labels = blobs([20, 19])
    assert replay(rows, labels.tolist(), list(range(39)), 1.0, 10) is None
    rows, labels = blobs([40, 5])
    assert replay(rows, labels.tolist(), list(range(45)), 1.0, 10) is None


def test_a_way_wins_by_more_than_chance_only() -> None:
    assert Replayed(MARGIN, 0.02, 0.01).won
    assert not Replayed(MARGIN, 0.015, 0.01).won
    ways = (Replayed(MARGIN, 0.005, 0.01), Replayed(TYPICAL, -0.02, 0.001))
    assert Backtest(100, 30, 5, 30, ways, (), None).best is None
