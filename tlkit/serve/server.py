"""Start, reload and end: the process around the application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from tlkit.errors import TlkitError
from tlkit.serve.app import make_app
from tlkit.serve.guard import log_line
from tlkit.serve.models import Models
from tlkit.serve.options import ServeOptions
from tlkit.serve.protocol import PatientProtocol
from tlkit.serve.state import State

LOOK_SECONDS = 1.0
MAX_HEADER = 64 << 10  # bytes
MAX_FILES = 8192  # open files and connections
KEEP_ALIVE = 15  # seconds that an idle connection is kept
GRACE = 5  # seconds beyond a request's deadline that a server takes to end

Say = Callable[[str], None]


def serve(
    bundles: Sequence[Path],
    options: ServeOptions,
    started: Callable[[str, Models], None],
    unknown_rate: float | None = None,
) -> bool:
    """Serve bundles until a signal ends it: SIGTERM or Ctrl-C, after the requests that have begun.

    Args:
        bundles: Their folders; empty: the newest ``*.tlkit`` in the current folder.
        options: Where and how.
        started: Called with the address and the bundles as soon as requests are answered.
        unknown_rate: As for `tlkit.api.predict.predict_iter`.

    Returns:
        Whether every request that had begun was answered.

    Raises:
        TlkitError: There is no bundle, an option makes no sense, or the address cannot be listened on.
    """
    options.checked()
    most, backlog = allowed_connections()
    with listening(options.host, options.port) as listener:
        models = Models(bundles, options.cores, unknown_rate)
        app = make_app(models, options)
        state: State = app.state.served
        config = uvicorn.Config(
            app,
            http=PatientProtocol.limited(most),
            backlog=backlog,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=int(options.timeout) + GRACE,
            h11_max_incomplete_event_size=MAX_HEADER,
        )
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # clients' mistakes are no news
        server = _Server(config, state, lambda: started(address(options.host, listener), models))
        state.engine.start()
        try:
            server.run([listener])
        finally:
            state.engine.stop()
    return not server.force_exit


def allowed_connections() -> tuple[int, int]:
    """Return how many connections there may be, and how many may wait to be accepted.

    They leave room for other files: asyncio accepts all that wait at once, and drowns in errors if files run out. The
    process may have as many files as the system lets it, which by default is often a fraction of that.
    """
    files = MAX_FILES
    with contextlib.suppress(ImportError, ValueError, OSError):  # no such limits on Windows
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
        if soft == resource.RLIM_INFINITY or soft >= files:
            files = MAX_FILES if soft == resource.RLIM_INFINITY else min(soft, MAX_FILES)
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return files // 2, max(1, min(256, files // 4))


class _Server(uvicorn.Server):
    """uvicorn's server, with signals of its own.

    Args:
        config: As uvicorn has it.
        state: What requests share.
        started: Called once requests are answered.
    """

    def __init__(self, config: uvicorn.Config, state: State, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._state = state
        self._started = started
        self._wants_reload = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self._started()

    async def main_loop(self) -> None:
        """Wait for the end, and meanwhile look for replaced bundles."""
        looking = asyncio.ensure_future(self._look())
        try:
            await super().main_loop()
        finally:
            looking.cancel()
            self._state.is_draining = True

    async def _look(self) -> None:
        waited = 0.0
        while True:
            await asyncio.sleep(0.1)
            waited += 0.1
            is_due = self._state.options.watch and waited >= LOOK_SECONDS
            if self._wants_reload or is_due:
                asked, self._wants_reload, waited = self._wants_reload, False, 0.0
                await self._reload(asked)

    async def _reload(self, asked: bool) -> None:
        models = self._state.models
        try:
            said = await asyncio.to_thread(models.reload, again=asked)
        except Exception as error:  # noqa: BLE001  (what is served stays as it was)
            log_line({"event": "reload", "error": f"{type(error).__name__}: {error}"})
            return
        for name, why in said:
            log_line({"event": "reload", "model": name, "error": None if why is None else why.message})
        if said:
            self._state.metrics.show(models.all())

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals while the server runs."""
        kinds = {"SIGINT": self._end, "SIGTERM": self._end, "SIGBREAK": self._end, "SIGHUP": self._note_reload}
        numbers = {getattr(signal, name): handler for name, handler in kinds.items() if hasattr(signal, name)}
        before: dict[int, object] = {}
        with contextlib.suppress(ValueError):  # not in the main thread
            before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        """End after the requests that have begun; at the second signal, now."""
        self.force_exit = self.should_exit
        self.should_exit = True

    def _note_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._wants_reload = True


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Take an address, so that nobody else can, and release it at the end.

    Raises:
        TlkitError: It is taken, not allowed, or not one of this machine.
    """
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise TlkitError(f"there is no address '{host}'", "give an address of this machine with --host") from None
    with socket.socket(family, kind, protocol) as listener:
        if sys.platform != "win32":  # there it would let two servers have the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
            listener.listen(1)  # on Linux two sockets can be bound, and only one can listen
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            hint = "choose another with --port; 0 takes any free one"
            raise TlkitError(f"cannot listen on {where}: {reason}", hint) from None
        listener.setblocking(False)
        yield listener


def address(host: str, listener: socket.socket) -> str:
    """Return the address to open in a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{listener.getsockname()[1]}"
