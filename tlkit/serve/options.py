"""The options of ``tlkit serve``, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlkit.errors import TlkitError
from tlkit.plan.option import ACCESS, LIMITS, MACHINE, declared, option

MIB = 1 << 20
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MIN_TOKEN = 16  # characters; a shorter one can be guessed
ANY_ORIGIN = "*"

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+")


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Where and how a bundle is served."""

    host: str = option(
        "127.0.0.1", help="Listen on this address; 0.0.0.0: on all of this machine's.", group=ACCESS, metavar="ADDRESS"
    )
    port: int = option(
        8000, help="Listen on this port; 0: any free one.", group=ACCESS, at_least=0, at_most=65535, metavar="N"
    )
    token: str | None = option(
        None,
        help="Answer only those who know this secret. Better set TLKIT_TOKEN: other users see a command line.",
        group=ACCESS,
        metavar="SECRET",
        if_none="TLKIT_TOKEN, or no token",
    )
    allow_origin: list[str] | None = option(  # noqa: RUF009  (makes a field)
        None,
        help="Let pages of this site use the API, such as https://example.org; * for all. May be repeated.",
        group=ACCESS,
        metavar="ORIGIN",
        if_none="no other site",
    )
    watch: bool = option(
        False,
        help="Look for a replaced bundle every second, and take it without dropping a request; SIGHUP looks once.",
        group=MACHINE,
        flags=("--watch",),
    )
    workers: int | None = option(
        None,
        help="Compute this many images at a time, each on one core.",
        group=MACHINE,
        at_least=1,
        at_most=1024,
        metavar="N",
        if_none="one per core",
    )
    queue: int = option(
        128, help="Let this many images wait; more are refused with 503.", group=LIMITS, at_least=1, metavar="N"
    )
    timeout: float = option(
        30.0,
        help="Give up on a request after this many seconds.",
        group=LIMITS,
        above=0,
        at_most=3600,
        metavar="SECONDS",
    )
    max_upload: int = option(
        64, help="Refuse requests of more MiB.", group=LIMITS, at_least=1, at_most=1024, metavar="MIB"
    )
    max_pixels: int = option(
        100, help="Refuse images of more megapixels.", group=LIMITS, at_least=1, at_most=178, metavar="MP"
    )
    max_files: int = option(
        32, help="Refuse requests of more images; at most as many as --queue.", group=LIMITS, at_least=1, metavar="N"
    )

    def checked(self) -> ServeOptions:
        """Return the options if they make sense.

        Raises:
            TlkitError: A value is out of bounds, the token cannot be sent in a header, or an origin is none.
        """
        for name, its in declared(ServeOptions).items():
            its.check(getattr(self, name))
        if self.max_files > self.queue:
            raise TlkitError(
                f"--max-files {self.max_files} is more than may wait at all: --queue {self.queue}",
                "lower --max-files, or raise --queue",
            )
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self._solid):
            raise TlkitError("--token must be ASCII characters without spaces, at least one", "openssl rand -hex 16")
        for origin in self.allow_origin or []:
            if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin):
                raise TlkitError(f"--allow-origin takes no '{origin}'", "for example https://example.org, without path")
        return self

    @property
    def _solid(self) -> bool:
        return bool(self.token) and " " not in str(self.token)

    @property
    def origins(self) -> Sequence[str]:
        """The origins whose pages may use the API."""
        return self.allow_origin or ()

    @property
    def cores(self) -> int:
        """Number of images computed at a time."""
        from tlkit.images.batches import cpu_count

        return self.workers or cpu_count()

    @property
    def upload_bytes(self) -> int:
        """Largest request, in bytes."""
        return self.max_upload * MIB

    @property
    def pixels(self) -> int:
        """Largest image, in pixels."""
        return self.max_pixels * 1_000_000

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK or self.host.startswith("127.")

    def limits(self) -> dict[str, Any]:
        """Return the limits as plain data, for clients."""
        return {
            "upload_bytes": self.upload_bytes,
            "pixels": self.pixels,
            "files": self.max_files,
            "queue": self.queue,
            "seconds": self.timeout,
        }
