"""One step of fine-tuning, on a network of two convolutions."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlkit.backbones.runtime import import_keras, import_tensorflow
from tlkit.finetune.augmentation import draw
from tlkit.finetune.folding import fold
from tlkit.finetune.step import Trainer, restore, snapshot
from tlkit.finetune.trainable import Group, Trainable
from tlkit.plan.recipe import FROZEN, MOVING, Recipe

Patch = pytest.MonkeyPatch
SIDE, CLASSES = 16, 3
RECIPE = Recipe(steps=20, batch_size=7, learning_rate=1e-2, augment="none", batch_norm=FROZEN, clip=1e6, epsilon=1e-7)


def tiny(folded: bool = False, rates: tuple[float, float] = (1.0, 0.5), seed: int = 0) -> Trainable:
    """A network whose head and second convolution are trained and whose first one is not; random statistics."""
    keras = import_keras()
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 64, -2)(image)
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False, name="lower")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="lower_norm")(x))
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="upper")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="upper_norm")(x))
    logits = layers.Dense(CLASSES, name="logits")(layers.GlobalAveragePooling2D()(x))
    part = keras.Model(image, logits)
    rng = np.random.default_rng(seed)
    for variable in part.variables:
        if "norm" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        else:
            variable.assign(rng.normal(0, 0.3, variable.shape))
    head, upper, norm = (part.get_layer(name) for name in ("logits", "upper", "upper_norm"))
    groups = (
        Group(rates[0], (head.kernel,), (head.bias,)),
        Group(rates[1], (upper.kernel,), (norm.gamma, norm.beta)),
    )
    model = keras.Model(image, layers.Softmax()(logits))
    return Trainable(model, fold(part) if folded else part, groups, None, False)


def images(count: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise, tinted by class."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    pixels = rng.integers(0, 120, (count, SIDE, SIDE, 3)) + 120 * np.eye(3, dtype=np.int64)[labels][:, None, None]
    return pixels.astype(np.uint8), labels


def batch(count: int = 7, step: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    pixels, labels = images(count, step)
    weights = np.random.default_rng(step).uniform(0.5, 2, count)
    return pixels, labels, (weights / weights.sum()).astype(np.float32), draw(count, 0, step)


def by_path(variables: list[Any]) -> dict[str, np.ndarray]:
    return {each.path: np.array(each) for each in variables}


def trained(trainer: Trainer, steps: int = 5, count: int = 7) -> list[np.ndarray]:
    for step in range(steps):
        trainer.step(*batch(count, step), 0.01)
    return snapshot(trainer.trainable.state)


def assert_close(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("folded", [False, True])
def test_steps_lower_the_loss(folded: bool) -> None:
    trainer = Trainer(tiny(folded), RECIPE)
    found = [trainer.step(*batch(), 0.02) for _ in range(40)]
    assert found[-1][0] < 0.5 * found[0][0]
    assert found[-1][1] == 1.0
    assert trainer.logits(batch()[0]).argmax(1).tolist() == batch()[1].tolist()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_weighted_cross_entropy_before_the_step(smoothing: float) -> None:
    trainer = Trainer(tiny(), replace(RECIPE, label_smoothing=smoothing))
    pixels, labels, weights, draws = batch()
    logits = trainer.logits(pixels).astype(np.float64)
    log_shares = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = np.eye(CLASSES)[labels] * (1 - smoothing) + smoothing / CLASSES
    expected = float((weights * -(target * log_shares).sum(1)).sum())
    loss, accuracy = trainer.step(pixels, labels, weights, draws, 0.01)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert accuracy == pytest.approx(float((logits.argmax(1) == labels).mean()))


def test_augmentation_is_for_training_alone_and_by_its_numbers() -> None:
    losses = {}
    pixels, labels, weights, draws = batch()
    for kind, numbers in (("none", draws), ("light", draws), ("light", draws), ("light", draw(7, 0, 99))):
        trainer = Trainer(tiny(), replace(RECIPE, augment=kind))
        before = trainer.logits(pixels)
        loss, _ = trainer.step(pixels, labels, weights, numbers, 0.0)
        losses.setdefault((kind, numbers[0, 0]), set()).add(loss)
        np.testing.assert_array_equal(trainer.logits(pixels), before)
    assert [len(each) for each in losses.values()] == [1, 1, 1]
    assert len(set.union(*losses.values())) == 3


def test_stored_outputs_are_not_augmented() -> None:
    found = []
    for kind in ("none", "strong"):
        trainer = Trainer(replace(tiny(), split=True), replace(RECIPE, augment=kind))
        pixels, *rest = batch()
        found.append(trainer.step(pixels.astype(np.float16), *rest, 0.0)[0])
    assert found[0] == found[1]


@pytest.mark.parametrize("folded", [False, True])
def test_frozen_statistics_stay_as_they_are_to_the_last_bit(folded: bool) -> None:
    trainer = Trainer(tiny(folded), RECIPE)
    before = by_path(trainer.trainable.model.variables)
    trained(trainer)
    after = by_path(trainer.trainable.model.variables)
    moving = [path for path in before if "moving" in path]
    assert len(moving) == 4
    for path in moving:
        np.testing.assert_array_equal(after[path], before[path])


def test_moving_statistics_move() -> None:
    trainer = Trainer(tiny(), replace(RECIPE, batch_norm=MOVING))
    before = by_path(trainer.trainable.model.variables)
    trained(trainer, 2)
    after = by_path(trainer.trainable.model.variables)
    assert all(np.abs(after[path] - before[path]).max() > 1e-4 for path in before if "moving" in path)


@pytest.mark.parametrize("batch_norm", [FROZEN, MOVING])
def test_what_is_in_no_group_stays_as_it_is_and_all_else_changes(batch_norm: str) -> None:
    trainer = Trainer(tiny(folded=batch_norm == FROZEN), replace(RECIPE, batch_norm=batch_norm, weight_decay=0.5))
    before = by_path(trainer.trainable.model.variables)
    trained(trainer)
    after = by_path(trainer.trainable.model.variables)
    chosen = {each.path for each in trainer.trainable.variables}
    assert len(chosen) == 5
    for path in before:
        if "moving" not in path:
            assert np.array_equal(after[path], before[path]) == (path not in chosen), path


def test_a_group_has_its_share_of_the_rate() -> None:
    """Adam's first step is about the rate, whatever the gradient."""
    trainer = Trainer(tiny(rates=(1.0, 0.25)), replace(RECIPE, weight_decay=0.0))
    before = snapshot(trainer.trainable.variables)
    trainer.step(*batch(), 0.01)
    moved = [np.abs(a - b).max() for a, b in zip(snapshot(trainer.trainable.variables), before, strict=True)]
    np.testing.assert_allclose(moved, [0.01, 0.01, 0.0025, 0.0025, 0.0025], rtol=0.02)


