"""Precision, memory and interrupts: what is asked of the machine, and put back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from tlkit.backbones.runtime import import_keras, import_tensorflow
from tlkit.finetune import hardware as module
from tlkit.finetune.hardware import BFLOAT16, FLOAT32, choose_precision, computing_in, keep_memory
from tlkit.finetune.interrupt import SIGNALS, gentle_interrupt

Patch = pytest.MonkeyPatch


def policy() -> str:
    return str(import_keras().config.dtype_policy().name)


@pytest.mark.parametrize(("precision", "name"), [(BFLOAT16, "mixed_bfloat16"), (FLOAT32, "float32")])
def test_the_policy_is_put_back(precision: str, name: str) -> None:
    keras = import_keras()
    before = policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with computing_in(precision):
            assert policy() == name
        assert policy() == "mixed_float16"
        with pytest.raises(RuntimeError, match="in the block"), computing_in(precision):
            raise RuntimeError("in the block")
        assert policy() == "mixed_float16"
    finally:
        keras.config.set_dtype_policy(before)


def test_weights_are_float32_in_any_case() -> None:
    keras = import_keras()
    with computing_in(BFLOAT16):
        layer = keras.layers.Dense(2)
        layer.build((None, 3))
    assert layer.compute_dtype == "bfloat16"
    assert {str(each.dtype) for each in layer.weights} == {"float32"}


@pytest.mark.parametrize("capabilities", [[], [(9, 0)]])
def test_what_the_user_says_about_precision_is_done(monkeypatch: Patch, capabilities: list[tuple[int, int]]) -> None:
    see_gpus(monkeypatch, capabilities)
    assert choose_precision(True) == BFLOAT16
    assert choose_precision(False) == FLOAT32


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ([], FLOAT32),
        ([(8, 0)], BFLOAT16),
        ([(12, 0), (8, 6)], BFLOAT16),
        ([(7, 5)], FLOAT32),
        ([(9, 0), (7, 5)], FLOAT32),
        ([None], FLOAT32),
    ],
)
def test_bfloat16_only_where_every_gpu_is_made_for_it(
    monkeypatch: Patch, capabilities: list[tuple[int, int] | None], expected: str
) -> None:
    see_gpus(monkeypatch, capabilities)
    assert choose_precision(None) == expected


def see_gpus(monkeypatch: Patch, capabilities: Any) -> None:
    config = import_tensorflow().config

    def details(gpu: int) -> dict[str, Any]:
        return {} if capabilities[gpu] is None else {"compute_capability": capabilities[gpu]}

    monkeypatch.setattr(config, "list_physical_devices", lambda kind: list(range(len(capabilities))))
    monkeypatch.setattr(config.experimental, "get_device_details", details)


def test_memory_is_kept_only_on_linux(monkeypatch: Patch) -> None:
    def never(name: object) -> None:
        raise AssertionError("another system's library was asked")

    monkeypatch.setattr(module.ctypes, "CDLL", never)
    for platform in ("darwin", "win32"):
        monkeypatch.setattr(module.sys, "platform", platform)
        assert keep_memory() is False


@pytest.mark.parametrize("taken", [1, 0])
def test_it_says_whether_the_library_took_it(monkeypatch: Patch, taken: int) -> None:
    asked: list[int] = []

    class Library:
        def __init__(self, name: object) -> None:
            pass

        def mallopt(self, name: int, value: int) -> int:
            asked.append(name)
            return taken

    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.ctypes, "CDLL", Library)
    assert keep_memory() is bool(taken)
    assert len(asked) > 1  # also where the first is refused


def test_another_c_library_is_left_alone(monkeypatch: Patch) -> None:
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.ctypes, "CDLL", lambda name: object())
    assert keep_memory() is False


def test_here_it_does_no_harm() -> None:
    """In a process of its own: it cannot be undone."""
    code = "from tlkit.finetune.hardware import keep_memory; print(keep_memory(), len(bytearray(1 << 20)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout in ("True 1048576\n", "False 1048576\n")


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The signals as a terminal's process has them, but that a termination only leaves a note."""
    before = {each: signal.getsignal(each) for each in SIGNALS}
    notes: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        notes.append(number)

    for each in SIGNALS:  # under nohup, one of them is ignored
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else note)
    yield notes
    for each, handler in before.items():
        signal.signal(each, handler)


def handlers() -> list[Any]:
    return [signal.getsignal(each) for each in SIGNALS]


def test_the_first_interrupt_asks_and_the_second_stops_at_once(handled: list[int]) -> None:
    before, lines = handlers(), []
    with gentle_interrupt(lines.append) as stop:
        assert not stop()
        assert lines == []
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        for thread in threading.enumerate():  # told by a thread of its own
            if thread.daemon and thread is not threading.main_thread() and not lines:
                thread.join(5)
        assert len(lines) == 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(lines) == 1
    assert handlers() == before


def test_a_termination_asks_too_and_the_second_is_as_before(handled: list[int]) -> None:
    before = handlers()
    with gentle_interrupt(lambda line: None) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        assert handled == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert handled == [signal.SIGTERM]
    assert handlers() == before


def test_after_a_termination_an_interrupt_stops_at_once(handled: list[int]) -> None:
    with gentle_interrupt(lambda line: None) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("error", [None, ValueError])
def test_handlers_are_put_back(handled: list[int], error: type[Exception] | None) -> None:
    before = handlers()
    try:
        with gentle_interrupt(lambda line: None):
            assert all(now != then for now, then in zip(handlers(), before, strict=True))
            if error:
                raise error
    except ValueError:
        assert error
    assert handlers() == before


def test_outside_the_main_thread_it_never_asks(handled: list[int]) -> None:
    before, found = handlers(), []

    def work() -> None:
        with gentle_interrupt(lambda line: None) as stop:
            found.append((stop(), handlers() == before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, True)]


def test_an_interrupt_that_is_ignored_stays_so(handled: list[int]) -> None:
    """A shell's background jobs ignore interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with gentle_interrupt(lambda line: None) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert handled == []
