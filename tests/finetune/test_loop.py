"""The loop of fine-tuning: with a network of one number whose validation loss is written down, and with a real one."""

from __future__ import annotations

import itertools
import math
import tempfile
import types
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finetune.test_step import CLASSES, images, tiny
from hypothesis import given
from hypothesis import strategies as st

from tlkit.finetune import loop as module
from tlkit.finetune import time_budget as timing
from tlkit.finetune.augmentation import DRAWS
from tlkit.finetune.checkpoint import STATE, load_state
from tlkit.finetune.job import Job, evaluate
from tlkit.finetune.loop import FitResult, fit
from tlkit.finetune.step import Trainer, snapshot
from tlkit.plan.recipe import FROZEN, MOVING, Recipe, rate_at
from tlkit.progress import SilentProgress

Patch = pytest.MonkeyPatch
SILENT = SilentProgress()


class Memory:
    """Inputs that are the images' own numbers, or their pixels."""

    def __init__(self, pixels: np.ndarray | None = None) -> None:
        self._pixels = pixels
        self.plain: list[int] = []

    def batch(self, chosen: Sequence[int], draws: np.ndarray | None) -> np.ndarray:
        if draws is None:
            self.plain.extend(chosen)
        return np.array(chosen) if self._pixels is None else self._pixels[list(chosen)]


class Value(np.ndarray):
    """An array that is asked for its numbers as a tensor is."""

    def numpy(self) -> np.ndarray:
        return np.asarray(self)


class Number:
    """A variable."""

    def __init__(self) -> None:
        self.value = np.zeros(2).view(Value)

    def assign(self, value: np.ndarray) -> None:
        self.value = np.array(value).view(Value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.value)


class Counter:
    """Stands in for a trainer: its only variable counts steps and mixes in what each was given.

    The validation loss after a step is that of ``curve``; of two losses, images have one and the other in turn. Below
    the logarithm of 2 the answer is right.
    """

    def __init__(self, recipe: Recipe, curve: Sequence[Any]) -> None:
        self.recipe, self._curve, self._number = recipe, curve, Number()
        self.trainable = types.SimpleNamespace(state=[self._number])
        self.rates: list[float] = []
        self.before_step: Callable[[int], None] = lambda step: None

    @property
    def count(self) -> int:
        return int(self._number.value[0])

    def state(self) -> list[Number]:
        return [self._number]

    def step(self, inputs: Any, labels: Any, weights: Any, draws: np.ndarray, rate: float) -> tuple[float, float]:
        self.before_step(self.count)
        mixed = 0.9 * self._number.value[1] + float(inputs @ draws[:, 0]) + 1000 * rate
        self._number.assign(np.array([self.count + 1, mixed]))
        self.rates.append(rate)
        return mixed, mixed / 7

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        losses = np.resize(self._curve[min(self.count, len(self._curve) - 1)], len(inputs))
        return np.stack([np.zeros(len(inputs)), np.log(np.expm1(losses))], axis=1).astype(np.float32)


def falling(steps: int, turn: int | None = None) -> list[float]:
    """Validation losses that fall up to a step and rise from there on."""
    return [1 + abs(step - (steps if turn is None else turn)) / 100 for step in range(steps + 1)]


RECIPE = Recipe(steps=24, batch_size=4, learning_rate=0.01, evaluate_every=3, patience=1000)


def counting(curve: Sequence[Any], seed: int = 0, **changed: Any) -> Job:
    recipe = replace(RECIPE, **changed)
    labels = np.zeros(16, np.int32)
    return Job(Counter(recipe, curve), recipe, Memory(), labels, tuple(range(10)), tuple(range(10, 16)), None, seed)


