"""The Open Inference Protocol, version 2."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

INFER = "/v2/models/garden/infer"


def tensor(images: list[bytes], **more: Any) -> dict[str, Any]:
    data = [base64.b64encode(each).decode() for each in images]
    return {"name": "image", "shape": [len(images)], "datatype": "BYTES", "data": data, **more}


def test_health_and_metadata(served: Any) -> None:
    get = served.client.get
    assert get("/v2/health/live").json() == {"live": True}
    assert get("/v2/health/ready").json() == {"ready": True}
    assert get("/v2").json()["name"] == "tlkit"
    assert get("/v2/models/garden/ready").json() == {"name": "garden", "ready": True}
    model = get("/v2/models/garden").json()
    assert model["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert model["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 4]},
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "unknown", "datatype": "BOOL", "shape": [-1]},
    ]
    assert model["parameters"]["classes"] == ["birds", "flowers", "fruit", "vegetables"]
    for address in ("/v2/models/none", "/v2/models/none/ready", "/v2/models/%2e%2e"):
        assert get(address).status_code == 404
    assert served.client.post("/v2/models/none/infer", json={}).status_code == 404


def test_inference_answers_as_predict_does(served: Any, photos: list[Path]) -> None:
    images = [file.read_bytes() for file in photos[:3]]
    answer = served.client.post(INFER, json={"id": "7", "inputs": [tensor(images)]}).json()
    assert (answer["model_name"], answer["id"]) == ("garden", "7")
    outputs = {each["name"]: each for each in answer["outputs"]}
    rows = [served.post("/predict", data).json()[0] for data in images]
    assert outputs["label"]["data"] == [row["label"] for row in rows]
    assert outputs["unknown"]["data"] == [row["unknown"] for row in rows]
    assert outputs["probabilities"]["shape"] == [3, 4]
    values = outputs["probabilities"]["data"]
    classes = served.models.get(None).classifier.classes
    for number, row in enumerate(rows):
        named = dict(zip(classes, values[4 * number : 4 * number + 4], strict=True))
        assert {each["label"]: each["probability"] for each in row["top"]} == named


def test_outputs_can_be_chosen(served: Any, photos: list[Path]) -> None:
    body = {"inputs": [tensor([photos[0].read_bytes()])], "outputs": [{"name": "label"}]}
    answer = served.client.post(INFER, json=body).json()
    assert [each["name"] for each in answer["outputs"]] == ["label"]
    assert "id" not in answer


def test_the_binary_extension(served: Any, photos: list[Path]) -> None:
    images = [file.read_bytes() for file in photos[:2]]
    binary = b"".join(len(each).to_bytes(4, "little") + each for each in images)
    given = {"name": "image", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(binary)}}
    head = json.dumps({"inputs": [given]}).encode()

    def send(length: int | str, data: bytes) -> Any:
        headers = {"inference_header_content_length": str(length)}
        return served.post(INFER, head + data, "application/octet-stream", **headers)

    expected = served.client.post(INFER, json={"inputs": [tensor(images)]}).json()["outputs"]
    assert send(len(head), binary).json()["outputs"] == expected
    for length, data in (
        (len(head) - 1, binary),
        (len(head) + len(binary) + 1, binary),
        ("x", binary),
        (len(head), binary[:-1]),
        (len(head), binary + b"x"),
        (len(head), b"\xff" * len(binary)),
        (len(head), b""),
    ):
        assert send(length, data).status_code == 400


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "x"}, 422),
        ({"datatype": "UINT8"}, 422),
        ({"shape": [2]}, 422),
        ({"shape": []}, 422),
        ({"shape": [0]}, 422),
        ({"shape": [True]}, 422),
        ({"shape": [-1]}, 422),
        ({"shape": [1000]}, 413),
        ({"shape": [10**9, 10**9]}, 413),
        ({"data": ["http://example.org/a.png"]}, 422),
        ({"data": [1]}, 422),
        ({"data": "aaaa"}, 422),
        ({"data": ["aaaa"]}, 422),
        ({"data": None}, 422),
        ({"parameters": 1}, 422),
        ({"parameters": {"binary_data_size": 9}}, 400),
        ({"more": 1}, 422),
    ],
)
def test_wrong_tensors_are_told(served: Any, photos: list[Path], change: dict[str, Any], code: int) -> None:
    good = tensor([photos[0].read_bytes()])
    assert served.client.post(INFER, json={"inputs": [good]}).status_code == 200
    answer = served.client.post(INFER, json={"inputs": [{**good, **change}]})
    assert answer.status_code == code
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": []},
        {"inputs": [1]},
        {"inputs": {}},
        {"id": 1},
        {"outputs": [{"name": "x"}]},
        {"outputs": [{"name": "label"}, {"name": "label"}]},
        {"outputs": [1]},
        {"outputs": [{}]},
        {"outputs": [{"name": []}]},
        {"parameters": []},
        {"x": 1},
    ],
)
def test_wrong_requests_are_told(served: Any, photos: list[Path], body: dict[str, Any]) -> None:
    whole = {"inputs": [tensor([photos[0].read_bytes()])], **body} if body and "inputs" not in body else body
    assert served.client.post(INFER, json=whole).status_code == 422


def test_one_unreadable_image_has_no_place_in_a_tensor(served: Any, photos: list[Path]) -> None:
    answer = served.client.post(INFER, json={"inputs": [tensor([photos[0].read_bytes(), b"x"])]})
    assert answer.status_code == 422
    assert answer.json()["error"] == "image 1 cannot be read: not an image"
