"""How fast a backbone is: what is counted, with a clock that is not a clock."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.backbones import speed as module
from tlkit.backbones.extractor import open_extractor
from tlkit.backbones.speed import TimedForward, latency


class Still:
    """An extractor whose forward pass takes a second an image, the first batch a minute more."""

    input_size = 8

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.sizes = 0.0, []
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)

    def forward(self, workers: int | None):  # type: ignore[no-untyped-def]
        def run(pixels: np.ndarray) -> np.ndarray:
            self.now += len(pixels) + (0 if self.sizes else 60)
            self.sizes.append(len(pixels))
            return np.zeros((len(pixels), 3), dtype=np.float32)

        return run


def test_the_first_batch_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    still = Still(monkeypatch)
    forward = TimedForward(still, None)  # type: ignore[arg-type]
    for size in (4, 6, 2):
        assert forward(np.zeros((size, 8, 8, 3), np.uint8)).shape == (size, 3)
    assert forward.speed() == pytest.approx(1.0)
    assert still.sizes == [4, 6, 2]  # nothing was computed to know it


@pytest.mark.parametrize("before", [0, 1])
def test_where_there_were_no_batches_grey_ones_are_computed(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    still = Still(monkeypatch)
    forward = TimedForward(still, None)  # type: ignore[arg-type]
    for _ in range(before):
        forward(np.zeros((2, 8, 8, 3), np.uint8))
    assert forward.speed() == pytest.approx(1.0)
    assert len(still.sizes) == 2


def test_the_packaged_network_has_a_speed() -> None:
    extractor = open_extractor("efficientnet-lite0", input_size=64)
    forward = TimedForward(extractor, 1)
    assert forward(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, sum(width for _, width in extractor.taps))
    assert 1 < forward.speed() < 1e5
    assert 1e-5 < latency(extractor) < 1