def without_time(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_the_best_weights_are_left_in_the_network() -> None:
    job = counting(falling(24, turn=9))
    outcome = fit(job, SILENT)
    assert (outcome.why, outcome.steps) == ("schedule", 24)
    assert [row["step"] for row in outcome.rows] == list(range(0, 25, 3))
    assert outcome.best["step"] == job.trainer.count == 9
    assert outcome.best["val_loss"] == min(row["val_loss"] for row in outcome.rows) == pytest.approx(1)


HALF_RIGHT, SURE, NONE_RIGHT = (0.1, 3.0), (0.1, 0.1), 0.9


def test_what_is_kept_is_best_in_accuracy_and_of_equal_ones_in_loss() -> None:
    """On few images the loss of a confident network jumps."""
    curve = [1.2] * 6 + [HALF_RIGHT] * 6 + [(0.1, 2.5)] * 3 + [HALF_RIGHT] * 3 + [NONE_RIGHT] * 7
    job = counting(curve)
    outcome = fit(job, SILENT)
    assert [row["val_accuracy"] for row in outcome.rows] == [0, 0, 0.5, 0.5, 0.5, 0.5, 0, 0, 0]
    assert outcome.best["step"] == job.trainer.count == 12
    assert outcome.best["val_loss"] == pytest.approx(1.3)
    assert outcome.rows[-1]["val_loss"] < outcome.best["val_loss"]


@pytest.mark.parametrize(
    ("curve", "ends"),
    [
        ([1.2] * 6 + [HALF_RIGHT] * 30, 6 + 8),  # a higher accuracy at a higher loss
        ([HALF_RIGHT] * 6 + [NONE_RIGHT] * 30, 6 + 8),  # a lower loss at a lower accuracy
        ([SURE] + [HALF_RIGHT] * 30, 8),
    ],
)
def test_either_figure_that_gets_better_is_worth_waiting(curve: list[Any], ends: int) -> None:
    outcome = fit(counting(curve, patience=8), SILENT)
    assert (outcome.why, outcome.steps) == ("early stopping", ends)


def test_where_looks_are_not_trusted_the_last_weights_are_kept() -> None:
    job = counting(falling(24, turn=9), keep="last")
    outcome = fit(job, SILENT)
    assert outcome.best["step"] == job.trainer.count == 24
    assert outcome.best["val_loss"] > min(row["val_loss"] for row in outcome.rows)


def test_of_equal_ones_the_first_is_the_best() -> None:
    job = counting([1.0])
    assert fit(job, SILENT).best["step"] == job.trainer.count == 0


def test_where_nothing_gets_better_the_start_stays() -> None:
    job = counting(falling(24, turn=0))
    assert fit(job, SILENT).best["step"] == 0
    np.testing.assert_array_equal(job.trainer.state()[0], [0, 0])


@pytest.mark.parametrize("patience", [3, 5, 9])
def test_training_ends_when_patience_does(patience: int) -> None:
    job = counting(falling(24, turn=6), patience=patience)
    outcome = fit(job, SILENT)
    assert outcome.why == "early stopping"
    assert outcome.steps == 6 + patience
    assert outcome.rows[-1]["step"] == outcome.steps  # looked at also between two evaluations
    assert job.trainer.count == 6


def test_patience_begins_anew_with_every_better_look() -> None:
    outcome = fit(counting(falling(24), patience=4), SILENT)
    assert (outcome.why, outcome.steps) == ("schedule", 24)


def test_rates_are_those_of_the_schedule() -> None:
    job = counting(falling(24))
    outcome = fit(job, SILENT)
    expected = [0.01 * rate_at(job.recipe, (step + 0.5) / 24) for step in range(24)]
    np.testing.assert_allclose(job.trainer.rates, expected)
    assert outcome.rows[1]["learning_rate"] == pytest.approx(expected[2])


def test_rows_say_what_happened() -> None:
    job, seen, lines = counting(falling(24)), [], []

    class Watching(SilentProgress):
        def milestone(self, message: str) -> None:
            lines.append(message)

    outcome = fit(job, Watching(), observe=seen.append)
    assert seen == list(outcome.rows)
    assert len(lines) == len(seen)
    first, second = outcome.rows[:2]
    assert first["loss"] is first["accuracy"] is None
    assert first["step"] == first["epoch"] == 0
    assert second["epoch"] == pytest.approx(3 * 4 / 10)
    again = counting(falling(24))
    losses = [
        again.trainer.step(*again.batch(step), 0.01 * rate_at(again.recipe, (step + 0.5) / 24))[0] for step in range(6)
    ]
    assert second["loss"] == pytest.approx(np.mean(losses[:3]))
    assert outcome.rows[2]["loss"] == pytest.approx(np.mean(losses[3:]))
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(seen))


