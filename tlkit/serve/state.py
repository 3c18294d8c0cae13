"""What the endpoints of one server share, and how they get their answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import ClientDisconnect, Request

from tlkit.serve.bodies import UPLOADS, Body, Held, read_body
from tlkit.serve.engine import Engine
from tlkit.serve.metrics import Metrics
from tlkit.serve.models import Model, Models
from tlkit.serve.options import ServeOptions
from tlkit.serve.refusal import NOT_FOUND, Refused

if TYPE_CHECKING:
    from tlkit.images.given import GivenImage

Found = TypeVar("Found")


class State:
    """Everything that requests share.

    Args:
        models: The bundles.
        options: Limits and access.

    Attributes:
        began: Time of the start, by the monotonic clock.
        is_draining: Whether the server is about to end, so that it is no longer ready.
    """

    def __init__(self, models: Models, options: ServeOptions) -> None:
        self.models = models
        self.options = options
        self.engine = Engine(options.cores, options.queue)
        self.held = Held(max(UPLOADS, 2 * options.upload_bytes))
        self.metrics = Metrics(lambda: self.engine.depth)
        self.metrics.show(models.all())
        self.began = time.monotonic()
        self.is_draining = False

    def model(self, name: str | None) -> Model:
        """Return a bundle by its name, the first one without a name.

        Raises:
            Refused: There is no such bundle.
        """
        found = self.models.get(name)
        if found is None:
            raise Refused(NOT_FOUND, "there is no such model", f"one of {', '.join(self.models.names)}")
        return found

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[tuple[Body, float]]:
        """Read a request's body, held until the block ends; with the deadline, by the monotonic clock."""
        deadline = time.monotonic() + self.options.timeout
        body = await read_body(request, self.options, self.held, deadline)
        count = len(body.data)
        try:
            yield body, deadline
        finally:
            self.held.give(count)

    async def computed(
        self, request: Request, images: Sequence[GivenImage], compute: Callable[[GivenImage], Found], deadline: float
    ) -> list[Found]:
        """Compute images in the engine, as long as the client is there.

        Raises:
            Refused: There is no room for so many images now, or the deadline has passed.
            ClientDisconnect: The client went away.
        """
        work = asyncio.ensure_future(self.engine.run(images, compute, deadline))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ClientDisconnect
            return work.result()
        finally:
            for task in (work, leaving):
                task.cancel()


def state_of(request: Request) -> State:
    """Return what the requests of this server share."""
    found: State = request.app.state.served
    return found


async def _left(request: Request) -> None:
    """Return when the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
