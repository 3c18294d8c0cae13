"""Probes on made-up features, whose answers are known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from tlkit.advisor import probes as module
from tlkit.advisor.probes import Probes, run_probes
from tlkit.progress import SilentProgress

Matrix = NDArray[np.float32]

STAGES = tuple(f"stage{number}" for number in range(1, 7))
TAPS = (*((stage, 6) for stage in STAGES), ("top", 12))
EARLY = ("stage2", "stage3", "stage4", "stage5")
WIDTH = sum(width for _, width in TAPS)


def place(name: str) -> slice:
    """Columns of a tap."""
    names = [tap for tap, _ in TAPS]
    start = sum(width for _, width in TAPS[: names.index(name)])
    return slice(start, start + dict(TAPS)[name])


def blobs(per_class: list[int], signals: dict[str, float] | None = None, seed: int = 0) -> tuple[Matrix, list[int]]:
    """Noise, and in some taps clouds around a centre a class, so many of the noise's deviations away."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(per_class)), per_class)
    matrix = rng.normal(size=(len(labels), WIDTH))
    for name, strength in (signals or {}).items():
        columns = place(name)
        matrix[:, columns] += strength * rng.normal(size=(len(per_class), dict(TAPS)[name]))[labels]
    return matrix.astype(np.float32), labels.tolist()


def everywhere(strength: float) -> dict[str, float]:
    return {name: strength for name, _ in TAPS}


def probed(matrix: Matrix, labels: list[int], groups: list[int] | None = None, **options: object) -> Probes:
    found = run_probes(matrix, TAPS, labels, groups or list(range(len(labels))), **options)  # type: ignore[arg-type]
    assert found is not None
    every = [found.last, found.together, *found.early]
    assert all(0 <= probe.accuracy <= 1 and np.isfinite(probe.squared_error) for probe in every)
    assert [probe.name for probe in every] == ["top", "all", *EARLY]
    assert 0 <= found.neighbours <= 1
    assert 0 < found.noise < 1
    assert [share for share, _ in found.curve] == [0.25, 0.5, 1.0]
    assert found.curve[-1][1] == found.last.accuracy
    assert len(found.recalls) == found.classes == len(set(labels))
    counts = np.bincount(labels)
    assert np.dot(found.recalls, counts) / counts.sum() == pytest.approx(found.last.accuracy)
    assert found.images == len(labels)
    return found


def test_classes_far_apart_are_told_apart_at_every_depth() -> None:
    matrix, labels = blobs([20, 20, 20], everywhere(4.0))
    found = probed(matrix, labels)
    for probe in (found.last, found.together, *found.early):
        assert probe.accuracy > 0.97, probe.name
        assert probe.squared_error < 0.2, probe.name
    assert found.neighbours > 0.97
    assert found.curve[0][1] > 0.9
    assert found.chance == pytest.approx(1 / 3)


def test_noise_is_no_better_than_chance() -> None:
    matrix, labels = blobs([60] * 4)
    found = probed(matrix, labels)
    near = 4 * np.sqrt(0.25 * 0.75 / 240)
    for probe in (found.last, found.together, *found.early):
        assert abs(probe.accuracy - 0.25) < near, probe.name
        assert probe.squared_error > 0.7, probe.name  # 0.75 for always answering with the shares
    assert abs(found.neighbours - 0.25) < near
    assert all(abs(accuracy - 0.25) < near for _, accuracy in found.curve)


@pytest.mark.parametrize("stage", EARLY)
def test_the_stage_with_the_signal_is_the_best_early_one(stage: str) -> None:
    matrix, labels = blobs([15, 15, 15], {stage: 3.0})
    found = probed(matrix, labels)
    assert found.best_early.name == stage
    assert found.best_early.accuracy > 0.9
    assert found.together.accuracy > found.last.accuracy + 0.2
    assert all(probe.accuracy < 0.7 for probe in (found.last, *found.early) if probe.name != stage)


@pytest.mark.parametrize("tap", ["stage1", "stage6"])
def test_what_is_neither_early_nor_the_top_counts_only_in_all(tap: str) -> None:
    matrix, labels = blobs([20, 20, 20], {tap: 4.0})
    found = probed(matrix, labels)
    assert found.together.accuracy > 0.9
    assert all(probe.accuracy < 0.65 for probe in (found.last, *found.early))
    assert found.neighbours < 0.65