def test_progress_is_told_of_every_step() -> None:
    told: list[int] = []

    class Watching(SilentProgress):
        def phase(self, title: str, total: int | None) -> AbstractContextManager[Any]:
            assert total == 24
            return nullcontext(lambda steps, status="": told.append(steps))

    fit(counting(falling(24)), Watching())
    assert sum(told) == 24


def steps_done(job: Job) -> int:
    return job.trainer.count if isinstance(job.trainer, Counter) else job.trainer.steps


def stop_after(job: Job, *steps: int) -> Callable[[], bool]:
    return lambda: steps_done(job) in steps


def test_a_stop_keeps_a_state_and_leaves_the_best_weights(tmp_path: Path) -> None:
    job = counting(falling(24, turn=3))
    outcome = fit(job, SILENT, folder=tmp_path, stop=stop_after(job, 7))
    assert (outcome.why, outcome.steps) == ("interrupted", 7)
    assert [row["step"] for row in outcome.rows] == [0, 3, 6]
    assert job.trainer.count == 3
    found = load_state(tmp_path)
    assert found is not None
    assert found[0]["now0"][0] == 7
    assert found[0]["best0"][0] == 3


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    job = counting(falling(24))
    assert fit(job, SILENT, stop=stop_after(job, 7)).why == "interrupted"
    assert list(tmp_path.iterdir()) == []


def in_pieces(make: Callable[[], Job], folder: Path, stops: Sequence[int]) -> tuple[Job, FitResult]:
    """A run that is stopped after some steps and taken up again, each time with a new network."""
    for _ in range(len(stops) + 1):
        job = make()
        outcome = fit(job, SILENT, folder=folder, stop=stop_after(job, *stops))
        if outcome.why != "interrupted":
            break
    return job, outcome


@given(
    curve=st.lists(st.floats(0.125, 3, width=16), min_size=1, max_size=25),
    stops=st.sets(st.integers(1, 24), min_size=1, max_size=5),
    every=st.integers(1, 7),
    patience=st.integers(2, 30),
    keep=st.sampled_from(["best", "last"]),
    share=st.sampled_from([1.0, 0.5, None]),
)
def test_a_run_in_pieces_is_the_same_run(
    curve: list[float], stops: set[int], every: int, patience: int, keep: str, share: float | None
) -> None:
    def make() -> Job:
        return counting(curve, evaluate_every=every, patience=patience, keep=keep, interpolation=share)

    whole = make()
    expected = fit(whole, SILENT)
    if expected.why == "early stopping":
        stops.discard(expected.steps)  # the test after the next one
    with tempfile.TemporaryDirectory() as name:
        job, outcome = in_pieces(make, Path(name), sorted(stops))
    assert (outcome.why, outcome.steps) == (expected.why, expected.steps)
    assert without_time(outcome.rows) == without_time(expected.rows)
    assert without_time([outcome.best]) == without_time([expected.best])
    assert outcome.mixes == expected.mixes
    np.testing.assert_array_equal(job.trainer.state()[0], whole.trainer.state()[0])


