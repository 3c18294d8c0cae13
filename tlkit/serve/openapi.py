"""What the API takes and returns, as OpenAPI 3.1; tests compare it with what happens."""

from __future__ import annotations

from typing import Any

from tlkit.serve.options import ServeOptions
from tlkit.serve.queries import MAX_TOP, TOP
from tlkit.serve.schemas import HF_BODY, IMAGE_BODY, INFER_BODY, SCHEMAS, SESSION_BODY, ref
from tlkit.version import VERSION

Json = dict[str, Any]

MEANINGS = {
    400: "The body cannot be read: no JSON, no form, or lengths that do not fit.",
    401: "The token is missing or wrong.",
    403: "A page of another site, or a request for another machine's name.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "Too many bytes, pixels or images.",
    415: "A body of another type.",
    422: "A wrong value, or no image that can be read.",
    503: "Too much to do, or too late; Retry-After says when to try again.",
}
BODY = (400, 408, 413, 415, 422, 503)
MODEL_QUERY = {
    "name": "model",
    "in": "query",
    "description": "The bundle's name; without it, the first one.",
    "schema": {"type": "string"},
}
MODEL_PATH = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
REQUEST_ID = {
    "X-Request-ID": {"description": "The client's id of the request, or a new one.", "schema": {"type": "string"}}
}
RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}}


def document(options: ServeOptions) -> Json:
    """Return the document of a server.

    Args:
        options: The server's: with a token, addresses declare it.
    """
    secured = options.token is not None
    found: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "tlkit serve",
            "version": VERSION,
            "description": "Labels images with trained classifiers. Errors are JSON: error, hint, request_id.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(secured),
        "components": {"schemas": SCHEMAS},
    }
    if secured:
        schemes = {"token": {"type": "http", "scheme": "bearer"}}
        found["components"]["securitySchemes"] = schemes
    return found


def _paths(secured: bool) -> dict[str, Json]:
    return {
        "/predict": {"post": _operation("predict", "Label images", _predict(), secured, (404, *BODY))},
        "/hf": {"post": _operation("hf", "Label one image, in Hugging Face's shape", _hf(), secured, (404, *BODY))},
        "/info": {
            "get": _get(
                "info", "Bundles, limits, and whether recent images are like those of training", "Info", secured
            )
        },
        "/metrics": {"get": _metrics(secured)},
        "/livez": {"get": _get("livez", "Whether the process answers", "Live", False)},
        "/readyz": {"get": _get("readyz", "Whether to send requests here", "Ready", False, 503)},
        "/session": {"post": _log_in(), "delete": _log_out()},
        "/v2": {"get": _get("v2", "The server, as in the Open Inference Protocol", "Server", secured)},
        "/v2/health/live": {"get": _get("v2_live", "Whether the process answers", "Live", False)},
        "/v2/health/ready": {"get": _get("v2_ready", "Whether to send requests here", "Ready", False, 503)},
        "/v2/models/{name}": {"get": _of_model(_get("v2_model", "The tensors of a model", "Model", secured, 404))},
        "/v2/models/{name}/ready": {
            "get": _of_model(_get("v2_model_ready", "Whether a model can be used", "ModelReady", secured, 404, 503))
        },
        "/v2/models/{name}/infer": {
            "post": _of_model(_operation("v2_infer", "Label images", _infer(), secured, (404, *BODY)))
        },
    }


def _predict() -> Json:
    top = {"type": "integer", "minimum": 1, "maximum": MAX_TOP, "default": TOP}
    explain = {"type": "string", "enum": ["0", "1", "true", "false"], "default": "0"}
    return {
        "description": "The rows of `tlkit predict --json`, in the order of the images; 200 if any could be read.",
        "parameters": [
            {"name": "top", "in": "query", "description": "How many classes to list.", "schema": top},
            {
                "name": "explain",
                "in": "query",
                "description": "Add Grad-CAM as a data URL; with Accept: image/png and one image, return only that.",
                "schema": explain,
            },
            MODEL_QUERY,
        ],
        "requestBody": IMAGE_BODY,
        "responses": {
            "200": _response(
                "One row for each image.",
                {
                    "application/json": {"schema": {"type": "array", "items": ref("Row"), "minItems": 1}},
                    "application/x-ndjson": {"schema": {"type": "string"}},
                    "image/png": {"schema": {"type": "string", "format": "binary"}},
                },
            )
        },
    }


def _hf() -> Json:
    content = {"application/json": {"schema": {"type": "array", "items": ref("Score"), "minItems": 1}}}
    return {
        "parameters": [MODEL_QUERY],
        "requestBody": HF_BODY,
        "responses": {"200": _response("The most probable classes, best first.", content)},
    }


def _infer() -> Json:
    content = {"application/json": {"schema": ref("InferAnswer")}}
    return {"requestBody": INFER_BODY, "responses": {"200": _response("The tensors.", content)}}


def _log_in() -> Json:
    given: Json = {"requestBody": SESSION_BODY, "responses": {"204": _response("The cookie is set.", {})}}
    return _operation("log_in", "Exchange the token for a cookie, for the page", given, False, (401, *BODY))


def _log_out() -> Json:
    given: Json = {"responses": {"204": _response("The cookie is removed.", {})}}
    return _operation("log_out", "Remove the cookie", given, False, ())


def _metrics(secured: bool) -> Json:
    content = {"text/plain": {"schema": {"type": "string"}}}
    given: Json = {"responses": {"200": _response("Metrics in Prometheus' format.", content)}}
    return _operation("metrics", "Metrics", given, secured, (422,))


def _get(name: str, summary: str, schema: str, secured: bool, *codes: int) -> Json:
    content = {"application/json": {"schema": ref(schema)}}
    given: Json = {"responses": {"200": _response(f"{summary}.", content)}}
    return _operation(name, summary, given, secured, (422, *codes))


def _of_model(operation: Json) -> Json:
    return {**operation, "parameters": [MODEL_PATH, *operation.get("parameters", [])]}


def _operation(name: str, summary: str, given: Json, secured: bool, codes: tuple[int, ...]) -> Json:
    """Complete an operation: its name, the ways it can fail, and the token."""
    fails = {*codes, 403, *((401,) if secured else ())}
    content = {"application/json": {"schema": ref("Error")}}
    responses = dict(given["responses"])
    for code in sorted(fails):
        headers = {**REQUEST_ID, **(RETRY if code == 503 else {})}
        responses[str(code)] = {"description": MEANINGS[code], "headers": headers, "content": content}
    security: Json = {"security": [{"token": []}]} if secured else {}
    return {"operationId": name, "summary": summary, **given, "responses": responses, **security}


def _response(description: str, content: Json) -> Json:
    said: Json = {"description": description, "headers": REQUEST_ID}
    return {**said, "content": content} if content else said