def test_a_group_without_a_rate_stays_as_it_is() -> None:
    trainer = Trainer(tiny(rates=(1.0, 0.0)), replace(RECIPE, weight_decay=0.5))
    head, upper = trainer.trainable.groups
    before = snapshot([*upper.decayed, *upper.plain]), snapshot(head.decayed)
    trained(trainer)
    for one, other in zip(snapshot([*upper.decayed, *upper.plain]), before[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(snapshot(head.decayed)[0] - before[1][0]).max() > 0.01


def test_only_kernels_decay_and_each_at_its_groups_rate(monkeypatch: Patch) -> None:
    tf = import_tensorflow()
    trainer = Trainer(tiny(rates=(1.0, 0.5)), replace(RECIPE, weight_decay=0.5))
    nothing = [tf.zeros(each.shape) for each in trainer.trainable.variables]
    monkeypatch.setattr(trainer, "_gradients_of", lambda *arrays: (nothing, tf.constant(0.0), tf.constant(0.0)))
    before = [(snapshot(group.decayed), snapshot(group.plain)) for group in trainer.trainable.groups]
    trainer.step(*batch(), 0.1)
    for group, (decayed, plain) in zip(trainer.trainable.groups, before, strict=True):
        for one, other in zip(snapshot(group.decayed), decayed, strict=True):
            np.testing.assert_allclose(one, other * (1 - 0.5 * 0.1 * group.rate), rtol=1e-5)
        for one, other in zip(snapshot(group.plain), plain, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_gradients_norm_over_all_groups_is_bounded() -> None:
    clip = 1e-3
    trainer = Trainer(tiny(), replace(RECIPE, clip=clip))
    trainer.step(*batch(), 0.01)
    momentums = [each for each in trainer.state() if "momentum" in each.path]
    assert len(momentums) == len(trainer.trainable.variables)
    # after one step Adam's first moment is a tenth of the gradient
    norm = np.sqrt(sum(float((each**2).sum()) for each in snapshot(momentums)))
    assert norm == pytest.approx(0.1 * clip, rel=1e-3)


@pytest.mark.parametrize("most", [1, 3, 50])
def test_a_batch_in_parts_gives_the_same(most: int) -> None:
    recipe = replace(RECIPE, augment="light", flip=True)
    whole, parts = Trainer(tiny(), recipe), Trainer(tiny(), recipe)
    parts._most = most
    ours, theirs = parts._accumulate(*batch()), whole._accumulate(*batch())
    assert_close([np.asarray(each) for each in ours[0]], [np.asarray(each) for each in theirs[0]])
    assert float(ours[1]) == pytest.approx(float(theirs[1]), rel=1e-5)
    assert float(ours[2]) == float(theirs[2])
    assert_close(trained(parts), trained(whole))


def short_of_memory(trainer: Trainer, monkeypatch: Patch, most: int) -> list[int]:
    """Let the trainer run out of memory where it takes more images at once; gives the sizes it tried."""
    error = import_tensorflow().errors.ResourceExhaustedError
    gradients_of, sizes = trainer._gradients_of, []

    def limited(inputs: Any, *rest: Any) -> Any:
        sizes.append(len(inputs))
        if len(inputs) > most:
            raise error(None, None, "OOM when allocating tensor")
        return gradients_of(inputs, *rest)

    monkeypatch.setattr(trainer, "_gradients_of", limited)
    return sizes


def test_out_of_memory_halves_the_batch_and_gives_the_same(monkeypatch: Patch) -> None:
    lines: list[str] = []
    trainer, plenty = Trainer(tiny(), RECIPE, tell=lines.append), Trainer(tiny(), RECIPE)
    sizes = short_of_memory(trainer, monkeypatch, 2)
    figures = [trainer.step(*batch(12, step), 0.01) for step in range(3)]
    expected = [plenty.step(*batch(12, step), 0.01) for step in range(3)]
    np.testing.assert_allclose(figures, expected, rtol=1e-4)
    assert_close(snapshot(trainer.trainable.state), snapshot(plenty.trainable.state))
    assert sizes == [12, 6, 3, *[1] * 36]
    assert len(lines) == 3
    assert "1 image at a time" in lines[-1]
    assert "the batch size stays 12" in lines[-1]


def test_a_batch_is_halved_no_further_than_needed(monkeypatch: Patch) -> None:
    lines: list[str] = []
    trainer = Trainer(tiny(), RECIPE, tell=lines.append)
    sizes = short_of_memory(trainer, monkeypatch, 4)
    trainer.step(*batch(8), 0.01)
    assert sizes == [8, 4, 4]
    assert len(lines) == 1


def test_memory_too_small_for_one_image_is_said(monkeypatch: Patch) -> None:
    trainer = Trainer(tiny(), RECIPE)
    before = snapshot(trainer.state())
    short_of_memory(trainer, monkeypatch, 0)
    with pytest.raises(MemoryError):
        trainer.step(*batch(), 0.01)
    for one, other in zip(snapshot(trainer.state()), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_its_state_is_all_that_a_step_changes() -> None:
    trainer = Trainer(tiny(), replace(RECIPE, batch_norm=MOVING))
    trained(trainer, 2)
    kept = snapshot(trainer.state())
    first = trainer.step(*batch(7, 9), 0.01), trained(trainer, 3)
    restore(trainer.state(), kept)
    again = trainer.step(*batch(7, 9), 0.01), trained(trainer, 3)
    assert first[0] == again[0]
    for one, other in zip(first[1], again[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_values_that_were_kept_do_not_change_with_their_variables() -> None:
    trainer = Trainer(tiny(), RECIPE)
    kept = snapshot(trainer.trainable.variables)
    copies = [each.copy() for each in kept]
    trained(trainer, 1)
    for one, other in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError):
        restore(trainer.trainable.variables, kept[:-1])


REPLICAS = """
import sys
import numpy as np
from tlkit.backbones.runtime import import_tensorflow
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
import_tensorflow()
from dataclasses import replace
from finetune.test_step import RECIPE, Trainer, batch, by_path, tiny, trained
found = {}
recipe = replace(RECIPE, augment="light", flip=True, weight_decay=0.1, clip=1.0)
for name, most in (("one", None), ("two", None), ("parts", 2)):
    strategy = tf.distribute.get_strategy() if name == "one" else tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        trainable = tiny()
    trainer = Trainer(trainable, recipe, strategy)
    trainer._most = most
    assert strategy.num_replicas_in_sync == (1 if name == "one" else 2)
    figures = trainer.step(*batch(7, 77), 0.01)
    trained(trainer)
    found[name] = [np.asarray(figures, np.float32), *by_path(trainable.part.variables).values()]
np.savez(sys.argv[1], **{f"{name}{i}": each for name, values in found.items() for i, each in enumerate(values)})
"""


def test_two_devices_do_what_one_does(tmp_path: Path) -> None:
    """Also where a batch, or a part of it, cannot be divided evenly: the odd one leaves a replica without images."""
    tests = Path(__file__).resolve().parent.parent
    code = f"import sys; sys.path.insert(0, {str(tests)!r})\n{REPLICAS}"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "found.npz"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(tmp_path / "found.npz") as file:
        found = dict(file)
    count = len(found) // 3
    assert count == 1 + 12
    start = [np.zeros(2), *by_path(tiny().part.variables).values()]
    for i in range(count):
        np.testing.assert_allclose(found[f"two{i}"], found[f"one{i}"], atol=1e-5)
        np.testing.assert_allclose(found[f"parts{i}"], found[f"one{i}"], atol=1e-5)
    assert sum(np.abs(found[f"one{i}"] - start[i]).max() > 1e-3 for i in range(1, count)) == 5