@pytest.mark.parametrize(("turn", "share"), [(24, 1.0), (17, 0.75), (12, 0.5), (5, 0.25), (2, 0.25)])
def test_validation_images_choose_how_much_of_the_training_stays(turn: int, share: float) -> None:
    """The lowest loss lies after so many of 24 steps; the weights are those of as many, in proportion."""
    job = counting(falling(24, turn=turn), keep="last", interpolation=None)
    outcome = fit(job, SILENT)
    assert outcome.share == share
    assert job.trainer.count == 24 * share
    assert sorted(mix.share for mix in outcome.mixes) == [0, 0.25, 0.5, 0.75, 1]
    (chosen,) = (mix for mix in outcome.mixes if mix.share == share)
    assert chosen.calibrated_loss == min(mix.calibrated_loss for mix in outcome.mixes if mix.share)
    assert outcome.best["val_loss"] == chosen.val_loss
    assert outcome.best["step"] == outcome.rows[-1]["step"] == 24
    assert outcome.rows[-1]["val_loss"] == pytest.approx(1 + (24 - turn) / 100)


def test_a_share_that_is_given_is_taken_whatever_the_loss() -> None:
    job = counting(falling(24), keep="last", interpolation=0.5)
    outcome = fit(job, SILENT)
    assert (outcome.share, job.trainer.count) == (0.5, 12)
    assert [mix.share for mix in outcome.mixes] == [0.5, 1, 0]
    assert outcome.best["val_loss"] == pytest.approx(1 + 12 / 100)


def test_where_training_is_interrupted_nothing_is_mixed() -> None:
    """Who pressed Ctrl-C does not want to wait."""
    job = counting(falling(24, turn=5), keep="last", interpolation=None)
    outcome = fit(job, SILENT, stop=stop_after(job, 12))
    assert (outcome.why, outcome.share, outcome.mixes) == ("interrupted", 1.0, ())
    assert job.trainer.count == 12


def test_where_nothing_gets_better_there_is_nothing_to_mix() -> None:
    job = counting(falling(24, turn=0), interpolation=None)
    outcome = fit(job, SILENT)
    assert (outcome.best["step"], outcome.mixes, outcome.share) == (0, (), 1.0)


def test_of_a_run_that_diverged_a_finite_mix_is_taken() -> None:
    job = counting([*falling(12), *[math.nan] * 12], keep="last", interpolation=None)
    outcome = fit(job, SILENT)
    assert outcome.share == 0.5
    assert math.isfinite(outcome.best["val_loss"])


@pytest.mark.parametrize(("share", "evaluations"), [(1.0, 1), (0.5, 4), (None, 6)])
def test_a_time_budget_leaves_time_to_choose_the_share(
    monkeypatch: Patch, share: float | None, evaluations: int
) -> None:
    clock = Clock(monkeypatch)
    job = clock.driving(counting(falling(1000), steps=1000, evaluate_every=4, interpolation=share))
    logits = job.trainer.logits

    def slow(inputs: np.ndarray) -> np.ndarray:
        clock.now += 1.5  # a batch of the validation images: 3 seconds for all of them
        return logits(inputs)

    monkeypatch.setattr(job.trainer, "logits", slow)
    outcome = fit(job, SILENT, seconds=90)
    assert outcome.why == "time budget"
    assert 90 - 10 <= clock.now - 100 <= 90
    assert len(outcome.mixes) == evaluations - 1


@pytest.mark.parametrize("killed", [2, 3, 4, 11, 23])
def test_a_killed_run_goes_on_from_its_last_state(tmp_path: Path, monkeypatch: Patch, killed: int) -> None:
    monkeypatch.setattr(module, "MIN_SAVE_INTERVAL", -1.0)  # at every look

    def die(step: int) -> None:
        if step == killed:
            raise KeyboardInterrupt

    whole, first, second = (counting(falling(24, turn=9)) for _ in range(3))
    expected = fit(whole, SILENT)
    first.trainer.before_step = die
    with pytest.raises(KeyboardInterrupt):
        fit(first, SILENT, folder=tmp_path)
    assert (tmp_path / STATE).exists() == (killed >= 3)
    began: list[int] = []
    second.trainer.before_step = began.append
    outcome = fit(second, SILENT, folder=tmp_path)
    assert began[0] == killed // 3 * 3
    assert without_time(outcome.rows) == without_time(expected.rows)
    np.testing.assert_array_equal(second.trainer.state()[0], whole.trainer.state()[0])


