"""The web application: addresses, and the layers around them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tlkit.serve import endpoints, home, kserve
from tlkit.serve.access import OPEN, Access, Gate, session
from tlkit.serve.answers import refused_response
from tlkit.serve.guard import Guard, Log, log_line
from tlkit.serve.models import Models
from tlkit.serve.options import ServeOptions
from tlkit.serve.refusal import NOT_FOUND, Refused
from tlkit.serve.state import State

ROUTES = (
    ("POST", "/predict", endpoints.predict),
    ("POST", "/hf", endpoints.hugging_face),
    ("GET", "/info", endpoints.info),
    ("GET", "/livez", endpoints.live),
    ("GET", "/readyz", endpoints.ready),
    ("GET", "/metrics", endpoints.metrics),
    ("GET", "/openapi.json", endpoints.openapi),
    ("POST DELETE", "/session", session),
    ("GET", "/v2", kserve.server),
    ("GET", "/v2/health/live", kserve.health_live),
    ("GET", "/v2/health/ready", kserve.health_ready),
    ("GET", "/v2/models/{name}", kserve.model),
    ("GET", "/v2/models/{name}/ready", kserve.model_ready),
    ("POST", "/v2/models/{name}/infer", kserve.infer),
    *(("GET", path, home.page) for path in home.FILES),
)
"""Methods, address and function of every endpoint."""


def make_app(models: Models, options: ServeOptions, log: Log = log_line) -> Starlette:
    """Return the application; its engine must be started, see `tlkit.serve.server`.

    Args:
        models: The bundles.
        options: Limits and access.
        log: Takes the entries of the access log.
    """
    state, access = State(models, options), Access(options)
    names = {function: "page" if function is home.page else path for _, path, function in ROUTES}
    public = frozenset([*OPEN, *home.FILES])
    layers = [Middleware(Guard, metrics=state.metrics, endpoints=names, log=log)]
    if options.origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(options.origins),
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
                expose_headers=["X-Request-ID", "Retry-After"],
            )
        )
    layers.append(Middleware(Gate, access=access, public=public))
    routes = [Route(path, function, methods=methods.split()) for methods, path, function in ROUTES]
    app = Starlette(routes=routes, middleware=layers, exception_handlers={HTTPException: _http, Refused: _refused})
    app.state.served, app.state.access = state, access
    return app


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refused_response(error, request.scope["tlkit.request_id"])


def _http(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: an address or a method that there is not."""
    assert isinstance(error, HTTPException)
    what = "there is nothing here" if error.status_code == NOT_FOUND else "not with this method"
    refused = Refused(error.status_code, what, "GET /openapi.json lists all addresses", error.headers)
    return refused_response(refused, request.scope["tlkit.request_id"])
