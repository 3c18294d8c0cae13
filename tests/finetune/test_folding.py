"""Convolution and BatchNorm in one: the same answers, the same gradients, the same variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlkit.backbones.runtime import import_keras, import_tensorflow
from tlkit.finetune.folding import fold
from tlkit.finetune.hardware import BFLOAT16, computing_in

keras = import_keras()
tf = import_tensorflow()
layers = keras.layers


def shuffled(model: Any, seed: int = 0) -> Any:
    """The model with all its variables random, variances positive."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        values = rng.normal(size=variable.shape)
        variable.assign(np.abs(values) + 0.5 if "variance" in variable.path else values)
    return model


def pixels(side: int = 9, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, side, side, 3)).astype(np.float32)


def layer_names(model: Any) -> list[str]:
    return [type(each).__name__ for each in model.layers]


def answer(model: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(model(x, training=False))


def gradients(model: Any, variables: list[Any], x: np.ndarray) -> list[np.ndarray]:
    values = [each.value for each in variables]
    with tf.GradientTape() as tape:
        result = model(x, training=False)
        weights = np.random.default_rng(2).normal(size=result.shape).astype(np.float32)
        loss = tf.reduce_mean(tf.tanh(result) * weights)
    found = tape.gradient(loss, values)
    assert all(each is not None for each in found)
    return [np.asarray(each) for each in found]


def assert_same(model: Any, folded: Any, x: np.ndarray) -> None:
    expected = answer(model, x)
    np.testing.assert_allclose(answer(folded, x), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def pair(
    depthwise: bool = False,
    bias: bool = True,
    gamma: bool = True,
    beta: bool = True,
    strides: int = 1,
    padding: str = "same",
    multiplier: int = 1,
) -> Any:
    x = image = keras.Input((9, 9, 3))
    options: dict[str, Any] = {"strides": strides, "padding": padding, "use_bias": bias}
    if depthwise:
        x = layers.DepthwiseConv2D(3, depth_multiplier=multiplier, **options)(x)
    else:
        x = layers.Conv2D(4, 3, **options)(x)
    x = layers.BatchNormalization(scale=gamma, center=beta, epsilon=1e-2)(x)
    return shuffled(keras.Model(image, layers.ReLU()(x)))


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("bias", "gamma", "beta"), [(True, True, True), (False, True, True), (True, False, False)])
@pytest.mark.parametrize(("strides", "padding"), [(1, "same"), (2, "same"), (2, "valid")])
def test_a_pair_becomes_one_with_the_same_answers_and_gradients(
    depthwise: bool, bias: bool, gamma: bool, beta: bool, strides: int, padding: str
) -> None:
    model = pair(depthwise, bias, gamma, beta, strides, padding)
    folded, x = fold(model), pixels()
    assert "BatchNormalization" not in layer_names(folded)
    assert "Folded" in layer_names(folded)
    assert_same(model, folded, x)
    trained = model.trainable_variables
    assert len(trained) == 1 + bias + gamma + beta
    for ours, theirs in zip(gradients(folded, trained, x), gradients(model, trained, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("gamma", "beta"), [(True, False), (False, True)])
def test_a_norm_may_have_one_parameter(gamma: bool, beta: bool) -> None:
    model = pair(gamma=gamma, beta=beta)
    assert_same(model, fold(model), pixels())


def test_several_filters_a_channel() -> None:
    model = pair(depthwise=True, multiplier=2)
    folded = fold(model)
    assert "Folded" in layer_names(folded)
    assert_same(model, folded, pixels())


def test_variables_are_shared() -> None:
    model = pair()
    folded, x = fold(model), pixels()
    assert {id(each) for each in folded.variables} == {id(each) for each in model.variables}
    before = answer(folded, x)
    for variable in model.variables:
        old = np.array(variable)
        variable.assign(old + 1)
        assert np.abs(answer(folded, x) - before).max() > 1e-3, variable.path
        variable.assign(old)
    np.testing.assert_array_equal(answer(folded, x), before)


def test_a_deeper_network_with_branches() -> None:
    x = image = keras.Input((9, 9, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(x)))
    inner = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    inner = layers.Activation("swish")(inner)
    inner = layers.BatchNormalization()(layers.Conv2D(4, 1, use_bias=False)(inner))
    x = layers.Add()([x, inner])
    outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    model = shuffled(keras.Model(image, outputs))
    folded, x = fold(model), pixels()
    assert layer_names(folded).count("Folded") == 3
    assert "BatchNormalization" not in layer_names(folded)
    assert_same(model, folded, x)
    trained = model.trainable_variables
    for ours, theirs in zip(gradients(folded, trained, x), gradients(model, trained, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_a_part_that_starts_within_a_network() -> None:
    x = image = keras.Input((9, 9, 3))
    x = middle = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(x)))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(5, 3)(x)))
    model = shuffled(keras.Model(image, x))
    part = fold(keras.Model(middle, x))
    assert layer_names(part).count("Folded") == 1
    between = answer(keras.Model(image, middle), pixels())
    np.testing.assert_allclose(answer(part, between), answer(model, pixels()), rtol=1e-4, atol=1e-4)


