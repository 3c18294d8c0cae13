"""The page: files that come with tlkit, sent as they are."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_OWN, _SHARED = "tlkit.serve", "tlkit.formats"
FILES = {
    "/": (_OWN, "index.html"),
    "/serve.css": (_OWN, "serve.css"),
    "/serve.js": (_OWN, "serve.js"),
    "/page.css": (_SHARED, "page.css"),  # the page of `tlkit export --format web` looks the same
}
"""The files by their address, each with the package that has it in ``page``; no other file is ever sent."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


async def page(request: Request) -> Response:
    """``GET /`` and the files that the page needs."""
    package, name = FILES[request.url.path]
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response(content(package, name), 200, headers, _TYPES[name.rpartition(".")[2]])


@lru_cache(maxsize=16)
def content(package: str, name: str) -> bytes:
    """Return a file of the folder ``page`` of a package."""
    return (resources.files(package) / "page" / name).read_bytes()
