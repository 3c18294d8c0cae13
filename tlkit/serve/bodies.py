"""From the body of a request to images in memory. Nothing is written to disk, and nothing a client names is opened."""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.requests import Request

from tlkit.bounded import parse_json, why_not_json
from tlkit.images.given import GivenImage
from tlkit.serve.form import FormError, TooManyFiles, files_of
from tlkit.serve.options import MIB, ServeOptions
from tlkit.serve.refusal import BAD, LARGE, SLOW, UNPROCESSABLE, WRONG_TYPE, Refused, busy

JSON, FORM, BYTES = "application/json", "multipart/form-data", "application/octet-stream"
UPLOADS = 256 * MIB  # bytes of all requests together that are held at a time


class Held:
    """How many bytes of requests are in memory.

    Args:
        limit: The most that may be.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0

    def take(self, count: int) -> None:
        """Hold more bytes; only the event loop does.

        Raises:
            Refused: There is no room now.
        """
        if self.count + count > self.limit:
            raise busy("too many uploads at a time", 1)
        self.count += count

    def give(self, count: int) -> None:
        """Hold fewer bytes."""
        self.count -= count


@dataclass
class Body:
    """The body of a request, and where it is accounted for.

    Attributes:
        data: The bytes.
        kind: The media type, in lower case; empty if none is given.
    """

    data: bytes
    kind: str


async def read_body(request: Request, options: ServeOptions, held: Held, deadline: float) -> Body:
    """Read the body. The caller gives back ``len(body.data)`` bytes to ``held``.

    Raises:
        Refused: It is too large, or too slow, or there is no room for it.
        ClientDisconnect: The client went away.
    """
    limit = options.upload_bytes
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(options)
    chunks: list[bytes] = []
    count = 0
    try:
        with anyio.fail_after(max(0.0, deadline - time.monotonic())):
            async for chunk in request.stream():
                if count + len(chunk) > limit:
                    raise _too_large(options)
                held.take(len(chunk))
                count += len(chunk)
                chunks.append(chunk)
    except TimeoutError:
        held.give(count)
        raise Refused(SLOW, f"the request did not arrive within {options.timeout:g} seconds") from None
    except BaseException:
        held.give(count)
        raise
    return Body(b"".join(chunks), media_type(request))


def media_type(request: Request) -> str:
    """Return the media type of a body, in lower case and without parameters; empty if none is given."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def images_of(request: Request, body: Body, options: ServeOptions) -> list[GivenImage]:
    """Return the images in a body: an image itself, a form with files, or JSON with base64.

    Raises:
        Refused: It is of another type, damaged, empty, or has too many images.
    """
    if body.kind == JSON:
        return _of_json(_object(body.data), options)
    if body.kind == FORM:
        return _of_form(body.data, request.headers["content-type"], options)
    if body.kind in ("", BYTES) or body.kind.startswith("image/"):
        return [given("image", body.data, options)]
    raise Refused(
        WRONG_TYPE,
        f"a body of type {body.kind[:60]} is not taken",
        f"send an image as image/jpeg or {BYTES}, a form as {FORM}, or base64 as {JSON}",
        {"Accept": f"image/*, {BYTES}, {FORM}, {JSON}"},
    )


def given(name: str, data: bytes, options: ServeOptions) -> GivenImage:
    """Return an image in memory, with the limit of pixels."""
    return GivenImage(name, data, options.pixels)


def json_object(body: Body) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        Refused: It is of another type, or holds none.
    """
    if body.kind not in (JSON, ""):
        raise Refused(WRONG_TYPE, f"a body of type {body.kind[:60]} is not taken", f"send {JSON}", {"Accept": JSON})
    return _object(body.data)


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = parse_json(data)
    except ValueError as error:
        raise Refused(BAD, f"the body cannot be read: {why_not_json(error)}") from None
    if not isinstance(found, dict):
        raise Refused(UNPROCESSABLE, "the body must be a JSON object")
    return found


def _of_json(found: dict[str, Any], options: ServeOptions) -> list[GivenImage]:
    hint = 'send {"image": "<base64>"} or {"images": ["<base64>", ...]}'
    if set(found) not in ({"image"}, {"images"}):
        raise Refused(UNPROCESSABLE, "the body must have image or images, and nothing else", hint)
    if "image" in found:
        return [given("image", decoded(found["image"], "image"), options)]
    images = found["images"]
    if not isinstance(images, list) or not images:
        raise Refused(UNPROCESSABLE, "images must be a list of base64, at least one", hint)
    check_count(len(images), options)
    return [
        given(name, decoded(each, name), options) for name, each in ((f"images[{n}]", e) for n, e in enumerate(images))
    ]


def decoded(text: Any, name: str) -> bytes:
    """Decode base64, as it is or in a data URL.

    Raises:
        Refused: It is no base64.
    """
    if isinstance(text, str):
        data = text.partition(",")[2] if text.startswith("data:") else text
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except (ValueError, binascii.Error):
            pass
    raise Refused(
        UNPROCESSABLE,
        f"{name} is not base64",
        "send the bytes of the image file as base64; paths and addresses are never opened",
    )


def check_count(count: int, options: ServeOptions) -> None:
    """Refuse too many images.

    Raises:
        Refused: There are more than a request may have.
    """
    if count > options.max_files:
        raise _too_many(options)


def _of_form(data: bytes, content_type: str, options: ServeOptions) -> list[GivenImage]:
    hint = "curl -F file=@photo.jpg"
    try:
        files = files_of(data, content_type, options.max_files)
    except TooManyFiles:
        raise _too_many(options) from None
    except FormError as error:
        if error.is_damaged:
            raise Refused(BAD, f"the form cannot be read: {error}", hint) from None
        raise Refused(UNPROCESSABLE, str(error), hint) from None
    if not files:
        raise Refused(UNPROCESSABLE, "the form has no files", hint)
    return [given(name, each, options) for name, each in files]


def _too_many(options: ServeOptions) -> Refused:
    return Refused(LARGE, f"more than {options.max_files} images in one request", "send them in several requests")


def _too_large(options: ServeOptions) -> Refused:
    return Refused(LARGE, f"the request has more than {options.max_upload} MiB", "send smaller or fewer images")