def test_more_images_help_on_a_hard_problem() -> None:
    matrix, labels = blobs([90] * 6, {"top": 0.55})
    (_, quarter), (_, half), (_, full) = probed(matrix, labels).curve
    assert quarter < half < full
    assert full > quarter + 0.05


def test_recalls_are_of_each_class_in_order() -> None:
    matrix, labels = blobs([30, 20, 25], everywhere(5.0))
    target = np.array(labels)
    target[[0, 1, 2]] = 1  # three of 30 belong to class 0 by their looks, and are called 1 of now 23
    target[74] = 0  # and one of class 2 is called 0, of now 28
    assert probed(matrix, target.tolist()).recalls == pytest.approx((27 / 28, 20 / 23, 1.0))


def test_copies_in_one_group_do_not_help() -> None:
    matrix, labels = blobs([80, 80])
    twice, doubled = np.repeat(matrix, 2, axis=0), np.repeat(labels, 2).tolist()
    together = probed(twice, doubled, (np.arange(320) // 2).tolist())
    apart = probed(twice, doubled)
    assert abs(together.neighbours - 0.5) < 0.15
    assert abs(together.last.accuracy - 0.5) < 0.15
    # had they been in groups of their own, copies would have told
    assert apart.neighbours > 0.65
    assert apart.last.accuracy > together.last.accuracy


def test_a_copy_has_no_vote_against_its_class_either() -> None:
    matrix, labels = blobs([4, 2], everywhere(6.0))
    matrix[1] = matrix[0]
    assert probed(matrix, labels, [7, 7, 1, 2, 3, 4]).neighbours > 0.6  # the four of the larger class at least


@pytest.mark.parametrize(
    ("per_class", "groups"),
    [([5, 1], [0, 1, 2, 3, 4, 5]), ([3, 3], [0, 1, 2, 9, 9, 9])],
    ids=["one image", "copies of one image"],
)
def test_a_class_of_one_image_gives_none(per_class: list[int], groups: list[int]) -> None:
    matrix, labels = blobs(per_class, everywhere(4.0))
    assert run_probes(matrix, TAPS, labels, groups) is None


def test_two_images_a_class_are_enough() -> None:
    matrix, labels = blobs([2, 2, 2], everywhere(6.0))
    found = probed(matrix, labels)
    assert found.last.accuracy == found.together.accuracy == 1
    assert len(found.last.right) == 6
    assert found.noise > 0.05  # six right answers are no proof


def test_neighbours_of_two_images_a_class() -> None:
    matrix, labels = blobs([2, 2, 2], everywhere(6.0))
    assert probed(matrix, labels).neighbours == 1


def test_uneven_classes() -> None:
    matrix, labels = blobs([60, 12, 4], everywhere(3.0))
    found = probed(matrix, labels)
    assert found.chance == pytest.approx(60 / 76)
    assert found.last.accuracy > 0.95
    assert len(found.last.right) == 76
    assert found.neighbours > 0.9


def test_balanced_probes_find_more_of_a_small_class() -> None:
    matrix, labels = blobs([120, 15])
    matrix[np.equal(labels, 1), place("top")] += 0.35
    small = np.equal(labels, 1)
    plain, balanced = (probed(matrix, labels, balanced=each).last.right for each in (False, True))
    assert balanced[small].mean() > plain[small].mean() + 0.3
    assert balanced[~small].mean() < plain[~small].mean()


def test_identical_images_are_told_apart_by_chance() -> None:
    found = probed(np.ones((40, WIDTH), np.float32), [0, 1] * 20)
    for probe in (found.last, found.together, *found.early):
        assert probe.accuracy == pytest.approx(0.5, abs=0.15), probe.name
        assert probe.squared_error == pytest.approx(0.5, abs=0.02), probe.name
    assert found.neighbours == pytest.approx(0.5, abs=0.15)


def test_the_same_seed_gives_the_same_numbers() -> None:
    matrix, labels = blobs([25, 25, 25], everywhere(0.5))
    one, two, other = (probed(matrix, labels, seed=seed) for seed in (3, 3, 4))

    def numbers(found: Probes) -> list[float]:
        every = [found.last, found.together, *found.early]
        return [
            *(value for probe in every for value in (probe.accuracy, probe.squared_error, probe.strength)),
            found.neighbours,
            found.noise,
            *(accuracy for _, accuracy in found.curve),
            *found.recalls,
        ]

    assert numbers(one) == numbers(two)
    np.testing.assert_array_equal(one.last.right, two.last.right)
    assert numbers(one) != numbers(other)


def test_many_classes_of_few_images() -> None:
    matrix, labels = blobs([4] * 60, everywhere(3.0))
    start = time.perf_counter()
    found = probed(matrix, labels)
    assert time.perf_counter() - start < 60
    assert found.last.accuracy > 0.8
    assert found.neighbours > 0.8
    assert found.chance == pytest.approx(1 / 60)
    assert len(found.recalls) == 60


def test_right_has_an_entry_for_each_image_in_its_order() -> None:
    matrix, labels = blobs([30, 30], everywhere(5.0))
    wrong = [4, 17, 41]
    for row in wrong:
        labels[row] = 1 - labels[row]
    found = probed(matrix, labels)
    for probe in (found.last, found.together, *found.early):
        assert probe.right.shape == (60,)
        assert probe.right.dtype == np.bool_
        assert np.flatnonzero(~probe.right).tolist() == wrong, probe.name
        assert probe.accuracy == pytest.approx(57 / 60)


def test_few_of_many_images_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 60)
    monkeypatch.setattr(module, "MAX_NEIGHBOUR_ROWS", 50)
    matrix, labels = blobs([100, 50], {"stage3": 4.0, "top": 4.0})
    found = probed(matrix, labels)
    assert {len(probe.right) for probe in (found.last, found.together, *found.early)} == {60}
    assert found.images == 150
    assert found.best_early.name == "stage3"
    assert found.best_early.accuracy > 0.9
    assert found.last.accuracy > 0.9
    assert found.neighbours > 0.9
    assert found.neighbours * 50 == pytest.approx(round(found.neighbours * 50))


def test_classes_of_which_too_few_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As 800 classes of two images are with the real limit."""
    monkeypatch.setattr(module, "MAX_ROWS", 6)
    matrix, labels = blobs([4] * 4, everywhere(4.0))
    probed(matrix, labels)


def test_a_class_that_is_mostly_copies_of_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample that stages are compared on may hold nothing but copies of it."""
    monkeypatch.setattr(module, "MAX_ROWS", 20)
    matrix, labels = blobs([30, 30], everywhere(4.0))
    probed(matrix, labels, [*range(30), *[99] * 29, 100], seed=1)


def test_the_images_looked_at_are_of_the_classes_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage without any signal is right as often as the largest class comes."""
    monkeypatch.setattr(module, "MAX_ROWS", 100)
    matrix, labels = blobs([450, 25, 25], {"top": 1.0})
    found = run_probes(matrix, TAPS, labels, list(range(len(labels))))
    assert found is not None
    assert found.chance == 0.9
    assert found.best_early.accuracy > 0.8


@pytest.mark.parametrize("seed", range(2))
def test_a_quarter_of_uneven_classes_is_a_quarter_of_each(seed: int) -> None:
    """Where almost nothing can be learnt a quarter is as good as all; more of the small class spoils it."""
    matrix, labels = blobs([400, 40], {"top": 0.3}, seed=seed)
    (_, quarter), *_, (_, full) = probed(matrix, labels, seed=seed).curve
    assert full - quarter < 0.03


def test_the_standard_error_falls_with_more_images() -> None:
    few, many = (probed(*blobs([each, each])) for each in (10, 160))
    assert few.noise > 2 * many.noise
    share = many.last.accuracy
    assert many.noise >= 0.99 * np.sqrt(share * (1 - share) / 320)
    assert many.noise < 0.12


class Counted(SilentProgress):
    """Counts the steps of each phase."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.done = 0

    @contextmanager
    def phase(self, title: str, total: int | None) -> Iterator[object]:  # type: ignore[override]
        self.phases.append((title, total))

        def advance(steps: int, status: str = "", /) -> None:
            self.done += steps

        yield advance


def test_progress_comes_to_its_total() -> None:
    progress = Counted()
    probed(*blobs([6, 6], everywhere(3.0)), progress=progress)
    assert progress.phases == [("Probes", progress.done)]
    assert progress.done > len(EARLY)
