"""The shapes of bodies in the OpenAPI document, as JSON Schema."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def ref(name: str) -> Json:
    """Refer to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, *, optional: tuple[str, ...] = (), closed: bool = True) -> Json:
    required = [name for name in properties if name not in optional]
    found: Json = {"type": "object", "properties": properties, "required": required}
    return {**found, "additionalProperties": False} if closed else found


def _maybe(kind: str) -> Json:
    return {"type": [kind, "null"]}


def _list(items: Json, **said: Any) -> Json:
    return {"type": "array", "items": items, **said}


TEXT, NUMBER, WHOLE, FLAG = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
BYTES = {"type": "string", "contentMediaType": "image/*", "format": "image"}
BASE64 = {"type": "string", "contentEncoding": "base64", "format": "image-base64"}
COUNTS = {"count": WHOLE, "share": _maybe("number"), "expected": _maybe("number"), "p": _maybe("number")}
DIFFERS = _maybe("boolean")
PAIR = _object({"label": TEXT, "probability": SHARE})
ROW = {
    "file": TEXT,
    "label": _maybe("string"),
    "probability": _maybe("number"),
    "top": _list(PAIR),
    "unknown": _maybe("boolean"),
    "error": _maybe("string"),
    "explanation": _maybe("string"),
}
TENSOR = {"name": TEXT, "datatype": TEXT, "shape": _list(WHOLE)}

SCHEMAS: dict[str, Json] = {
    "Row": _object(ROW, optional=("explanation",)),
    "Score": _object({"label": TEXT, "score": SHARE}),
    "Error": _object(
        {"error": TEXT, "hint": _maybe("string"), "request_id": TEXT, "predictions": _list(ref("Row"))},
        optional=("predictions",),
    ),
    "Live": _object({"live": {"const": True}}),
    "Ready": _object({"ready": {"const": True}}),
    "ModelReady": _object({"name": TEXT, "ready": {"const": True}}),
    "Server": _object({"name": TEXT, "version": TEXT, "extensions": _list(TEXT)}),
    "Model": _object(
        {
            "name": TEXT,
            "versions": _list(TEXT),
            "platform": TEXT,
            "inputs": _list(_object(TENSOR)),
            "outputs": _list(_object(TENSOR)),
            "parameters": _object({"classes": _list(TEXT)}),
        }
    ),
    "Infer": _object(
        {
            "id": TEXT,
            "inputs": _list(ref("InputTensor"), minItems=1, maxItems=1),
            "outputs": _list(
                _object(
                    {"name": {"const": "probabilities"}, "parameters": {"type": "object"}}, optional=("parameters",)
                ),
                maxItems=1,
            ),
            "parameters": {"type": "object"},
        },
        optional=("id", "outputs", "parameters"),
    ),
    "InputTensor": _object(
        {
            "name": {"const": "image"},
            "datatype": {"const": "BYTES"},
            "shape": {"const": [1], "description": "The number of images, as data has it."},
            "data": _list(BASE64, minItems=1, maxItems=1),
            "parameters": {"type": "object", "properties": {"content_type": {"const": "base64"}}},
        },
        optional=("parameters",),
    ),
    "InferAnswer": _object(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "id": TEXT,
            "outputs": _list(_object({**TENSOR, "data": {"type": "array"}}), minItems=1),
        },
        optional=("id",),
    ),
    "Recent": _object(
        {
            "images": WHOLE,
            "differs": FLAG,
            "says": _list(TEXT),
            "test": TEXT,
            "unknown": {"anyOf": [_object({**COUNTS, "differs": DIFFERS}), {"type": "null"}]},
            "labels": _list(_object({"label": TEXT, **COUNTS, "differs": DIFFERS})),
        }
    ),
    "Bundle": _object(
        {
            "name": TEXT,
            "classes": _list(TEXT),
            "input_size": _list(WHOLE, minItems=2, maxItems=2),
            "unknown_rate": _maybe("number"),
            "created": _maybe("string"),
            "tlkit": _maybe("string"),
            "backbone": TEXT,
            "strategy": TEXT,
            "metrics": {"type": "object"},
            "digest": _maybe("string"),
            "loaded": TEXT,
            "recent": ref("Recent"),
        }
    ),
    "Info": _object(
        {
            "tlkit": TEXT,
            "seconds": {"type": "number", "description": "Since the start."},
            "limits": _object(
                {"upload_bytes": WHOLE, "pixels": WHOLE, "files": WHOLE, "queue": WHOLE, "seconds": NUMBER}
            ),
            "token": {"type": "boolean", "description": "Whether a token is required."},
            "default": {"type": "string", "description": "The model that answers if none is named."},
            "models": _list(ref("Bundle"), minItems=1),
        }
    ),
}

_RAW: Json = {"image/*": {"schema": BYTES}, "application/octet-stream": {"schema": BYTES}}
_FORM = {
    "multipart/form-data": {
        "schema": _object({"file": _list(BYTES, minItems=1)}),
        "encoding": {"file": {"contentType": "image/*"}},
    }
}
_ONE = _object({"image": BASE64})
_MANY = _object({"images": _list(BASE64, minItems=1)})


def _body(content: Json) -> Json:
    return {"required": True, "content": content}


IMAGE_BODY = _body({**_RAW, **_FORM, "application/json": {"schema": {"oneOf": [_ONE, _MANY]}}})
HF_BODY = _body(
    {
        **_RAW,
        "application/json": {
            "schema": _object(
                {
                    "inputs": BASE64,
                    "parameters": _object(
                        {
                            "top_k": {"type": "integer", "minimum": 1, "maximum": 1000},
                            "function_to_apply": {"const": "softmax"},
                        },
                        optional=("top_k", "function_to_apply"),
                    ),
                },
                optional=("parameters",),
            )
        },
    }
)
INFER_BODY = _body({"application/json": {"schema": ref("Infer")}})
SESSION_BODY = _body({"application/json": {"schema": _object({"token": TEXT})}})
