"""Threads that read and classify images, behind a queue of bounded length.

Images are not put together into batches: on a CPU a batch takes longer per image than single images do. Each thread has
an interpreter of one core, and reads its images itself, so that reading and computing never wait for each other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from tlkit.serve.refusal import BUSY, Refused, busy

Item = TypeVar("Item")
Found = TypeVar("Found")

SMOOTH = 0.05  # weight of the newest image in the mean time of one


@dataclass(eq=False)
class _Work(Generic[Item, Found]):
    """The images of one request.

    Attributes:
        items: The images; each is forgotten as soon as it is computed.
        compute: What is done with each.
        deadline: Time by the monotonic clock after which nothing more is computed.
        done: Set, in its loop, when all are computed.
        found: The results.
        left: How many are not computed yet.
        is_abandoned: Whether nobody waits any more.
    """

    items: list[Item | None]
    compute: Callable[[Item], Found]
    deadline: float
    done: asyncio.Future[None]
    found: list[Found | None]
    left: int
    is_abandoned: bool = False


class Engine:
    """A number of threads, and a queue of images that wait for them.

    Args:
        workers: Number of threads.
        capacity: How many images may wait.
    """

    def __init__(self, workers: int, capacity: int) -> None:
        self.capacity = capacity
        self._workers = workers
        self._changed = threading.Condition()
        self._waiting: deque[tuple[_Work[object, object], int]] = deque()
        self._threads: list[threading.Thread] = []
        self._is_ending = False
        self._mean = 0.05  # seconds of one image

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._workers):
            thread = threading.Thread(target=self._serve, name=f"tlkit-serve-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let the threads end once each has finished its image; what waits is not computed."""
        with self._changed:
            self._is_ending = True
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)
        self._threads.clear()

    @property
    def depth(self) -> int:
        """How many images wait."""
        return len(self._waiting)

    def seconds_to_wait(self) -> float:
        """About how long an image that comes now would wait."""
        return self.depth * self._mean / self._workers

    async def run(self, items: Sequence[Item], compute: Callable[[Item], Found], deadline: float) -> list[Found]:
        """Compute images; cancelled, it forgets those that still wait.

        Args:
            items: The images, at most as many as may wait.
            compute: Called for each in one of the threads.
            deadline: Time by the monotonic clock after which the request is given up.

        Raises:
            Refused: There is no room for so many images now, or the deadline has passed.
            Exception: What ``compute`` raised first.
        """
        loop = asyncio.get_running_loop()
        found: list[Found | None] = [None] * len(items)
        work = _Work(list(items), compute, deadline, loop.create_future(), found, len(items))
        with self._changed:
            if len(self._waiting) + len(items) > self.capacity or self._is_ending:
                raise busy("too many images are waiting", self.seconds_to_wait())
            self._waiting.extend((work, index) for index in range(len(items)))  # type: ignore[misc]
            self._changed.notify(len(items))
        try:
            await asyncio.wait_for(work.done, max(0.0, deadline - time.monotonic()))
        except (asyncio.TimeoutError, TimeoutError):
            raise busy("the request took too long", self.seconds_to_wait()) from None
        finally:
            self._abandon(work)
        return work.found  # type: ignore[return-value]

    def _abandon(self, work: _Work[Item, Found]) -> None:
        work.is_abandoned = True
        if work.left:
            with self._changed:
                kept = [each for each in self._waiting if each[0] is not work]
                self._waiting.clear()
                self._waiting.extend(kept)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_ending)
                if self._is_ending:
                    return
                work, index = self._waiting.popleft()
            if not work.is_abandoned and time.monotonic() < work.deadline:
                self._compute(work, index)
            del work

    def _compute(self, work: _Work[object, object], index: int) -> None:
        began, error = time.monotonic(), None
        item, work.items[index] = work.items[index], None
        try:
            work.found[index] = work.compute(item)
        except MemoryError:
            error = Refused(BUSY, "out of memory", headers={"Retry-After": "5"})
        except Exception as raised:  # noqa: BLE001  (belongs to the request, not to this thread)
            error = raised  # type: ignore[assignment]
        with self._changed:
            self._mean += SMOOTH * (time.monotonic() - began - self._mean)
            work.left -= 1
            is_last = not work.left
        if error is not None or is_last:
            with suppress(RuntimeError):  # the loop is closed
                work.done.get_loop().call_soon_threadsafe(_finish, work.done, error)


def _finish(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
