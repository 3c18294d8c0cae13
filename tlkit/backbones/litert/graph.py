"""Build, cut and extend networks in LiteRT's file format, a TensorFlow Lite flatbuffer.

It supports what a frozen backbone and its head need: a handful of operations in float32. Writing a file takes a
fraction of a second and no TensorFlow. So packaged networks, which have known layers, need no conversion, and all heads
share the conversion of their backbone. The format is defined by the schema in ``ai_edge_litert``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.litert.packing import packed, schema_of_files
from tlkit.errors import TlkitError

Array = NDArray[np.float32]
Tensor = int  # index in the graph
INPUT, FEATURES, PROBABILITIES = "image", "features", "probabilities"
_VERSION = 3


class Graph:
    """A network in LiteRT's format, with one float32 image input and any batch size.

    Args:
        data: A file to start from; None: an empty network.

    Raises:
        TlkitError: The file has several subgraphs or inputs, or is quantised, so tlkit did not write it.
    """

    def __init__(self, data: bytes | None = None) -> None:
        schema = self.schema = schema_of_files()
        if data is None:
            self.model = schema.ModelT()
            self.model.version, self.model.description = _VERSION, "tlkit"
            self.model.operatorCodes, self.model.signatureDefs, self.model.metadata = [], [], []
            self.model.buffers = [schema.BufferT()]  # the first is empty by convention
            self.model.subgraphs = [schema.SubGraphT()]
            self.graph = self.model.subgraphs[0]
            self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
            self.graph.name = "main"
            return
        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        self.graph = self.model.subgraphs[0]
        if len(self.model.subgraphs) != 1 or len(self.graph.inputs) != 1:
            raise TlkitError("not a network written by tlkit: it has several subgraphs or inputs")
        if self._is_quantised():
            raise TlkitError(
                "not a float32 network: it was quantised, so it cannot be cut, joined or converted",
                "start from the model.tflite of the bundle",
            )

    def _is_quantised(self) -> bool:
        """Return whether values are stored in fewer bits, or outside the tables that are read and written here."""
        types = self.schema.TensorType
        plain = {types.FLOAT32, types.INT32, types.INT64, types.BOOL}
        scaled = [each.quantization is not None and each.quantization.scale is not None for each in self.graph.tensors]
        outside = any(buffer.offset > 1 for buffer in self.model.buffers)
        return outside or any(scaled) or any(each.type not in plain for each in self.graph.tensors)

    def image(self, height: int, width: int) -> Tensor:
        """Add the input: float32 [n, height, width, 3], RGB, 0..255."""
        tensor = self._tensor(INPUT, (height, width, 3))
        self.graph.inputs = [tensor]
        return tensor

    def rescale(self, x: Tensor, scale: float, offset: float) -> Tensor:
        """Add ``scale * x + offset``."""
        s, shape = self.schema, self._shape(x)
        scaled = self._operation(s.BuiltinOperator.MUL, [x, self._constant(scale)], shape, s.MulOptionsT())
        return self._operation(s.BuiltinOperator.ADD, [scaled, self._constant(offset)], shape, s.AddOptionsT())

    def conv(self, x: Tensor, kernel: Array, bias: Array, *, stride: int = 1, relu6: bool = True) -> Tensor:
        """Add a convolution with padding "same"; ``kernel`` [h, w, in, out], ``bias`` [out]."""
        options = self.schema.Conv2DOptionsT()
        weights = self._constant(kernel.transpose(3, 0, 1, 2))
        code = self.schema.BuiltinOperator.CONV_2D
        return self._convolution(x, code, weights, bias, options, stride, relu6)

    def depthwise(self, x: Tensor, kernel: Array, bias: Array, *, stride: int = 1, relu6: bool = True) -> Tensor:
        """Add a depthwise convolution with padding "same"; ``kernel`` [h, w, channels, 1], ``bias`` [channels]."""
        options = self.schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
        weights = self._constant(kernel.transpose(3, 0, 1, 2))
        code = self.schema.BuiltinOperator.DEPTHWISE_CONV_2D
        return self._convolution(x, code, weights, bias, options, stride, relu6)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Add the sum of two feature maps of the same shape."""
        return self._operation(self.schema.BuiltinOperator.ADD, [x, y], self._shape(x), self.schema.AddOptionsT())

    def pool(self, x: Tensor) -> Tensor:
        """Add global average pooling: [n, h, w, c] to [n, c]."""
        options = self.schema.ReducerOptionsT()
        options.keepDims = False
        inputs = [x, self._constant(np.array([1, 2], dtype=np.int32))]
        return self._operation(self.schema.BuiltinOperator.MEAN, inputs, self._shape(x)[2:], options)

    def concatenate(self, parts: Sequence[Tensor], name: str = FEATURES) -> Tensor:
        """Add a concatenation of vectors [n, c]; a single part is returned as it is."""
        if len(parts) == 1:
            return parts[0]
        options = self.schema.ConcatenationOptionsT()
        options.axis = 1
        width = sum(self._shape(part)[0] for part in parts)
        return self._operation(self.schema.BuiltinOperator.CONCATENATION, list(parts), (width,), options, name)

    def dense(self, x: Tensor, kernel: Array, bias: Array) -> Tensor:
        """Add ``x @ kernel + bias``; ``kernel`` [in, out], ``bias`` [out]."""
        options = self.schema.FullyConnectedOptionsT()
        inputs = [x, self._constant(kernel.T), self._constant(bias)]
        return self._operation(self.schema.BuiltinOperator.FULLY_CONNECTED, inputs, (len(bias),), options)

    def softmax(self, x: Tensor, name: str = PROBABILITIES) -> Tensor:
        """Add a softmax over the last axis."""
        options = self.schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self._operation(self.schema.BuiltinOperator.SOFTMAX, [x], self._shape(x), options, name)

    def parts(self, vector: Tensor | None = None) -> list[Tensor]:
        """Return the parts that a vector (default: the output) is concatenated from; [vector] if it is not."""
        vector = int(self.graph.outputs[0]) if vector is None else vector
        return self._inputs(vector, self.schema.BuiltinOperator.CONCATENATION) or [vector]

    def averaged(self, vector: Tensor) -> Tensor | None:
        """Return the feature map that a vector is the average of; None if it is not an average."""
        return next(iter(self._inputs(vector, self.schema.BuiltinOperator.MEAN)), None)

    def head(self) -> tuple[Tensor, Array] | None:
        """Return the input and kernel [in, out] of the dense layer before the first output; None if there is none."""
        operators = self.schema.BuiltinOperator
        logits = self._inputs(int(self.graph.outputs[0]), operators.SOFTMAX)
        dense = self._inputs(logits[0], operators.FULLY_CONNECTED) if logits else []
        if not dense:
            return None
        weights = self.graph.tensors[dense[1]]
        values = np.asarray(self.model.buffers[weights.buffer].data, dtype=np.uint8).view(np.float32)
        return dense[0], values.reshape(weights.shape).T

    def _inputs(self, output: Tensor, code: int) -> list[Tensor]:
        """Return the inputs of the operation that computes a tensor, if it is of this kind, else []."""
        for operator in self.graph.operators:
            if output in operator.outputs and self.model.operatorCodes[operator.opcodeIndex].builtinCode == code:
                return [int(tensor) for tensor in operator.inputs]
        return []

    def finish(self, *outputs: Tensor) -> bytes:
        """Return the file of the network from the input to ``outputs``, without anything that they do not need."""
        self.graph.outputs = list(outputs)
        self._drop_unused()
        self._sign()
        return packed(self.model)

    def _convolution(
        self, x: Tensor, code: int, weights: Tensor, bias: Array, options: Any, stride: int, relu6: bool
    ) -> Tensor:
        options.padding = self.schema.Padding.SAME
        options.strideH = options.strideW = stride
        activations = self.schema.ActivationFunctionType
        options.fusedActivationFunction = activations.RELU6 if relu6 else activations.NONE
        height, width, _ = self._shape(x)
        shape = (-(-height // stride), -(-width // stride), len(bias))
        return self._operation(code, [x, weights, self._constant(bias)], shape, options)

    def _shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the shape of a tensor without the batch."""
        return tuple(int(side) for side in self.graph.tensors[tensor].shape[1:])

    def _tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Add an activation with any batch size."""
        tensor = self.schema.TensorT()
        tensor.shape, tensor.shapeSignature, tensor.hasRank = [1, *shape], [-1, *shape], True
        tensor.type, tensor.buffer = self.schema.TensorType.FLOAT32, 0
        tensor.name = name
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _constant(self, values: NDArray[Any] | float) -> Tensor:
        array = np.asarray(values, dtype=None if getattr(values, "dtype", None) == np.int32 else np.float32)
        buffer, tensor = self.schema.BufferT(), self.schema.TensorT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), dtype=np.uint8)
        self.model.buffers.append(buffer)
        tensor.shape, tensor.hasRank = list(array.shape), True
        types = self.schema.TensorType
        tensor.type = types.INT32 if array.dtype == np.int32 else types.FLOAT32
        tensor.buffer = len(self.model.buffers) - 1
        tensor.name = f"constant{len(self.graph.tensors)}"
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _operation(
        self, code: int, inputs: list[Tensor], shape: tuple[int, ...], options: Any, name: str = ""
    ) -> Tensor:
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self._code(code)
        output = self._tensor(name or f"tensor{len(self.graph.tensors)}", shape)
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, type(options).__name__[:-1])
        self.graph.operators.append(operator)
        return output

    def _code(self, code: int) -> int:
        for index, each in enumerate(self.model.operatorCodes):
            if each.builtinCode == code and each.version == 1:
                return index
        new = self.schema.OperatorCodeT()
        new.builtinCode, new.version = code, 1
        new.deprecatedBuiltinCode = min(code, 127)  # the field that older readers use
        self.model.operatorCodes.append(new)
        return len(self.model.operatorCodes) - 1

    def _drop_unused(self) -> None:
        """Keep only the operations that the outputs depend on, and renumber tensors and buffers."""
        needed = {int(each) for each in (*self.graph.outputs, *self.graph.inputs)}
        kept = []
        for operator in reversed(self.graph.operators):
            if needed & {int(each) for each in operator.outputs}:
                needed.update(int(each) for each in (*operator.inputs, *operator.outputs) if each >= 0)
                kept.append(operator)
        kept.reverse()
        order = sorted(needed)
        place = {-1: -1, **{old: new for new, old in enumerate(order)}}  # -1: an optional input that is missing
        tensors = [self.graph.tensors[each] for each in order]
        used = sorted({0, *(tensor.buffer for tensor in tensors)})  # tensors may share one
        for tensor in tensors:
            tensor.buffer = used.index(tensor.buffer)
        for operator in kept:
            operator.inputs = [place[int(each)] for each in operator.inputs]
            operator.outputs = [place[int(each)] for each in operator.outputs]
        self.graph.inputs = [place[int(each)] for each in self.graph.inputs]
        self.graph.outputs = [place[int(each)] for each in self.graph.outputs]
        self.graph.tensors, self.graph.operators = tensors, kept
        self.model.buffers = [self.model.buffers[each] for each in used]
        self.model.metadata, self.model.metadataBuffer = [], []

    def _sign(self) -> None:
        """Set the signature, with the names of input and outputs."""
        signature = self.schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs = [self._entry(INPUT, self.graph.inputs[0])]
        names = [self.graph.tensors[each].name for each in self.graph.outputs]
        texts = [name.decode() if isinstance(name, bytes) else name for name in names]
        signature.outputs = [self._entry(*each) for each in zip(texts, self.graph.outputs, strict=True)]
        self.model.signatureDefs = [signature]

    def _entry(self, name: str, tensor: Tensor) -> Any:
        entry = self.schema.TensorMapT()
        entry.name, entry.tensorIndex = name, tensor
        return entry
