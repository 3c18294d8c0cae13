"""What is measured, in Prometheus' format. They belong to one server, not to the process: tests have several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from tlkit.version import VERSION

if TYPE_CHECKING:
    from tlkit.serve.models import Model, Result

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)

MAX_SHOWN = 1000  # classes that are shown before any image was labelled so


class Metrics:
    """The metrics of one server.

    Args:
        depth: Returns how many images wait.
    """

    def __init__(self, depth: Callable[[], float]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "tlkit_requests", "Requests by endpoint and status code.", ["endpoint", "code"], registry=registry
        )
        self._request_seconds = Histogram(
            "tlkit_request_duration_seconds",
            "Time from the first byte of a request to the end of its response.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._inference_seconds = Histogram(
            "tlkit_inference_duration_seconds",
            "Time to read and classify one image, without waiting.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._depth = Gauge("tlkit_queue_depth", "Images that wait.", registry=registry)
        self._depth.set_function(depth)
        self._predictions = Counter(
            "tlkit_predictions", "Images by predicted label.", ["label", "model"], registry=registry
        )
        self._unknown = Counter("tlkit_unknown", "Images flagged as unknown.", ["model"], registry=registry)
        self._unreadable = Counter("tlkit_unreadable", "Images that could not be read.", ["model"], registry=registry)
        self._info = Gauge(
            "tlkit_model_info",
            "1 for each bundle that is served.",
            ["model", "backbone", "strategy", "created", "digest", "tlkit"],
            registry=registry,
        )

    def show(self, models: list[Model]) -> None:
        """Say which bundles are served, in place of those said earlier."""
        self._info.clear()
        for model in models:
            manifest, name = model.classifier.manifest, _plain(model.name)
            said = [_plain(str(manifest.get(key, ""))) for key in ("backbone", "strategy", "created", "digest")]
            self._info.labels(name, *said, VERSION).set(1)
            self._unknown.labels(name)
            for label in model.classifier.classes[:MAX_SHOWN]:
                self._predictions.labels(_plain(label), name)

    def request(self, endpoint: str, code: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(endpoint, str(code)).inc()
        self._request_seconds.labels(endpoint).observe(seconds)

    def result(self, model: Model, result: Result) -> None:
        """Count a prediction, and note it for the comparison with training."""
        row, name = result.row, _plain(model.name)
        if row.label is None:
            self._unreadable.labels(name).inc()
            return
        self._inference_seconds.labels(name).observe(result.seconds)
        self._predictions.labels(_plain(row.label), name).inc()
        if row.unknown:
            self._unknown.labels(name).inc()
        model.drift.add(row.label, row.unknown)

    def text(self) -> bytes:
        """Return all metrics as text."""
        return prometheus_client.generate_latest(self._registry)


def _plain(text: str) -> str:
    """Escape the bytes of a name that are no text: all metrics would fail for one such name."""
    return text.encode("utf-8", "backslashreplace").decode()


prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
