"""Download published weights ahead of time; interrupted downloads are resumed, and checksums are verified."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.backbones import catalog
from tlkit.backbones.catalog.table import Backbone, cached_path
from tlkit.durable import sync_file
from tlkit.errors import TlkitError
from tlkit.locks import HeldError, locked
from tlkit.progress import Advance, Progress

PARTIAL = ".part"  # suffix of an incomplete file
TIMEOUT = 20.0  # seconds without an answer
ATTEMPTS, PAUSE = 4, 1.0  # attempts in a row without a byte received; seconds before the second, doubled each time
BLOCK = 1 << 18
MEGABYTE = 1_000_000
WAIT = 0.5  # seconds between two looks at whether another process has fetched the file
HDF5_HEAD = 52  # bytes that hold the length of an HDF5 file

Received = Callable[[int, int], None]
"""Called with the number of bytes received, and the size of the file in bytes (0: the server does not say)."""

_CONNECTION = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Fetched:
    """Weights that are now on this machine.

    Attributes:
        name: Name of the backbone.
        file: The file; None if the weights come with a Python package.
        bytes: Size of the file.
        had: Whether the weights were already there.
        verified: Whether the checksum was verified; False if Keras publishes none.
    """

    name: str
    file: Path | None
    bytes: int
    had: bool
    verified: bool


def fetch(backbone: Backbone, progress: Progress) -> Fetched:
    """Download the ImageNet weights of a backbone into Keras's cache.

    The file is written under another name and renamed when its checksum is right. If the connection breaks, the bytes
    received so far are kept and not requested again, in this run or a later one. MobileNet and MobileNetV2 always start
    from the beginning: without a published checksum, a file joined from two halves could not be verified.

    Args:
        backbone: Its catalogue row.
        progress: Progress reporter, in megabytes.

    Raises:
        TlkitError: The package with the weights is not installed, the server cannot be reached or does not have the
            file, the checksum is wrong, or the file cannot be written.
    """
    if backbone.packaged:
        if not catalog.is_here(backbone):
            raise TlkitError(f"the weights of {backbone.name} come as a package", backbone.package_hint)
        return Fetched(backbone.name, None, 0, had=True, verified=True)
    file, checksum = cached_path(backbone), backbone.weights_checksum
    try:
        if file.is_file() and is_right(file, checksum):
            return _had(backbone, file)
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file, progress):
            if file.is_file():
                if is_right(file, checksum):  # another process has fetched it
                    return _had(backbone, file)
                progress.note(f"{file} differs from the file that Keras publishes and will be replaced")
            part = file.with_name(file.name + PARTIAL)
            if not checksum:
                part.unlink(missing_ok=True)
            _receive_right(backbone, part, progress)
            sync_file(part)
            part.replace(file)
    except _CONNECTION as error:
        raise _unreachable(backbone, file, error) from error
    except OSError as error:
        reason = error.strerror or error
        raise TlkitError(f"cannot write {file}: {reason}", "set KERAS_HOME to use another folder") from error
    return Fetched(backbone.name, file, file.stat().st_size, had=False, verified=bool(checksum))


def _had(backbone: Backbone, file: Path) -> Fetched:
    return Fetched(backbone.name, file, file.stat().st_size, had=True, verified=bool(backbone.weights_checksum))


@contextlib.contextmanager
def _alone(file: Path, progress: Progress) -> Iterator[None]:
    """Wait until no other process fetches the file, and keep others from it."""
    told = False
    while True:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(file.with_name(f".{file.name}.lock")))
            except HeldError as error:
                if not told:
                    progress.note(f"waiting: {file.name} is being fetched by {error.holder or 'another process'}")
                told = True
            else:
                yield
                return
        time.sleep(WAIT)


def is_right(file: Path, checksum: str) -> bool:
    """Return whether a file has an MD5 (32 digits) or SHA-256 (64 digits); without one, whether it is a whole HDF5."""
    with file.open("rb") as stream:
        if not checksum:
            length = hdf5_length(stream.read(HDF5_HEAD))
            return length is not None and length <= file.stat().st_size
        digest = hashlib.md5(usedforsecurity=False) if len(checksum) == 32 else hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == checksum


def hdf5_length(head: bytes) -> int | None:
    """Return the length in bytes that an HDF5 file says it has; None if it is no HDF5 file.

    HDF5 File Format Specification, version 3.0, II.A: the superblock holds the address of the end of the file.

    Args:
        head: The first `HDF5_HEAD` bytes.
    """
    if len(head) < HDF5_HEAD or not head.startswith(b"\x89HDF\r\n\x1a\n"):
        return None
    version = head[8]
    if version > 3:
        return None
    size = head[13] if version < 2 else head[9]  # of an address
    # before the addresses: base, free space or extension, end of file
    start = {0: 24, 1: 28}.get(version, 12)
    if size not in (2, 4, 8):
        return None
    return int.from_bytes(head[start + 2 * size : start + 3 * size], "little")


def _receive_right(backbone: Backbone, part: Path, progress: Progress) -> None:
    """Receive the whole file; if it is wrong after resuming, receive it once more from the beginning."""
    for resumed in (part.exists(), False):
        _receive(backbone, part, progress)
        if is_right(part, backbone.weights_checksum):
            return
        part.unlink()
        if not resumed:
            break
        progress.note("the rest of an earlier download does not match the file; starting from the beginning")
    raise TlkitError(
        f"{backbone.weights_url} is not the file that Keras publishes: its checksum is wrong",
        "a proxy may have replaced it; nothing was kept",
    )


def _receive(backbone: Backbone, part: Path, progress: Progress) -> None:
    """Request the rest of the file until it is complete."""
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
                if _receive_rest(backbone.weights_url, part, received, bool(backbone.weights_checksum)):
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


def _receive_rest(url: str, part: Path, received: Received, verifiable: bool) -> bool:
    """Append the missing bytes to the partial file, and return whether it is complete.

    Raises:
        urllib.error.URLError: The server does not answer or refuses.
        OSError: The connection breaks, or the file cannot be written.
        TlkitError: The server does not say how long the file is, and no checksum would tell that a part is missing.
    """
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        answer: Any = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        return True  # the file is complete or too long; the checksum decides
    with answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        start = there if goes_on else 0
        length = answer.headers.get("Content-Length")
        if not length and not verifiable:
            text = f"the server does not say how long {url} is, and no checksum is published for it"
            raise TlkitError(text, "a proxy may leave out the length; try without it")
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
    except OSError as error:  # an error of the network, not of the file being written
        raise ConnectionError(str(error)) from error


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        text = f"not enough space in {folder}: {needed / MEGABYTE:.0f} MB needed, {free / MEGABYTE:.0f} MB free"
        raise TlkitError(text, "set KERAS_HOME to use another folder")


def _unreachable(backbone: Backbone, file: Path, error: BaseException) -> TlkitError:
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    if isinstance(error, urllib.error.HTTPError):
        reason = f"{error.code} {error.reason}"
    some = file.with_name(file.name + PARTIAL)
    kept = some.stat().st_size if some.exists() else 0
    resume = f"run the command again to resume after {kept / MEGABYTE:.0f} MB, or " if kept >= MEGABYTE else ""
    return TlkitError(f"cannot fetch {backbone.weights_url} ({reason})", f"{resume}save that file as {file}")