def test_a_run_stopped_where_its_patience_ends_is_the_same_run(tmp_path: Path) -> None:
    def make() -> Job:
        return counting(falling(24, turn=6), patience=6)

    expected = fit(make(), SILENT)
    assert (expected.why, expected.steps) == ("early stopping", 12)
    _, outcome = in_pieces(make, tmp_path, [12])
    assert (outcome.why, outcome.steps) == ("early stopping", 12)
    assert without_time(outcome.rows) == without_time(expected.rows)


def test_time_goes_on_where_it_was(tmp_path: Path, monkeypatch: Patch) -> None:
    clock = Clock(monkeypatch)
    first, second = (clock.driving(counting(falling(24), steps=24)) for _ in range(2))
    fit(first, SILENT, folder=tmp_path, stop=stop_after(first, 8))
    clock.now += 1000
    rows = fit(second, SILENT, folder=tmp_path).rows
    assert [row["seconds"] for row in rows] == pytest.approx([row["step"] for row in rows])


class Clock:
    """Time that passes with steps alone, a second each."""

    def __init__(self, monkeypatch: Patch) -> None:
        self.now = 100.0
        time = types.SimpleNamespace(perf_counter=lambda: self.now, monotonic=lambda: self.now)
        monkeypatch.setattr(module, "time", time)
        monkeypatch.setattr(timing, "time", time)

    def driving(self, job: Job) -> Job:
        def tick(step: int) -> None:
            self.now += 1

        job.trainer.before_step = tick
        return job


@pytest.mark.parametrize("seconds", [10.0, 60.0])
def test_the_schedule_is_bent_to_end_with_the_time(monkeypatch: Patch, seconds: float) -> None:
    clock = Clock(monkeypatch)
    job = clock.driving(counting(falling(1000), steps=1000, evaluate_every=4))
    outcome = fit(job, SILENT, seconds=seconds)
    assert outcome.why == "time budget"
    assert seconds - 2 <= clock.now - 100 <= seconds
    assert outcome.rows[-1]["step"] == outcome.steps
    assert max(job.trainer.rates) > 0.005
    assert job.trainer.rates[-1] < 0.2 * max(job.trainer.rates)


def test_time_that_is_used_up_counts_when_a_run_is_taken_up_again(tmp_path: Path, monkeypatch: Patch) -> None:
    clock = Clock(monkeypatch)
    first, second = (clock.driving(counting(falling(1000), steps=1000)) for _ in range(2))
    fit(first, SILENT, folder=tmp_path, seconds=30, stop=stop_after(first, 20))
    outcome = fit(second, SILENT, folder=tmp_path, seconds=30)
    assert outcome.why == "time budget"
    assert 27 <= outcome.steps <= 30


def test_with_time_enough_the_schedule_is_as_without_a_limit(monkeypatch: Patch) -> None:
    clock = Clock(monkeypatch)
    job = clock.driving(counting(falling(24)))
    assert fit(job, SILENT, seconds=1e6).why == "schedule"
    np.testing.assert_allclose(job.trainer.rates, [0.01 * rate_at(job.recipe, (step + 0.5) / 24) for step in range(24)])


@given(count=st.integers(1, 12), size=st.integers(1, 30), seed=st.integers(0, 9))
def test_every_epoch_is_a_permutation(count: int, size: int, seed: int) -> None:
    numbers = tuple(range(100, 100 + count))
    recipe = replace(RECIPE, batch_size=size)
    job = Job(Counter(recipe, [1.0]), recipe, Memory(), np.zeros(200, np.int32), numbers, (), None, seed)
    steps = math.ceil(4 * count / size)
    seen = np.concatenate([job.batch(step)[0] for step in range(steps)])
    assert len(seen) == steps * size  # all batches have the same size
    for epoch in range(4):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(numbers)


