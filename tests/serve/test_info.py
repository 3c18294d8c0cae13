"""``/info``, ``/metrics``, health and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Trained


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_info_says_what_is_served(served: Any, trained: Trained) -> None:
    info = served.client.get("/info").json()
    assert info["default"] == "garden"
    assert info["token"] is False
    assert info["limits"] == {
        "upload_bytes": 64 << 20,
        "pixels": 100_000_000,
        "files": 32,
        "queue": 128,
        "seconds": 30.0,
    }
    (model,) = info["models"]
    assert model["classes"] == trained.result["classes"]
    assert model["input_size"] == [224, 224]
    assert model["unknown_rate"] == 0.05
    assert model["metrics"]["val_accuracy"] == trained.result["metrics"]["val_accuracy"]
    shares = {row["label"]: row["expected"] for row in model["recent"]["labels"]}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["birds"] * 63 == pytest.approx(round(shares["birds"] * 63))  # of 63 training images


def test_metrics_count_requests_images_and_labels(start: Any, photos: list[Path], trained: Trained) -> None:
    from tlkit.serve.models import Models

    one = start(models=Models([trained.bundle], 2))
    (row,) = one.post("/predict", photos[0].read_bytes()).json()
    one.post("/predict", b"no image")
    one.client.get("/nothing/here")
    one.client.get("/another/thing")
    text = one.client.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=")
    found = samples(text.text)
    assert found['tlkit_requests_total{code="200",endpoint="/predict"}'] == 1
    assert found['tlkit_requests_total{code="422",endpoint="/predict"}'] == 1
    assert found['tlkit_requests_total{code="404",endpoint="other"}'] == 2  # not one series for each address
    assert found['tlkit_request_duration_seconds_count{endpoint="/predict"}'] == 2
    assert found['tlkit_inference_duration_seconds_count{model="garden"}'] == 1
    assert found[f'tlkit_predictions_total{{label="{row["label"]}",model="garden"}}'] == 1
    assert found['tlkit_unreadable_total{model="garden"}'] == 1
    assert found['tlkit_unknown_total{model="garden"}'] == row["unknown"]
    assert found["tlkit_queue_depth"] == 0
    assert [value for name, value in found.items() if name.startswith("tlkit_model_info{")] == [1]
    recent = one.client.get("/info").json()["models"][0]["recent"]
    assert recent["images"] == 1
    assert [each["count"] for each in recent["labels"] if each["label"] == row["label"]] == [1]


def test_names_that_are_no_text_do_not_spoil_metrics(start: Any, trained: Trained, photos: list[Path]) -> None:
    """A folder's name may hold any bytes, and a class is called like its folder."""
    import copy

    from tlkit.api.classifier import Classifier
    from tlkit.serve.models import Model, Models

    models = Models([trained.bundle], 2)
    manifest = copy.deepcopy(models.get(None).classifier.manifest)
    manifest["classes"] = ["a\udce9", 'b"\n\\', "<b>", "d"]
    models._models = {"gar\udce9": Model("gar\udce9", Classifier(trained.bundle, manifest), 2)}
    one = start(models=models)
    for photo in photos:
        assert one.post("/predict?explain=1", photo.read_bytes()).status_code == 200
    assert one.client.get("/info").json()["models"][0]["classes"] == manifest["classes"]
    text = one.client.get("/metrics").text
    assert 'label="a\\\\udce9",model="gar\\\\udce9"' in text
    assert 'label="b\\"\\n\\\\"' in text
    assert one.client.get("/v2/models/none").status_code == 404


def test_it_is_not_ready_while_it_ends(start: Any) -> None:
    one = start()
    assert one.client.get("/readyz").json() == {"ready": True}
    one.app.state.served.is_draining = True
    for address in ("/readyz", "/v2/health/ready", "/v2/models/garden/ready"):
        answer = one.client.get(address)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    assert one.client.get("/livez").json() == one.client.get("/v2/health/live").json() == {"live": True}


def test_the_page_has_a_strict_policy_and_no_other_file_is_sent(served: Any) -> None:
    page = served.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for address in ("/index.html", "/../options.py", "/%2e%2e/options.py", "//etc/passwd", "/page/index.html"):
        assert served.client.get(address).status_code == 404, address


def test_every_address_that_is_declared_is_there_and_no_other(served: Any, start: Any) -> None:
    from tlkit.serve.app import ROUTES
    from tlkit.serve.home import FILES

    document = served.client.get("/openapi.json").json()
    declared = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    there = {(method, path) for methods, path, _ in ROUTES for method in methods.split()}
    assert declared == {(method, path) for method, path in there if path not in {*FILES, "/openapi.json"}}
    assert "securitySchemes" not in document["components"]
    secured = start(token="a-token-of-some-length").client.get("/openapi.json").json()
    assert secured["paths"]["/predict"]["post"]["security"] == [{"token": []}]
    assert "401" in secured["paths"]["/predict"]["post"]["responses"]
    assert "security" not in secured["paths"]["/livez"]["get"]
