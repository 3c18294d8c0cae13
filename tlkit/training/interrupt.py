"""Ctrl-C during training: finish the step, keep what there is."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def gentle_interrupt(tell: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """A function that says whether to stop; the first signal makes it true, a second one interrupts at once.

    Where signals cannot be handled, outside the main thread, it is never true.

    Args:
        tell: Called with a line at the first signal.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {each: signal.getsignal(each) for each in SIGNALS}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        for each, handler in before.items():
            signal.signal(each, handler)
        tell("finishing this step, then saving; once more to stop at once")

    if before[signal.SIGINT] is signal.SIG_IGN:  # the shell wants interrupts ignored, as for background jobs
        yield asked.is_set
        return
    for each in SIGNALS:
        signal.signal(each, ask)
    try:
        yield asked.is_set
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
