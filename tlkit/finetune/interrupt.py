"""Ctrl-C during training: finish the step, keep what there is."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LEFT = (signal.SIG_IGN, None)  # ignored, or handled by native code


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
    # what is ignored stays so: the shell wants that of background jobs
    before = {each: handler for each in SIGNALS if (handler := signal.getsignal(each)) not in _LEFT}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        for each, handler in before.items():
            signal.signal(each, handler)
        # in a thread: the signal may have come in the midst of writing to the same stream
        teller = threading.Thread(target=tell, args=("finishing this step, then saving; once more to stop at once",))
        teller.daemon = True
        teller.start()

    for each in before:
        signal.signal(each, ask)
    try:
        yield asked.is_set
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
