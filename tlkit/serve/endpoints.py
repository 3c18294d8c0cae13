"""tlkit's own endpoints: predictions, what is known of the bundles, health and metrics."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from tlkit.images.given import GivenImage
from tlkit.serve.answers import check_labelled, json_response, rows_response
from tlkit.serve.bodies import JSON, Body, decoded, given, images_of, json_object
from tlkit.serve.metrics import CONTENT_TYPE
from tlkit.serve.models import Model, Result
from tlkit.serve.openapi import document
from tlkit.serve.queries import TOP, check_names, check_top, flag_of, top_of
from tlkit.serve.refusal import BUSY, LARGE, UNPROCESSABLE, Refused
from tlkit.serve.state import State, state_of
from tlkit.version import VERSION


async def predict(request: Request) -> Response:
    """``POST /predict``: label images; see docs/serve.md."""
    check_names(request, ("top", "explain", "model"))
    top, explain = top_of(request), flag_of(request, "explain")
    state = state_of(request)
    model = state.model(request.query_params.get("model"))
    async with state.body(request) as (body, deadline):
        images = images_of(request, body, state.options)
        results = await _predicted(request, model, images, top, explain, deadline)
    return rows_response(request, results, explain)


async def _predicted(
    request: Request, model: Model, images: list[GivenImage], top: int, explain: bool, deadline: float
) -> list[Result]:
    state = state_of(request)
    results = await state.computed(request, images, partial(model.predict, top=top, explain=explain), deadline)
    request.scope["tlkit.images"] = len(results)
    for result in results:
        state.metrics.result(model, result)
    return results


async def hugging_face(request: Request) -> Response:
    """``POST /hf``: label one image, in the shape of Hugging Face's inference API."""
    check_names(request, ("model",))
    state = state_of(request)
    model = state.model(request.query_params.get("model"))
    async with state.body(request) as (body, deadline):
        top = TOP
        if body.kind == JSON:
            image, top = _inputs(body, state)
        else:
            images = images_of(request, body, state.options)
            if len(images) > 1:
                raise Refused(LARGE, "more than one image", "POST /predict takes several")
            image = images[0]
        results = await _predicted(request, model, [image], top, False, deadline)
    check_labelled(results)
    return json_response([{"label": label, "score": score} for label, score in results[0].row.top])


def _inputs(body: Body, state: State) -> tuple[GivenImage, int]:
    """Return the image and the number of classes in Hugging Face's JSON."""
    found = json_object(body)
    parameters: Any = found.get("parameters") or {}
    if not set(found) <= {"inputs", "parameters"} or "inputs" not in found or not isinstance(parameters, dict):
        raise Refused(UNPROCESSABLE, "the body must have inputs, and may have parameters", '{"inputs": "<base64>"}')
    if not set(parameters) <= {"top_k", "function_to_apply"}:
        raise Refused(UNPROCESSABLE, "parameters may have top_k and function_to_apply")
    if parameters.get("function_to_apply") not in (None, "softmax"):
        raise Refused(UNPROCESSABLE, "function_to_apply must be softmax", "the scores are probabilities")
    top = parameters.get("top_k")
    image = given("image", decoded(found["inputs"], "inputs"), state.options)
    return image, TOP if top is None else check_top(top, "top_k")


async def info(request: Request) -> Response:
    """``GET /info``: the bundles, the limits, and whether recent images look like those of training."""
    check_names(request)
    state = state_of(request)
    models = state.models.all()
    return json_response(
        {
            "tlkit": VERSION,
            "seconds": round(time.monotonic() - state.began, 3),
            "limits": state.options.limits(),
            "token": state.options.token is not None,
            "default": models[0].name,
            "models": await anyio.to_thread.run_sync(lambda: [model.to_json() for model in models]),
        }
    )


async def live(request: Request) -> Response:
    """``GET /livez``: whether the process answers."""
    check_names(request)
    return json_response({"live": True})


async def ready(request: Request) -> Response:
    """``GET /readyz``: whether requests should be sent here; not while the server is about to end."""
    check_names(request)
    check_ready(state_of(request))
    return json_response({"ready": True})


def check_ready(state: State) -> None:
    """Refuse if the server is about to end.

    Raises:
        Refused: It is.
    """
    if state.is_draining:
        raise Refused(BUSY, "the server is about to end", headers={"Retry-After": "5"})


async def metrics(request: Request) -> Response:
    """``GET /metrics``: in Prometheus' format."""
    check_names(request)
    return Response(state_of(request).metrics.text(), media_type=CONTENT_TYPE)


async def openapi(request: Request) -> Response:
    """``GET /openapi.json``: what all this takes and returns."""
    check_names(request)
    return json_response(document(state_of(request).options))
