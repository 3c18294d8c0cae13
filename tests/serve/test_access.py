"""Who may use the server, and what every answer says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tlkit.errors import TlkitError
from tlkit.serve.options import ServeOptions

TOKEN = "a-token-of-some-length"
SECRET = ("/predict", "/info", "/metrics", "/v2", "/v2/models/garden", "/v2/models/garden/ready", "/hf", "/none")
OPEN = ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/openapi.json", "/")


@pytest.fixture(scope="module")
def guarded(start: Any) -> Any:
    return start(token=TOKEN)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_without_the_token_nothing_is_told(guarded: Any, photos: list[Path]) -> None:
    for address in SECRET:
        answer = guarded.client.get(address)
        assert answer.status_code == 401, address
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert guarded.post("/predict", photos[0].read_bytes()).status_code == 401
    for address in OPEN:
        assert guarded.client.get(address).status_code == 200, address
        assert "garden" not in guarded.client.get(address).text.replace("garden.tlkit", ""), address


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"])
def test_a_wrong_token_is_401(guarded: Any, given: str) -> None:
    assert guarded.client.get("/info", headers={"authorization": given}).status_code == 401


def test_the_token_opens_everything(guarded: Any, photos: list[Path]) -> None:
    assert guarded.client.get("/info", headers=bearer(TOKEN)).status_code == 200
    assert guarded.post("/predict", photos[0].read_bytes(), **bearer(TOKEN)).status_code == 200
    assert guarded.client.get("/info", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200


def test_the_page_exchanges_the_token_for_a_cookie(guarded: Any) -> None:
    assert guarded.client.post("/session", json={"token": "wrong"}).status_code == 401
    answer = guarded.client.post("/session", json={"token": TOKEN})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert all(each in cookie for each in ("HttpOnly", "SameSite=strict", "Path=/"))
    try:
        assert guarded.client.get("/info").status_code == 200
        assert guarded.client.delete("/session").status_code == 204
        assert guarded.client.get("/info").status_code == 401
    finally:
        guarded.client.cookies.clear()
    assert guarded.client.get("/info", headers={"cookie": "tlkit_session=0"}).status_code == 401


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{", 400),
        (b"{}", 422),
        (b'{"token": 1}', 422),
        (b'{"token": "x", "y": 1}', 422),
        (b" " * 5000, 413),
    ],
)
def test_a_wrong_login_is_told(guarded: Any, body: bytes, code: int) -> None:
    assert guarded.post("/session", body, "application/json").status_code == code


def test_comparisons_take_the_same_time(guarded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the token and the cookie are compared by the function that is made for it."""
    import hmac

    compared = []
    true = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or true(a, b))
    guarded.client.get("/info", headers=bearer("x"))
    assert compared
    assert set(compared) == {(32, 32)}  # hashes: even the length is not told


def test_names_of_other_machines_are_refused_where_only_this_one_connects(start: Any, served: Any) -> None:
    """A page elsewhere can give its own name the address 127.0.0.1."""
    for host in ("127.0.0.1:8000", "localhost", "localhost:8000", "[::1]:8000", "192.168.0.7"):
        assert served.client.get("/info", headers={"host": host}).status_code == 200, host
    for host in ("evil.example", "127.0.0.1.evil.example:8000", "localhost.evil.example"):
        assert served.client.get("/info", headers={"host": host}).status_code == 403, host
    assert start(host="0.0.0.0").client.get("/livez", headers={"host": "lab.example"}).status_code == 200
    assert start(token=TOKEN).client.get("/livez", headers={"host": "lab.example"}).status_code == 200
    proxied = start(allow_origin=["https://lab.example"])
    assert proxied.client.get("/livez", headers={"host": "lab.example"}).status_code == 200


def test_pages_of_other_sites_are_refused(served: Any, photos: list[Path]) -> None:
    data = photos[0].read_bytes()
    assert served.post("/predict", data, origin="http://127.0.0.1:8000").status_code == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9000"):
        answer = served.post("/predict", data, origin=origin)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert served.client.get("/info", headers={"origin": "https://evil.example"}).status_code == 200
    preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert served.client.options("/predict", headers=preflight).status_code == 405


def test_allowed_origins_may(start: Any, photos: list[Path]) -> None:
    open_to = start(allow_origin=["https://lab.example"], token=TOKEN)
    origin = {"origin": "https://lab.example"}
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    preflight = open_to.client.options("/predict", headers={**origin, **asks})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://lab.example"
    answer = open_to.post("/predict", photos[0].read_bytes(), **origin, **bearer(TOKEN))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://lab.example"
    refused = open_to.post("/predict", b"", **origin)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://lab.example"  # or the page could not read why
    other = open_to.post("/predict", b"", origin="https://evil.example", **bearer(TOKEN))
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers
    assert start(allow_origin=["*"]).post("/predict", b"x", origin="https://any.example").status_code == 422


def test_every_answer_has_safe_headers_and_an_id(served: Any, photos: list[Path]) -> None:
    answers = [
        served.client.get("/"),
        served.client.get("/info"),
        served.client.get("/none"),
        served.client.delete("/info"),
        served.post("/predict", photos[0].read_bytes()),
        served.post("/predict", b"no image"),
        served.client.get("/info", headers={"host": "evil.example"}),
    ]
    assert [each.status_code for each in answers] == [200, 200, 404, 405, 200, 422, 403]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert "server" not in answer.headers
        if answer.status_code >= 400:
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "unsafe" not in answers[0].headers["content-security-policy"]
    assert answers[3].headers["allow"] == "GET, HEAD" or answers[3].headers["allow"] == "HEAD, GET"


def test_ids_of_requests_are_taken_over_if_plain(served: Any) -> None:
    assert served.client.get("/livez", headers={"x-request-id": "job-7.a_b"}).headers["x-request-id"] == "job-7.a_b"
    for odd in ("a b", "x" * 65, '"}'):
        assert served.client.get("/livez", headers={"x-request-id": odd}).headers["x-request-id"] != odd


def test_the_log_has_a_line_for_each_request_and_no_secret(start: Any, photos: list[Path]) -> None:
    one = start(token=TOKEN)
    data = photos[0].read_bytes()
    one.post("/predict?top=1", data, **bearer(TOKEN), **{"x-request-id": "seven"})
    one.client.get("/no%0Ane?secret=1")
    first, second = one.log
    assert {key: first[key] for key in ("method", "path", "status", "images", "received", "request_id", "client")} == {
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "images": 1,
        "received": len(data),
        "request_id": "seven",
        "client": "127.0.0.1",
    }
    assert first["seconds"] > 0
    assert second["status"] == 401
    assert TOKEN not in str(one.log)
    assert "secret" not in str(one.log)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"token": ""}, "--token must be"),
        ({"token": "with space"}, "--token must be"),
        ({"token": "schlüssel"}, "--token must be"),
        ({"token": "a\nb"}, "--token must be"),
        ({"allow_origin": ["example.org"]}, "--allow-origin"),
        ({"allow_origin": ["https://example.org/"]}, "--allow-origin"),
        ({"allow_origin": ["null"]}, "--allow-origin"),
        ({"port": 65536}, "--port must be"),
        ({"timeout": 0}, "--timeout must be"),
        ({"timeout": float("nan")}, "--timeout must be"),
        ({"max_files": 10, "queue": 5}, "--max-files 10"),
        ({"workers": 0}, "--workers must be"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(TlkitError, match=reason):
        ServeOptions(**options).checked()
