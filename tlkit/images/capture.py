"""When and with which camera photos were taken, from the headers of their files."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tlkit.images.batches import cpu_count
from tlkit.images.opening import opened_file, opened_image
from tlkit.remote import THREADS, is_remote

_EXIF_FOLDER = 0x8769
_TAKEN, _DIGITISED = 0x9003, 0x9004  # DateTimeOriginal, DateTimeDigitized; DateTime may be that of a program
_MAKE, _MODEL, _SERIAL = 0x010F, 0x0110, 0xA431


class Capture(NamedTuple):
    """How a photo was taken, as far as its file says.

    Attributes:
        day: The day, such as "2024-05-31"; "" if it does not say.
        camera: Maker, model and serial number of the camera; "" likewise.
    """

    day: str = ""
    camera: str = ""


def read_capture(path: Path) -> Capture:
    """Read the EXIF header of one file; a file that cannot be read says nothing."""
    # broken EXIF data can make Pillow raise anything
    with suppress(Exception), opened_file(path) as file, opened_image(file, str(path)) as opened:
        exif = opened.image.getexif()
        inner = exif.get_ifd(_EXIF_FOLDER)
        taken = _text(inner.get(_TAKEN)) or _text(inner.get(_DIGITISED))
        camera = [_text(exif.get(_MAKE)), _text(exif.get(_MODEL)), _text(inner.get(_SERIAL))]
        return Capture(_day(taken), " ".join(part for part in camera if part))
    return Capture()


def read_captures(paths: Sequence[Path], workers: int | None = None) -> list[Capture]:
    """Read the EXIF headers of many files with threads; no pixels are decoded."""
    threads = THREADS if any(map(is_remote, paths)) else workers or cpu_count()
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(read_capture, paths))


def _text(value: object) -> str:
    return value.strip(" \t\r\n\0") if isinstance(value, str) else ""


def _day(taken: str) -> str:
    """Return the day of an EXIF time such as "2024:05:31 10:00:00"; "" for an unset clock."""
    day = taken[:10].replace(":", "-")
    return day if len(day) == 10 and day.replace("-", "").isdigit() and not day.startswith("0000") else ""
