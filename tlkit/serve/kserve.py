"""The Open Inference Protocol, version 2, as KServe, Triton and MLServer have it.

An image is an element of a BYTES tensor: base64 in JSON, or as it is in the binary extension (each element after its
length, four bytes, little endian).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tlkit.images.given import GivenImage
from tlkit.serve.answers import check_labelled, json_response
from tlkit.serve.bodies import BYTES, JSON, Body, check_count, decoded, given, json_object
from tlkit.serve.endpoints import check_ready
from tlkit.serve.models import Model, Result
from tlkit.serve.options import ServeOptions
from tlkit.serve.queries import check_names, whole
from tlkit.serve.refusal import BAD, UNPROCESSABLE, WRONG_TYPE, Refused
from tlkit.serve.state import state_of
from tlkit.version import VERSION

INPUT, PROBABILITIES, LABEL, UNKNOWN = "image", "probabilities", "label", "unknown"
HEADER = "inference-header-content-length"
_TYPES = {PROBABILITIES: "FP32", LABEL: "BYTES", UNKNOWN: "BOOL"}
_FIELDS = ("name", "shape", "datatype", "data", "parameters")


@dataclass(frozen=True)
class Wanted:
    """A request for inference.

    Attributes:
        id: The client's name for it.
        images: The images.
        outputs: Names of the tensors to return.
    """

    id: str | None
    images: list[GivenImage]
    outputs: tuple[str, ...]


async def server(request: Request) -> Response:
    """``GET /v2``: the server."""
    check_names(request)
    return json_response({"name": "tlkit", "version": VERSION, "extensions": ["binary_tensor_data"]})


async def health_live(request: Request) -> Response:
    """``GET /v2/health/live``: whether the process answers."""
    check_names(request)
    return json_response({"live": True})


async def health_ready(request: Request) -> Response:
    """``GET /v2/health/ready``: whether requests should be sent here."""
    check_names(request)
    check_ready(state_of(request))
    return json_response({"ready": True})


async def model(request: Request) -> Response:
    """``GET /v2/models/NAME``: the tensors of a bundle."""
    check_names(request)
    found = _model(request)
    return json_response(
        {
            "name": found.name,
            "versions": [_version(found)],
            "platform": "tlkit",
            "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
            "outputs": [
                {"name": name, "datatype": kind, "shape": [-1, len(found.classifier.classes)][: 1 + (kind == "FP32")]}
                for name, kind in _TYPES.items()
                if name in _outputs(found)
            ],
            "parameters": {"classes": list(found.classifier.classes)},
        }
    )


async def model_ready(request: Request) -> Response:
    """``GET /v2/models/NAME/ready``: whether a bundle can be used."""
    check_names(request)
    found = _model(request)
    check_ready(state_of(request))
    return json_response({"name": found.name, "ready": True})


async def infer(request: Request) -> Response:
    """``POST /v2/models/NAME/infer``: label images."""
    check_names(request)
    state, found = state_of(request), _model(request)
    async with state.body(request) as (body, deadline):
        wanted = _wanted(request, body, found, state.options)
        results = await state.computed(request, wanted.images, found.probabilities, deadline)
    request.scope["tlkit.images"] = len(results)
    for result, _ in results:
        state.metrics.result(found, result)
    rows = [result for result, _ in results]
    check_labelled(rows)
    for number, result in enumerate(rows):
        if result.row.label is None:  # a tensor has no place for a reason
            raise Refused(UNPROCESSABLE, f"image {number} cannot be read: {result.row.error}")
    return json_response(_answer(found, wanted, rows, [values for _, values in results]))


def _answer(found: Model, wanted: Wanted, rows: Sequence[Result], values: list[list[float]]) -> dict[str, Any]:
    data: dict[str, list[Any]] = {
        PROBABILITIES: [value for row in values for value in row],
        LABEL: [result.row.label for result in rows],
        UNKNOWN: [bool(result.row.unknown) for result in rows],
    }
    count = len(rows)
    shapes = {PROBABILITIES: [count, len(found.classifier.classes)]}
    answer: dict[str, Any] = {"model_name": found.name, "model_version": _version(found)}
    if wanted.id is not None:
        answer["id"] = wanted.id
    answer["outputs"] = [
        {"name": name, "datatype": _TYPES[name], "shape": shapes.get(name, [count]), "data": data[name]}
        for name in wanted.outputs
    ]
    return answer


def _model(request: Request) -> Model:
    return state_of(request).model(request.path_params["name"])


def _version(found: Model) -> str:
    return str(found.classifier.manifest.get("digest") or found.classifier.manifest.get("created"))[:12]


def _outputs(found: Model) -> tuple[str, ...]:
    return (PROBABILITIES, LABEL, UNKNOWN) if found.limit is not None else (PROBABILITIES, LABEL)


def _wanted(request: Request, body: Body, found: Model, options: ServeOptions) -> Wanted:
    """Return what is asked for, checked.

    Raises:
        Refused: It is not as the protocol has it, or has other tensors than the bundle's.
    """
    data, binary = _parts(request, body)
    inputs, name, outputs = data.get("inputs"), data.get("id"), data.get("outputs")
    if not set(data) <= {"id", "inputs", "outputs", "parameters"}:
        raise Refused(UNPROCESSABLE, "the body may have id, inputs, outputs and parameters")
    if name is not None and not isinstance(name, str):
        raise Refused(UNPROCESSABLE, "id must be a text")
    if not isinstance(data.get("parameters", {}), dict):
        raise Refused(UNPROCESSABLE, "parameters must be an object")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Refused(UNPROCESSABLE, f"inputs must be a list of one tensor, '{INPUT}'")
    return Wanted(name, _images(inputs[0], binary, options), _names(outputs, found))


def _parts(request: Request, body: Body) -> tuple[dict[str, Any], bytes]:
    """Return the JSON and the binary data behind it."""
    length = request.headers.get(HEADER)
    if length is None:
        return json_object(body), b""
    if not (length.isascii() and length.isdigit()) or len(length) > 12 or int(length) > len(body.data):
        raise Refused(BAD, f"{HEADER} must be the length of the JSON")
    if body.kind not in ("", JSON, BYTES):
        raise Refused(WRONG_TYPE, f"a body of type {body.kind[:60]} is not taken", f"send {BYTES}", {"Accept": BYTES})
    return json_object(Body(body.data[: int(length)], JSON)), body.data[int(length) :]


def _names(outputs: Any, found: Model) -> tuple[str, ...]:
    known = _outputs(found)
    if outputs is None or outputs == []:
        return known
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
        raise Refused(UNPROCESSABLE, "outputs must be a list of objects with a name")
    names = [each.get("name") for each in outputs]
    if len(set(map(str, names))) != len(names) or not all(name in known for name in names):
        raise Refused(UNPROCESSABLE, "outputs must name tensors of the model, each once", f"{', '.join(known)}")
    return tuple(names)


def _images(tensor: dict[str, Any], binary: bytes, options: ServeOptions) -> list[GivenImage]:
    if not set(tensor) <= set(_FIELDS) or tensor.get("name") != INPUT or tensor.get("datatype") != "BYTES":
        raise Refused(UNPROCESSABLE, f"the tensor must be called '{INPUT}', of datatype BYTES")
    parameters = tensor.get("parameters", {})
    if not isinstance(parameters, dict):
        raise Refused(UNPROCESSABLE, "parameters must be an object")
    shape = tensor.get("shape")
    shape = [whole(each) for each in shape] if isinstance(shape, list) else shape
    if not isinstance(shape, list) or not shape or not all(type(each) is int and each > 0 for each in shape):
        raise Refused(UNPROCESSABLE, "shape must be a list of whole numbers above 0")
    count = 1
    for each in shape:
        count *= each
    check_count(count, options)
    if "binary_data_size" in parameters:
        elements = _elements(binary, parameters["binary_data_size"], count)
    else:
        data = tensor.get("data")
        data = data if isinstance(data, list) else []
        while len(data) == 1 and isinstance(data[0], list):
            data = data[0]
        data = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in data]
        if len(data) != count:
            raise Refused(UNPROCESSABLE, f"data must be a list of {count} base64 texts, as shape says")
        elements = [decoded(each, f"data[{number}]") for number, each in enumerate(data)]
    return [given(f"image[{number}]", each, options) for number, each in enumerate(elements)]


def _elements(binary: bytes, size: Any, count: int) -> list[bytes]:
    """Take a tensor of bytes apart."""
    found: list[bytes] = []
    at = 0
    if size == len(binary):
        while len(found) < count and at + 4 <= len(binary):
            length = int.from_bytes(binary[at : at + 4], "little")
            found.append(binary[at + 4 : at + 4 + length])
            at += 4 + length
    if len(found) != count or at != len(binary):
        raise Refused(BAD, "the binary data do not fit binary_data_size and shape")
    return found