def used_twice(x: Any) -> Any:
    x = layers.Conv2D(4, 3, padding="same")(x)
    return layers.Add()([layers.BatchNormalization()(x), x])


def two_norms(x: Any) -> Any:
    x = layers.Conv2D(4, 3, padding="same")(x)
    return layers.Add()([layers.BatchNormalization()(x), layers.BatchNormalization()(x)])


def ends_too(x: Any) -> Any:
    x = layers.Conv2D(4, 3, padding="same")(x)
    return [x, layers.BatchNormalization()(x)]


def grouped(x: Any) -> Any:
    return layers.BatchNormalization()(layers.Conv2D(6, 3, groups=3, padding="same")(x))


def dilated(x: Any) -> Any:
    return layers.BatchNormalization()(layers.Conv2D(4, 3, dilation_rate=2, padding="same")(x))


def dilated_depthwise(x: Any) -> Any:
    return layers.BatchNormalization()(layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x))


def active(x: Any) -> Any:
    return layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(x))


def over_rows(x: Any) -> Any:
    return layers.BatchNormalization(axis=1)(layers.Conv2D(9, 3, padding="same")(x))


def something_between(x: Any) -> Any:
    return layers.BatchNormalization()(layers.ReLU()(layers.Conv2D(4, 3)(x)))


def transposed(x: Any) -> Any:
    return layers.BatchNormalization()(layers.Conv2DTranspose(4, 3)(x))


def separable(x: Any) -> Any:
    return layers.BatchNormalization()(layers.SeparableConv2D(4, 3)(x))


def norm_first(x: Any) -> Any:
    return layers.Conv2D(4, 3)(layers.BatchNormalization()(x))


def other_norm(x: Any) -> Any:
    return layers.LayerNormalization()(layers.Conv2D(4, 3)(x))


@pytest.mark.parametrize(
    "build",
    [
        used_twice,
        two_norms,
        ends_too,
        grouped,
        dilated,
        dilated_depthwise,
        active,
        over_rows,
        something_between,
        transposed,
        separable,
        norm_first,
        other_norm,
    ],
    ids=lambda build: build.__name__,
)
def test_what_is_not_one_is_left_as_it_is(build: Any) -> None:
    """Each network has a pair that folds too, so that the rest is really copied."""
    x = image = keras.Input((9, 9, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same")(x)))
    model = shuffled(keras.Model(image, build(x)))
    folded = fold(model)
    assert layer_names(folded).count("Folded") == 1
    theirs, ours = (keras.tree.flatten(each(pixels(), training=False)) for each in (model, folded))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-4, atol=1e-4)


def test_where_there_is_nothing_to_fold_the_network_is_the_same_one() -> None:
    image = keras.Input((9, 9, 3))
    model = keras.Model(image, layers.Conv2D(2, 3)(image))
    assert fold(model) is model


def test_an_identity_of_the_networks_own_stays() -> None:
    image = keras.Input((9, 9, 3))
    x = layers.Identity()(layers.BatchNormalization()(layers.Conv2D(4, 3)(image)))
    model = shuffled(keras.Model(image, layers.ReLU()(x)))
    assert_same(model, fold(model), pixels())


def test_in_bfloat16_it_computes_so_and_its_variables_stay_float32() -> None:
    with computing_in(BFLOAT16):
        model = pair(bias=False)
    folded = fold(model)
    assert {each.dtype for each in folded.variables} == {"float32"}
    result = folded(pixels(), training=False)
    assert result.dtype == tf.bfloat16
    expected = np.asarray(tf.cast(model(pixels(), training=False), tf.float32))
    np.testing.assert_allclose(
        np.asarray(tf.cast(result, tf.float32)), expected, atol=0.03 * np.abs(expected).max(), rtol=0.1
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.cast(folded(pixels(), training=False), tf.float32))
    found = tape.gradient(loss, [each.value for each in model.trainable_variables])
    assert all(each.dtype == tf.float32 for each in found)