def test_a_batch_is_a_function_of_seed_and_step_alone() -> None:
    job, same, other = counting([1.0]), counting([1.0]), counting([1.0], seed=1)
    for step in (5, 0, 3):
        for one, two in zip(job.batch(step), same.batch(step), strict=True):
            np.testing.assert_array_equal(one, two)
    orders = {tuple(job.batch(step)[0]) for step in range(0, 20, 5)}
    assert len(orders) > 1  # another epoch, another order
    assert job.batch(5)[3].shape == (4, DRAWS)
    assert not np.array_equal(job.batch(5)[3], job.batch(6)[3])
    assert any(not np.array_equal(job.batch(step)[0], other.batch(step)[0]) for step in range(3))
    assert not np.array_equal(job.batch(0)[3], other.batch(0)[3])


def test_class_weights_weigh_images() -> None:
    weights = np.array([1.0, 3.0], np.float32)
    labels = np.array([0, 1] * 5, np.int32)
    plain = replace(counting([1.0]), labels=labels)
    balanced = replace(plain, class_weights=weights)
    np.testing.assert_allclose(plain.batch(0)[2], 0.25)
    _, its_labels, found, _ = balanced.batch(0)
    assert found.sum() == pytest.approx(1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, weights[its_labels] / weights[its_labels].sum(), rtol=1e-6)
    assert len(set(its_labels)) == 2


def test_validation_images_are_looked_at_whole_and_plain() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(0, 30, (16, 3)).astype(np.float32)  # large: exponentials would overflow
    labels = rng.integers(0, 3, 16).astype(np.int32)
    trainer = types.SimpleNamespace(recipe=RECIPE, logits=lambda numbers: table[numbers])
    inputs, chosen = Memory(), (15, 3, 8, 0, 11, 7)
    loss, accuracy = evaluate(trainer, inputs, chosen, labels)
    assert inputs.plain == list(chosen)
    wide = table[list(chosen)].astype(np.float64)
    target = labels[list(chosen)]
    losses = [np.logaddexp.reduce(row) - row[label] for row, label in zip(wide, target, strict=True)]
    assert loss == pytest.approx(np.mean(losses))
    assert accuracy == pytest.approx(np.mean(wide.argmax(1) == target))


def real(batch_norm: str = MOVING, steps: int = 9, rate: float = 0.02) -> Job:
    pixels, labels = images(24)
    recipe = Recipe(steps, 5, rate, augment="light", flip=True, batch_norm=batch_norm, evaluate_every=2, patience=steps)
    trainer = Trainer(tiny(folded=batch_norm == FROZEN), recipe)
    weights = np.linspace(0.5, 2, CLASSES).astype(np.float32)
    return Job(trainer, recipe, Memory(pixels), labels, tuple(range(16)), tuple(range(16, 24)), weights, 3)


@pytest.mark.parametrize("batch_norm", [FROZEN, MOVING])
def test_a_real_run_in_pieces_is_the_same_to_the_last_bit(tmp_path: Path, batch_norm: str) -> None:
    whole = real(batch_norm)
    expected = fit(whole, SILENT)
    job, outcome = in_pieces(lambda: real(batch_norm), tmp_path, [2, 5])
    assert expected.best["step"] > 0
    assert without_time(outcome.rows) == without_time(expected.rows)
    for one, other in zip(snapshot(job.trainer.trainable.state), snapshot(whole.trainer.trainable.state), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_network_gives_what_its_best_row_says() -> None:
    job = real()
    outcome = fit(job, SILENT)
    loss, accuracy = evaluate(job.trainer, job.inputs, job.val, job.labels)
    assert (loss, accuracy) == (outcome.best["val_loss"], outcome.best["val_accuracy"])
