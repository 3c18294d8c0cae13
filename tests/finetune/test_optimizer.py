"""The fused optimizer does what Keras's own does."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.backbones.runtime import import_keras, import_tensorflow
from tlkit.finetune.optimizer import AdamW
from tlkit.finetune.trainable import Group


def variables(seed: int) -> list[object]:
    keras = import_keras()
    rng = np.random.default_rng(seed)
    shapes = ((3, 3, 2, 4), (4,), (5, 7), (7,))
    return [keras.Variable(rng.normal(0, 1, shape).astype(np.float32), name=f"v{i}") for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("epsilon", [1e-7, 1e-3])
def test_it_agrees_with_the_optimizer_of_keras(decay: float, epsilon: float) -> None:
    tf, keras = import_tensorflow(), import_keras()
    ours, theirs = variables(1), variables(1)
    groups = [Group(1.0, (ours[0],), (ours[1],)), Group(0.5, (ours[2],), (ours[3],))]
    fused = AdamW(groups, decay, epsilon)
    references = []
    for group, part in zip(groups, (theirs[:2], theirs[2:]), strict=True):
        optimizer = keras.optimizers.AdamW(weight_decay=decay, epsilon=epsilon)
        optimizer.exclude_from_weight_decay(var_list=[part[1].value])
        references.append((optimizer, group.rate, part))
    rng = np.random.default_rng(0)
    for step in range(30):
        rate = 0.02 * (1 + step % 3)
        gradients = [tf.constant(rng.normal(0, 10.0 ** (i - 3), each.shape), tf.float32) for i, each in enumerate(ours)]
        fused.apply(gradients, tf.constant(rate, tf.float32))
        for number, (optimizer, share, part) in enumerate(references):
            optimizer.learning_rate.assign(rate * share)
            optimizer.apply(gradients[2 * number : 2 * number + 2], part)
    assert fused.steps == 30
    for one, other, start in zip(ours, theirs, variables(1), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5)
        assert np.abs(one.numpy() - start.numpy()).max() > 0.02


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_l2_sp_takes_weights_back_to_where_they_started(share: float) -> None:
    """Towards their own start, not towards zero; without gradients the distance shrinks by rate times strength."""
    tf = import_tensorflow()
    found = variables(3)
    fused = AdamW([Group(share, tuple(found[:2]), tuple(found[2:]))], 0.0, 1e-7, l2_sp=5.0)
    starts = [each.numpy() for each in found]
    for each, start in zip(found, starts, strict=True):
        each.assign(start + 2.0)
    nothing = [tf.zeros(each.shape) for each in found]
    for step in range(1, 4):
        fused.apply(nothing, tf.constant(0.1, tf.float32))
        for each, start in zip(found, starts, strict=True):
            np.testing.assert_allclose(each.numpy() - start, 2 * (1 - 0.5 * share) ** step, rtol=1e-5)


def test_its_variables_are_all_that_it_changes_beside_those_trained() -> None:
    tf = import_tensorflow()
    found = variables(2)
    fused = AdamW([Group(1.0, tuple(found[:2]), tuple(found[2:]))], 0.01, 1e-7)
    gradients = [tf.ones(each.shape) for each in found]
    kept = [each.numpy() for each in (*found, *fused.variables)]
    fused.apply(gradients, tf.constant(0.1))
    first = [each.numpy() for each in (*found, *fused.variables)]
    for each, value in zip((*found, *fused.variables), kept, strict=True):
        each.assign(value)
    fused.apply(gradients, tf.constant(0.1))
    for each, value in zip((*found, *fused.variables), first, strict=True):
        np.testing.assert_array_equal(each.numpy(), value)
    assert len(fused.variables) == 1 + 2 * len(found)
