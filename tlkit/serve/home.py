"""The page: files that come with tlkit, sent as they are."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
FILES = {"/": "index.html"}
"""The files by their address; no other file is ever sent."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


async def page(request: Request) -> Response:
    """``GET /`` and the files that the page needs."""
    name = FILES[request.url.path]
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return Response(_content(name), 200, headers, _TYPES[name.rpartition(".")[2]])


@lru_cache(maxsize=16)
def _content(name: str) -> bytes:
    return (resources.files("tlkit.serve") / "page" / name).read_bytes()
