"""The queue and its threads: bounds, deadlines, clients that leave, errors."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tlkit.errors import TlkitError
from tlkit.serve.engine import Engine
from tlkit.serve.refusal import Refused

SOON = 30.0


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(workers=2, capacity=4)
    made.start()
    yield made
    made.stop()
    assert not [each for each in threading.enumerate() if each.name.startswith("tlkit-serve") and each in made._threads]


class Gate:
    """Work that waits until it is let go, and notes what was begun."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun: list[Any] = []

    def __call__(self, item: Any) -> Any:
        self.begun.append(item)
        assert self.open.wait(SOON)
        return item


def later(seconds: float = SOON) -> float:
    return time.monotonic() + seconds


async def until(condition: Callable[[], bool]) -> None:
    end = later()
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.002)


def test_results_come_in_order(engine: Engine) -> None:
    async def run() -> Any:
        return await asyncio.gather(*(engine.run([n, n + 1, n + 2], lambda x: x * x, later()) for n in (0,) * 1))

    assert asyncio.run(run()) == [[0, 1, 4]]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(engine: Engine) -> None:
    gate = Gate()

    async def run() -> None:
        first = asyncio.ensure_future(engine.run([1, 2], gate, later()))
        await until(lambda: len(gate.begun) == 2)
        second = asyncio.ensure_future(engine.run([3, 4, 5], gate, later()))
        await until(lambda: engine.depth == 3)
        with pytest.raises(Refused) as refused:
            await engine.run([6, 7], gate, later())
        assert refused.value.status == 503
        assert int(refused.value.headers["Retry-After"]) >= 1
        fits = asyncio.ensure_future(engine.run([8], gate, later()))
        await until(lambda: engine.depth == 4)
        gate.open.set()
        assert await asyncio.gather(first, second, fits) == [[1, 2], [3, 4, 5], [8]]
        assert 6 not in gate.begun

    asyncio.run(run())


def test_after_the_deadline_nothing_is_computed(engine: Engine) -> None:
    gate = Gate()

    async def run() -> None:
        first = asyncio.ensure_future(engine.run([1, 2], gate, later()))
        await until(lambda: len(gate.begun) == 2)
        with pytest.raises(Refused) as refused:
            await engine.run([3], gate, later(0.02))
        assert (refused.value.status, engine.depth) == (503, 0)
        gate.open.set()
        assert await first == [1, 2]
        assert gate.begun == [1, 2]

    asyncio.run(run())


def test_who_leaves_makes_room(engine: Engine) -> None:
    gate = Gate()

    async def run() -> None:
        first = asyncio.ensure_future(engine.run([1, 2], gate, later()))
        await until(lambda: len(gate.begun) == 2)
        leaving = asyncio.ensure_future(engine.run([3, 4, 5, 6], gate, later()))
        await until(lambda: engine.depth == 4)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert engine.depth == 0
        gate.open.set()
        await first

    asyncio.run(run())


def test_an_error_belongs_to_its_request(engine: Engine) -> None:
    def fail(item: int) -> int:
        raise TlkitError("broken") if item else MemoryError

    async def run() -> None:
        with pytest.raises(TlkitError, match="broken"):
            await engine.run([1, 2], fail, later())
        with pytest.raises(Refused, match="out of memory"):
            await engine.run([0], fail, later())
        assert await engine.run([5], abs, later()) == [5]

    asyncio.run(run())


def test_requests_meet_these_bounds(start: Any, photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with one worker that is busy and a queue of one."""
    from concurrent.futures import ThreadPoolExecutor

    one = start(workers=1, queue=1, max_files=1, timeout=2.0)
    state = one.app.state.served
    gate = Gate()
    model = one.models.get(None)
    true = model.predict
    monkeypatch.setattr(model, "predict", lambda image, top, explain: (gate(image), true(image, top, explain))[1])
    data = photos[0].read_bytes()
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(one.post, "/predict", data)]
        while len(gate.begun) < 1:
            time.sleep(0.005)
        answers.append(pool.submit(one.post, "/predict", data))
        while state.engine.depth < 1:
            time.sleep(0.005)
        full = one.post("/predict", data)
        assert (full.status_code, full.json()["error"]) == (503, "too many images are waiting")
        assert int(full.headers["retry-after"]) >= 1
        assert [each.result().status_code for each in answers] == [503, 503]  # too late
        assert {each.result().json()["error"] for each in answers} == {"the request took too long"}
        gate.open.set()
    assert one.post("/predict", data).status_code == 200
    assert state.held.count == 0


def test_uploads_together_are_bounded(start: Any, photos: list[Path]) -> None:
    one = start()
    held = one.app.state.served.held
    held.take(held.limit - 10)
    answer = one.post("/predict", photos[0].read_bytes())
    assert (answer.status_code, answer.json()["error"]) == (503, "too many uploads at a time")
    held.give(held.limit - 10)
    assert one.post("/predict", photos[0].read_bytes()).status_code == 200
    assert held.count == 0


def test_what_nobody_expects_is_500_and_in_the_log(
    start: Any, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = start()
    model = one.models.get(None)

    def fail(error: Exception) -> None:
        def predict(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(model, "predict", predict)

    fail(ZeroDivisionError("secret"))
    answer = one.post("/predict", photos[0].read_bytes())
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "ZeroDivisionError: secret" in capsys.readouterr().err
    fail(TlkitError("/path/of/bundle is damaged"))
    answer = one.post("/predict", photos[0].read_bytes())
    assert answer.status_code == 503
    assert "/path" not in answer.text
    assert one.log[-1]["status"] == 503
