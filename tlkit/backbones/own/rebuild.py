"""Rebuild the user's ``.keras`` file as a flat network from RGB pixels 0..255 to feature maps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tlkit.backbones.catalog.table import Backbone
from tlkit.backbones.own.keras_file import check_file_size, existing_model
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.stages import cut_positions
from tlkit.backbones.weights.archive import load_model
from tlkit.errors import TlkitError
from tlkit.files import file_hash

# ITU-R BT.601, as in Pillow's conversion to grey
_GREY = (0.299, 0.587, 0.114)
_POOLING = ("GlobalAveragePooling2D", "GlobalMaxPooling2D", "Flatten", "Mean", "Max")
# names of the layers that are added after the network
_HEAD = "head_pool"
_TAKEN = ("feature_maps", "head_features", "logits", "probabilities")


def model_from_file(backbone: Backbone, size: int) -> Any:
    """Return the network of a file with its weights, but without its classifier.

    It is rebuilt layer by layer: nested models are flattened, layers of random augmentation are removed, and everything
    after the last feature map is cut off. For a network that takes grey images, RGB is converted to grey.

    Args:
        backbone: From `tlkit.backbones.own.keras_file.file_backbone`.
        size: Side of the square input in pixels.

    Returns:
        Flat functional ``keras.Model``, float32 [batch, size, size, 3] (RGB, 0..255) to the last feature map, float32
        [batch, h, w, channels]. All layers are trainable and have Keras's current precision.

    Raises:
        TlkitError: The file is gone or has changed, Keras cannot load it without running code in it, or the network
            cannot take that size, uses a layer twice, or has no feature maps.
    """
    check_file_size(backbone, size)
    keras = import_keras()
    loaded = _loaded(backbone)
    image = keras.Input((size, size, 3), dtype="float32", name="image")
    prepared = _prepared(image, backbone, loaded)
    copier = _Copier(backbone, [operation.name for operation in keras.Model(image, prepared).operations])
    try:
        whole = keras.Model(image, copier.run(loaded, prepared))
    except (ValueError, TypeError, NotImplementedError, ArithmeticError) as error:
        raise _unfit(backbone, size, error) from error
    model = keras.Model(image, _maps(backbone, whole), name=_valid(backbone.name))
    for old, new in copier.pairs:
        if old.weights and any(new is layer for layer in model.layers):
            try:
                new.set_weights(old.get_weights())
            except ValueError as error:
                raise _unfit(backbone, size, error) from error
        if hasattr(new, "finalize_state"):  # Normalization derives constants from its weights
            new.finalize_state()
    return model


def without_head(model: Any) -> Any:
    """Return a network without the head of `tlkit.linear.classifier`: up to the deepest feature map that it pools.

    A network without such a head is returned as it is.
    """
    kind = import_keras().layers.GlobalAveragePooling2D
    layers = getattr(model, "layers", ())
    pools = [layer for layer in layers if layer.name.startswith(_HEAD) and isinstance(layer, kind)]
    if not pools:
        return model
    order = {operation.name: position for position, operation in enumerate(model.operations)}
    # Keras has no public name for the origin of a tensor
    deepest = max((pool.input for pool in pools), key=lambda tensor: order[tensor._keras_history.operation.name])
    return import_keras().Model(model.input, deepest)


def _loaded(backbone: Backbone) -> Any:
    """Load the network of a file with Keras; the network of a bundle without its head."""
    file = existing_model(backbone.file)
    if file_hash(file) != backbone.digest:
        raise TlkitError(f"'{file}' has changed since it was read", "start again")
    model = load_model(file)
    if any(getattr(layer, "quantization_mode", None) for layer in model.layers):
        raise TlkitError(f"'{file}' is quantized, and quantized networks cannot be trained", "save it unquantized")
    return without_head(model)


def _prepared(image: Any, backbone: Backbone, loaded: Any) -> Any:
    """Return the network's input: preprocessed pixels with the right number of channels."""
    from tlkit.backbones.preprocessing import preprocess

    keras = import_keras()
    tensor = preprocess(image, backbone.preprocessing)
    if loaded.inputs[0].shape[-1] == 1:
        parts = keras.layers.Rescaling(list(_GREY), name="grey_parts")(tensor)
        tensor = keras.ops.sum(parts, axis=-1, keepdims=True)
    return tensor


