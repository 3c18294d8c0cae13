"""``POST /predict`` and ``POST /hf``: the answers of ``predict``, in every form in which an image can be sent."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ran, Trained, image
from hiding import hider
from PIL import Image

Tlkit = Callable[..., Ran]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def without_file(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "file"} for row in rows]


@pytest.fixture(scope="module")
def rows(tlkit: Tlkit, trained: Trained, photos: list[Path]) -> list[dict[str, Any]]:
    """What the command says."""
    return tlkit("predict", *photos, "-m", trained.bundle, "--json").lines


def test_an_image_gets_the_row_of_the_command(served: Any, photos: list[Path], rows: Any) -> None:
    for file, row in zip(photos, rows, strict=True):
        answer = served.post("/predict", file.read_bytes(), f"image/{file.suffix[1:]}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == [{**row, "file": "image"}]
    assert served.post("/predict", photos[0].read_bytes(), "application/octet-stream").json() == answer_of(rows[0])
    untyped = served.client.post("/predict", content=photos[0].read_bytes())
    assert untyped.json() == answer_of(rows[0])


def answer_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**row, "file": "image"}]


def test_a_form_may_have_many_images_in_order(served: Any, photos: list[Path], rows: Any) -> None:
    files = [("file", (file.name, file.read_bytes())) for file in photos]
    answer = served.client.post("/predict", files=files)
    assert answer.status_code == 200
    assert [row["file"] for row in answer.json()] == [file.name for file in photos]
    assert without_file(answer.json()) == without_file(rows)


def test_json_may_have_one_image_or_many(served: Any, photos: list[Path], rows: Any) -> None:
    coded = [b64(file.read_bytes()) for file in photos[:2]]
    assert served.client.post("/predict", json={"image": coded[0]}).json() == answer_of(rows[0])
    many = served.client.post("/predict", json={"images": [coded[0], f"data:image/png;base64,{coded[1]}"]}).json()
    assert without_file(many) == without_file(rows[:2])
    assert [row["file"] for row in many] == ["images[0]", "images[1]"]


def test_rows_as_json_lines(served: Any, photos: list[Path], rows: Any) -> None:
    files = [("file", (file.name, file.read_bytes())) for file in photos[:2]]
    answer = served.client.post("/predict", files=files, headers={"accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert without_file([json.loads(line) for line in answer.text.splitlines()]) == without_file(rows[:2])


@pytest.mark.parametrize(("top", "count"), [(1, 1), (3, 3), (1000, 4)])
def test_top_says_how_many_classes(served: Any, photos: list[Path], top: int, count: int) -> None:
    (row,) = served.post(f"/predict?top={top}", photos[0].read_bytes()).json()
    assert len(row["top"]) == count
    assert row["top"][0] == {"label": row["label"], "probability": row["probability"]}


def test_an_explanation_is_a_png_of_the_image(served: Any, photos: list[Path]) -> None:
    data = photos[0].read_bytes()
    (row,) = served.post("/predict?explain=1", data).json()
    kind, _, coded = row["explanation"].partition(",")
    assert kind == "data:image/png;base64"
    png = base64.b64decode(coded)
    with Image.open(io.BytesIO(data)) as whole, Image.open(io.BytesIO(png)) as drawn:
        assert drawn.size == whole.size
    answer = served.post("/predict?explain=1", data, accept="image/png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == png
    assert "explanation" not in served.post("/predict", data).json()[0]


def test_a_library_that_is_missing_is_named(served: Any, photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos[0].read_bytes()
    hider(monkeypatch)("matplotlib")
    answer = served.post("/predict?explain=1", data)
    assert (answer.status_code, answer.json()["error"]) == (501, "on the server, matplotlib is not installed")
    assert served.post("/predict", data).status_code == 200


def test_some_unreadable_images_are_rows_and_none_readable_is_422(served: Any, photos: list[Path]) -> None:
    good, bad = photos[0].read_bytes(), b"no image"
    mixed = served.client.post("/predict", files=[("a", ("a.png", bad)), ("b", ("b.png", good)), ("c", ("c", b""))])
    assert mixed.status_code == 200
    assert [row["error"] for row in mixed.json()] == ["not an image", None, "empty file"]
    alone = served.post("/predict", bad)
    assert alone.status_code == 422
    assert alone.json()["error"] == "the image cannot be read: not an image"
    assert alone.json()["predictions"][0]["label"] is None
    assert served.post("/predict", good[: len(good) // 2]).status_code == 422
    none = served.client.post("/predict", files=[("a", ("a", bad)), ("b", ("b", bad))])
    assert none.status_code == 422
    assert len(none.json()["predictions"]) == 2
    explained = served.client.post("/predict?explain=1", files=[("a", ("a", bad)), ("b", ("b", good))])
    assert [row["explanation"] is None for row in explained.json()] == [True, False]


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        (b'{"image": 1' + b"[" * 100_000, 400, "cannot be read"),
        (b"[]", 422, "JSON object"),
        (b"{}", 422, "image or images"),
        (b'{"image": "", "images": []}', 422, "image or images"),
        (b'{"images": []}', 422, "at least one"),
        (b'{"images": "aaaa"}', 422, "a list"),
        (b'{"image": 3}', 422, "not base64"),
        (b'{"image": "/etc/passwd.jpg"}', 422, "not base64"),
        (b'{"image": "https://example.org/a.jpg"}', 422, "not base64"),
        (b'{"image": "/etc/passwd"}', 422, "not base64"),
        (b'{"image": "file:///a"}', 422, "not base64"),
        (b'{"image": "aaaa"}', 422, "not an image"),
    ],
)
def test_wrong_json_is_told(served: Any, body: bytes, code: int, reason: str) -> None:
    answer = served.post("/predict", body, "application/json")
    assert answer.status_code == code
    assert reason in answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("top=0", "from 1 to 1000"),
        ("top=1001", "from 1 to 1000"),
        ("top=-1", "from 1 to 1000"),
        ("top=two", "from 1 to 1000"),
        ("top=٣", "from 1 to 1000"),
        ("top=1.5", "from 1 to 1000"),
        ("explain=yes", "1 or 0"),
        ("tpo=3", "not known"),
        ("top=1&top=2", "given twice"),
    ],
)
def test_wrong_parameters_are_told(served: Any, photos: list[Path], query: str, reason: str) -> None:
    answer = served.post(f"/predict?{query}", photos[0].read_bytes())
    assert answer.status_code == 422
    assert reason in answer.json()["error"]


def test_other_types_are_415_and_say_what_to_send(served: Any, photos: list[Path]) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/xml", "multipart/mixed", "video/mp4"):
        answer = served.post("/predict", photos[0].read_bytes(), kind)
        assert answer.status_code == 415
        assert "image/*" in answer.headers["accept"]
        assert answer.json()["hint"]


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; x=y"])
def test_a_damaged_form_is_400(served: Any, kind: str) -> None:
    assert served.post("/predict", b"--x\r\nabc", kind).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b"--x\r\n\r\n",
        b"--y\r\n\r\nabc\r\n--y--",
        b"--x\r\nContent-Type: image/png\r\n\r\nabc\r\n--x--",
        b"--x\r\nContent-Disposition: form-data; name=a; filename=a\r\n\r\nabc",
        b"\0" * 1000,
    ],
)
def test_a_form_that_is_none_is_refused(served: Any, body: bytes) -> None:
    assert served.post("/predict", body, "multipart/form-data; boundary=x").status_code == 400


def test_a_form_has_nothing_but_files(served: Any, photos: list[Path]) -> None:
    answer = served.client.post("/predict", data={"path": "/etc/passwd"}, files={"a": photos[0].read_bytes()})
    assert answer.status_code == 422
    assert "must be a file" in answer.json()["error"]


def test_a_part_that_is_an_image_needs_no_name(served: Any, photos: list[Path], rows: Any) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: image/png\r\n\r\n%b\r\n--x--\r\n'
    answer = served.post("/predict", body % photos[0].read_bytes(), "multipart/form-data; boundary=x")
    assert answer.json() == [{**rows[0], "file": "images[0]"}]


def test_hugging_face_shape(served: Any, photos: list[Path], rows: Any) -> None:
    data = photos[0].read_bytes()
    expected = [{"label": each["label"], "score": each["probability"]} for each in rows[0]["top"]]
    assert served.post("/hf", data).json() == expected
    assert served.client.post("/hf", json={"inputs": b64(data)}).json() == expected
    few = served.client.post("/hf", json={"inputs": b64(data), "parameters": {"top_k": 2}})
    assert few.json() == expected[:2]
    few = served.client.post("/hf", json={"inputs": b64(data), "parameters": {"top_k": 2.0}})  # a whole number in JSON
    assert few.json() == expected[:2]
    for wrong in (
        {},
        {"inputs": 1},
        {"inputs": b64(data), "parameters": {"top_k": 0}},
        {"inputs": b64(data), "parameters": {"top_k": True}},
        {"inputs": b64(data), "parameters": {"top_k": 2.5}},
        {"inputs": b64(data), "parameters": [1]},
        {"inputs": b64(data), "parameters": {"x": 1}},
        {"inputs": b64(data), "parameters": {"function_to_apply": "sigmoid"}},
        {"inputs": b64(b"no image")},
    ):
        answer = served.client.post("/hf", json=wrong)
        assert (answer.status_code, "error" in answer.json()) == (422, True), wrong
    two = served.client.post("/hf", files=[("a", data), ("b", data)])
    assert two.status_code == 413


def test_limits_of_bytes_pixels_and_files(start: Any, photos: list[Path]) -> None:
    small = start(max_upload=1, max_pixels=1, max_files=2)
    assert small.post("/predict", bytes((1 << 20) + 1)).status_code == 413
    assert small.client.post("/predict", content=iter([bytes(700_000)] * 2)).status_code == 413  # without a length
    file = io.BytesIO()
    Image.fromarray(np.zeros((1000, 1001), np.uint8)).save(file, "PNG")
    answer = small.post("/predict", file.getvalue())
    assert answer.status_code == 413
    assert "too large: 1001x1000 pixels" in answer.json()["error"]
    data = photos[0].read_bytes()
    assert small.client.post("/predict", files=[("a", data)] * 2).status_code == 200
    for answer in (
        small.client.post("/predict", files=[("a", data)] * 3),
        small.client.post("/predict", files=[("a", b"")] * 1000),
        small.client.post("/predict", json={"images": [b64(data)] * 3}),
    ):
        assert answer.status_code == 413
        assert "more than 2 images" in answer.json()["error"]


def test_uploads_are_not_written_to_disk(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of several megabytes is held in memory."""
    import tempfile

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "_TemporaryFileWrapper", refuse)
    file = io.BytesIO()
    image(1, (1500, 1500)).save(file, "BMP")
    assert len(file.getvalue()) > 6 << 20
    assert served.client.post("/predict", files={"a": file.getvalue()}).status_code == 200


def test_names_of_files_come_back_as_they_are(served: Any, photos: list[Path]) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    (row,) = served.client.post("/predict", files={"a": (name, photos[0].read_bytes())}).json()
    assert row["file"] == name  # JSON, which no browser takes for a page
    long = served.client.post("/predict", files={"a": ("n" * 1000, b"x")})
    assert long.json()["predictions"][0]["file"] == "n" * 200
    assert served.client.post("/predict", files={"a": ("n" * 5000, b"x")}).status_code == 400
