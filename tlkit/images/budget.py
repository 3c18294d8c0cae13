"""Memory for decoding, shared by all threads of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

MAX_BYTES: Final = 384 << 20
"""Memory that decoding one image may take, and all images that are decoded at the same time together.

An RGB image takes 4 bytes a pixel in Pillow, so that this is 100 megapixels; JPEG files are decoded at a reduced scale.
"""


_TRIMMED: Final = 32 << 20  # bytes; what was held is given back to the system, not kept by the thread's allocator


class Budget:
    """A number of bytes of which threads hold parts; one that wants more than is left waits.

    Args:
        total: The number of bytes.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, count: int) -> Iterator[None]:
        """Hold so many bytes until the block ends. A thread must not hold two parts: two threads could wait forever.

        More than the total is given to a thread that is alone.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + count <= self.total)
            self._held += count
        try:
            yield
        finally:
            if count >= _TRIMMED:
                _trim()
            with self._changed:
                self._held -= count
                self._changed.notify_all()


def _trim() -> None:
    """Give freed memory back to the system, where its allocator has a function for that (Linux with glibc)."""
    import ctypes

    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


decoding: Final = Budget(MAX_BYTES)
"""The budget of this process."""
