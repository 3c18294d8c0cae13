"""Who may use the server: hosts, origins, the token, and the cookie that stands for it on the page."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tlkit.serve.answers import refused_response
from tlkit.serve.bodies import json_object
from tlkit.serve.options import ANY_ORIGIN, ServeOptions
from tlkit.serve.refusal import FORBIDDEN, LARGE, UNAUTHORIZED, UNPROCESSABLE, Refused
from tlkit.serve.state import state_of

COOKIE = "tlkit_session"
MAX_SESSION = 4096  # bytes of a request that logs in
DAYS = 30
OPEN = ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/openapi.json", "/session")
"""What can be read without the token: nothing of the bundles, nor what they predict. Files of the page come besides."""


class Access:
    """Says who may use the server.

    Args:
        options: The address, token and origins.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._token = None if options.token is None else options.token.encode()
        # it proves that the token was known, and is worth nothing elsewhere
        self.cookie = "" if self._token is None else hmac.new(self._token, b"tlkit session", hashlib.sha256).hexdigest()
        self._hosts = {urlsplit(each).hostname for each in options.origins if each != ANY_ORIGIN}

    def is_token(self, given: str) -> bool:
        """Return whether a text is the token, in a time that tells nothing of it."""
        return self._token is not None and hmac.compare_digest(_digest(self._token), _digest(given.encode()))

    def check_host(self, headers: Headers) -> None:
        """Refuse names of other machines where only this machine can connect.

        A page elsewhere can give its own name the address 127.0.0.1, and would then count as this server's page (DNS
        rebinding). An address cannot be forged so, and a token cannot be known.

        Raises:
            Refused: The request is for another machine's name.
        """
        if not self._options.is_local or self._token is not None:
            return
        host = _hostname(headers.get("host", ""))
        if host is None or host == "localhost" or host.endswith(".localhost") or host in self._hosts or _is_ip(host):
            return
        raise Refused(FORBIDDEN, f"this server is not {host[:60]}", "behind a proxy, set --token or --allow-origin")

    def check_origin(self, method: str, headers: Headers) -> None:
        """Refuse pages of other sites: they could make this machine work, though not read what comes out.

        Raises:
            Refused: A page of another site sends the request.
        """
        origin = headers.get("origin")
        if origin is None or method in ("GET", "HEAD", "OPTIONS"):
            return
        if ANY_ORIGIN in self._options.origins or origin in self._options.origins:
            return
        if origin == "null" or urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            raise Refused(FORBIDDEN, "pages of other sites may not use this server", "--allow-origin lets one")

    def check_token(self, headers: Headers) -> None:
        """Refuse who does not know the token.

        Raises:
            Refused: The token, or the cookie that stands for it, is missing or wrong.
        """
        if self._token is None:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        if hmac.compare_digest(_digest(cookie.encode()), _digest(self.cookie.encode())):
            return
        raise Refused(
            UNAUTHORIZED,
            "this server requires a token",
            "send the header Authorization: Bearer TOKEN",
            {"WWW-Authenticate": 'Bearer realm="tlkit"'},
        )


class Gate:
    """Middleware: lets through only who may use the server.

    Args:
        app: What is behind it.
        access: Who that is.
        public: Addresses that need no token.
    """

    def __init__(self, app: ASGIApp, access: Access, public: frozenset[str]) -> None:
        self._app = app
        self._access = access
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request before it reaches its endpoint."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except Refused as refused:
                await refused_response(refused, scope["tlkit.request_id"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._access.check_host(headers)
        self._access.check_origin(scope["method"], headers)
        if scope["path"] not in self._public:
            self._access.check_token(headers)


async def session(request: Request) -> Response:
    """``/session``: POST logs in, DELETE logs out. One function, so that the header Allow has both."""
    return await (_log_in(request) if request.method == "POST" else _log_out(request))


async def _log_in(request: Request) -> Response:
    """Set the cookie that stands for the token."""
    access: Access = request.app.state.access
    token = await _token_in(request)
    if access.cookie and not access.is_token(token):
        raise Refused(UNAUTHORIZED, "the token is wrong", headers={"WWW-Authenticate": 'Bearer realm="tlkit"'})
    response = Response(status_code=204)
    if access.cookie:
        response.set_cookie(COOKIE, access.cookie, max_age=DAYS * 86_400, **_properties(request))
    return response


async def _log_out(request: Request) -> Response:
    """Remove the cookie."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, **_properties(request))
    return response


def _properties(request: Request) -> MutableMapping[str, Any]:
    return {"path": "/", "httponly": True, "samesite": "strict", "secure": request.url.scheme == "https"}


async def _token_in(request: Request) -> str:
    async with state_of(request).body(request) as (body, _):
        if len(body.data) > MAX_SESSION:
            raise Refused(LARGE, f"the request has more than {MAX_SESSION} bytes")
        found = json_object(body)
    token = found.get("token")
    if not isinstance(token, str) or len(found) > 1:
        raise Refused(UNPROCESSABLE, "the body must be a JSON object with token", '{"token": "..."}')
    return token


def _digest(secret: bytes) -> bytes:
    """Hash a secret: a comparison in constant time still tells lengths apart."""
    return hashlib.sha256(secret).digest()


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return host


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
