"""Fold BatchNorm with frozen statistics into the preceding convolution during training.

With frozen statistics, BatchNorm is a factor and an offset per channel. Both can be folded into the kernel instead of
being applied to every pixel. The output and the gradients of kernel, gamma and beta stay the same; on a CPU it is
faster and takes less memory (figures: benchmarks/README.md, `tune_speed.py`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tlkit.backbones.runtime import import_keras, import_tensorflow


def fold(model: Any) -> Any:
    """Fold every BatchNorm of a network into the convolution before it.

    Args:
        model: Functional ``keras.Model``.

    Returns:
        A ``keras.Model`` that shares all variables with ``model`` and returns the same in inference mode.
    """
    keras = import_keras()
    pairs = _pairs(model)
    folded, gone = _folded_layer(keras), {norm.name for norm in pairs.values()}

    def copy(layer: Any) -> Any:
        if layer.name in pairs:
            return folded(layer, pairs[layer.name])
        return keras.layers.Identity() if layer.name in gone else layer

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.layers.Identity):
            return args[0]
        return layer(args[0]) if isinstance(layer, folded) else layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=copy, call_function=call) if pairs else model


def _pairs(model: Any) -> dict[str, Any]:
    """Map the name of each convolution to the BatchNorm that is its only consumer."""
    keras = import_keras()
    operations = list(model.operations)
    followers: Counter[str] = Counter()
    for operation in operations:
        if not isinstance(operation, keras.layers.InputLayer):
            # Keras has no public attribute for the layer that produced a tensor
            followers.update(each._keras_history.operation.name for each in keras.tree.flatten(operation.input))
    ends = {tensor._keras_history.operation.name for tensor in keras.tree.flatten(model.output)}
    pairs = {}
    for norm in operations:
        if type(norm) is not keras.layers.BatchNormalization or norm.axis not in (-1, 3):
            continue
        conv = norm.input._keras_history.operation
        if _is_plain(conv) and followers[conv.name] == 1 and conv.name not in ends:
            pairs[conv.name] = norm
    return pairs


def _is_plain(layer: Any) -> bool:
    keras = import_keras()
    return (
        type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
        and layer.data_format == "channels_last"
        and getattr(layer, "groups", 1) == 1
        and tuple(layer.dilation_rate) == (1, 1)
        and len(set(layer.strides)) == 1
        and layer.activation is keras.activations.linear
        and layer.padding in ("same", "valid")
    )


def _folded_layer(keras: Any) -> Any:
    """Define the layer class, which requires that Keras is imported."""
    tf = import_tensorflow()

    class Folded(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, conv: Any, norm: Any) -> None:
            super().__init__(dtype=conv.dtype_policy)
            self.conv, self.norm = conv, norm
            self.depthwise = isinstance(conv, keras.layers.DepthwiseConv2D)
            self.built = True

        def call(self, x: Any) -> Any:
            conv, norm = self.conv, self.norm
            scale = tf.math.rsqrt(tf.cast(norm.moving_variance, tf.float32) + norm.epsilon)
            if norm.scale:
                scale *= norm.gamma
            offset = -norm.moving_mean * scale
            if norm.center:
                offset += norm.beta
            if conv.use_bias:
                offset += conv.bias * scale
            kernel = conv.kernel * (tf.reshape(scale, conv.kernel.shape[2:]) if self.depthwise else scale)
            run = tf.nn.depthwise_conv2d if self.depthwise else tf.nn.conv2d
            result = run(x, tf.cast(kernel, x.dtype), (1, *conv.strides, 1), conv.padding.upper())
            return tf.nn.bias_add(result, tf.cast(offset, x.dtype))

    return Folded