class _Copier:
    """Applies copies of a model's operations to another input, each once.

    Args:
        backbone: The backbone, for messages.
        names: Names of operations that already exist.
    """

    def __init__(self, backbone: Backbone, names: Iterable[str]) -> None:
        self.backbone = backbone
        self.pairs: list[tuple[Any, Any]] = []
        self._names = {*_TAKEN, *names}
        self._seen: set[int] = set()

    def run(self, model: Any, tensor: Any) -> Any:
        """Apply a functional or sequential model, with nested models flattened, to a Keras tensor."""
        keras = import_keras()
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                tensor = self._call(layer, tensor)
            return tensor
        # Keras has no public method to walk a graph, and cloning a model on a tensor inside another cuts the graph.
        return model._run_through_graph([tensor], operation_fn=lambda operation: operation, call_fn=self._call)

    def _call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        keras = import_keras()
        if isinstance(operation, keras.Model):
            return self.run(operation, args[0])
        if isinstance(operation, keras.layers.InputLayer) or _is_random(operation):
            return args[0]
        if id(operation) in self._seen:
            raise TlkitError(
                f"'{self.backbone.file}' uses its layer {operation.name} more than once",
                "a backbone must use each layer only once",
            )
        self._seen.add(id(operation))
        copy = self._copy(operation)
        return copy(*args, **kwargs)

    def _copy(self, operation: Any) -> Any:
        """Return a copy without weights, under a unique name."""
        config = operation.get_config()
        if isinstance(operation, import_keras().layers.Layer):
            config.pop("dtype", None)  # training sets the precision
            config |= {"name": self._free(operation.name), "trainable": True}
            copy = type(operation).from_config(config)
            self.pairs.append((operation, copy))
            return copy
        copy = type(operation).from_config(config)
        copy.name = self._free(operation.name)
        return copy

    def _free(self, name: str) -> str:
        wanted = name = _valid(name)
        number = 0
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name


def _is_random(operation: Any) -> bool:
    """Return whether an operation only augments images in training. RandomCrop also crops outside of training."""
    kind = type(operation).__name__
    return kind.startswith("Rand") and kind != "RandomCrop"


def _valid(name: str) -> str:
    """Return a name that TensorFlow and the LiteRT converter accept, and that does not look like a head's layer."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return f"own{name}" if name.startswith("_") else f"own_{name}" if name.startswith(_HEAD) else name


def _maps(backbone: Backbone, whole: Any) -> Any:
    """Return the last feature map before pooling and classifier that all paths pass, as a layer's output."""
    keras = import_keras()
    operations = list(whole.operations)
    found, weighted = None, False
    cuts = set(cut_positions(operations))
    for position, operation in enumerate(operations):
        weighted = weighted or bool(getattr(operation, "trainable_weights", ()))
        if position not in cuts:
            continue
        if type(operation).__name__ in _POOLING or _pools_all(operation):
            if found is not None:
                break
            continue
        shape = getattr(operation.output, "shape", ())
        if weighted and len(shape) == 4 and None not in shape[1:]:
            found = operation
    if found is None:
        hint = "it needs convolutions before its pooling or dense layers"
        raise TlkitError(f"'{backbone.file}' has no feature maps", hint)
    for operation in operations[operations.index(found) + 1 :]:
        if "Conv" in type(operation).__name__ and tuple(operation.input.shape[1:3]) != (1, 1):
            raise TlkitError(
                f"'{backbone.file}' branches after {found.name}, and its paths do not all join in one feature map",
                "save keras.Model(model.input, its LAST FEATURE MAP)",
            )
    if isinstance(found, keras.layers.Layer):
        return found.output
    return keras.layers.Activation("linear", name="feature_maps")(found.output)  # a stage ends at a layer


def _pools_all(operation: Any) -> bool:
    """Return whether an operation averages over the whole feature map."""
    if type(operation).__name__ != "AveragePooling2D":
        return False
    before, after = operation.input.shape, operation.output.shape
    return tuple(after[1:3]) == (1, 1) != tuple(before[1:3])


def _unfit(backbone: Backbone, size: int, error: Exception) -> TlkitError:
    reason = " ".join(str(error).split())[:120]
    return TlkitError(f"{backbone.name} cannot take {size}x{size} pixels: {reason}", "see --image-size")
