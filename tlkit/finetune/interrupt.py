"""Handle Ctrl-C, and what asks a process to end, during training: finish the step and save."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_LEFT = (signal.SIG_IGN, None)  # ignored, or handled by native code


@contextlib.contextmanager
def gentle_interrupt(tell: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Provide a function that returns whether to stop: true after the first signal; a second one interrupts at once.

    Outside the main thread, where signals cannot be handled, it is never true.

    Args:
        tell: Called with a message at the first signal.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    # leave ignored signals alone: shells make background jobs ignore SIGINT
    before = {each: handler for each in SIGNALS if (handler := signal.getsignal(each)) not in _LEFT}

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        for each, handler in before.items():
            signal.signal(each, handler)
        # in a thread: the signal may have interrupted a write to the same stream
        teller = threading.Thread(
            target=tell, args=("finishing this step, then saving; press Ctrl-C again to stop at once",)
        )
        teller.daemon = True
        teller.start()

    for each in before:
        signal.signal(each, ask)
    try:
        yield asked.is_set
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
