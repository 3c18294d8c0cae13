"""Decide which files count as images, and detect a file's actual format from its first bytes.

Formats have Pillow's names (``"JPEG"``, ``"PNG"``, ...), except that HEIF images are called ``"HEIC"``, the name that
people know.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final

HEADER_BYTES: Final = 512
"""Number of bytes at the start of a file that `sniff_format` needs."""

# Formats that Pillow decodes by itself. Formats that start another program (EPS), need an external handler (WMF, FITS,
# HDF5, GRIB, BUFR) or hold no photographs are left out, so that a malicious file never reaches one of those rarely
# exercised decoders. TGA is last: it has no magic bytes.
FORMATS: Final = (
    "JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF",
    "PPM", "JPEG2000", "ICO", "PCX", "SGI", "QOI", "PSD", "TGA",
)  # fmt: skip
_FEATURE: Final = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}

_JPEG_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"})
_BMP_SUFFIXES: Final = frozenset({".bmp", ".dib"})
_SUFFIXES: Final[dict[str, frozenset[str]]] = {
    "JPEG": _JPEG_SUFFIXES,
    "MPO": _JPEG_SUFFIXES,
    "PNG": frozenset({".png", ".apng"}),
    "WEBP": frozenset({".webp"}),
    "GIF": frozenset({".gif"}),
    "TIFF": frozenset({".tif", ".tiff"}),
    "BMP": _BMP_SUFFIXES,
    "DIB": _BMP_SUFFIXES,
    "AVIF": frozenset({".avif", ".avifs"}),
    "HEIC": frozenset({".heic", ".heif", ".hif"}),
    "PPM": frozenset({".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}),
    "JPEG2000": frozenset({".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf"}),
    "ICO": frozenset({".ico"}),
    "PCX": frozenset({".pcx"}),
    "SGI": frozenset({".sgi"}),
    "QOI": frozenset({".qoi"}),
    "PSD": frozenset({".psd"}),
    "TGA": frozenset({".tga", ".icb", ".vda", ".vst"}),
}

_NONE: Final[frozenset[str]] = frozenset()

IMAGE_SUFFIXES: Final[frozenset[str]] = frozenset().union(*_SUFFIXES.values())
"""Suffixes of image files for folder scanning, lower case with the dot."""

# The first bytes of files. The formats below the gap are not read; they are only named in error messages.
_MAGIC: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\1\0", "ICO"),
    (b"\x01\xda", "SGI"),
    (b"qoif", "QOI"),
    (b"8BPS", "PSD"),
    #
    (b"%PDF-", "PDF"),
    (b"%!PS", "EPS"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
)
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIC_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}
)
_BMP_HEADER_SIZES: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_TGA_FOOTER: Final = b"TRUEVISION-XFILE.\0"


def sniff_format(header: bytes) -> str | None:
    """Detect a file's actual format from its first bytes, regardless of its name.

    Args:
        header: The first `HEADER_BYTES` bytes of the file, or all bytes of a shorter file.

    Returns:
        A format such as ``"JPEG"``; ``"PDF"``, ``"EPS"``, ``"SVG"``, ``"HTML"`` or ``"JPEG XL"`` for unreadable files
        that are often named like images; None if the format is unknown. TGA has no magic bytes, so it is never
        returned.

    Example:
        >>> sniff_format(bytes([0xFF, 0xD8, 0xFF, 0xE0]))
        'JPEG'
    """
    for magic, name in _MAGIC:
        if header.startswith(magic):
            return name
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return "WEBP"
    if header[4:8] == b"ftyp":
        return _sniff_brands(header)
    if header[:2] == b"BM" and int.from_bytes(header[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if header[:1] == b"P" and header[1:2] in b"123456fF" and header[2:3].isspace():
        return "PPM"
    if header[:1] == b"\n" and header[1:2] in b"\0\2\3\5" and header[2:3] in b"\0\1" and len(header) >= 128:
        return "PCX"
    return _sniff_text(header)


def _sniff_brands(header: bytes) -> str | None:
    """Tell AVIF from HEIC, which share one container, by the file's list of brands."""
    box = header[: min(int.from_bytes(header[:4], "big"), len(header))]
    brands = {box[8:12], *(box[start : start + 4] for start in range(16, len(box) - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else None


def _sniff_text(header: bytes) -> str | None:
    """Detect two kinds of text in files named like images: SVG drawings and HTML error pages of failed downloads."""
    text = header.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "HTML"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "SVG"
    return None


def suffix_matches(path: str | os.PathLike[str], format: str) -> bool:
    """Return whether a file's suffix fits its format.

    Args:
        path: The file's name or path; case is ignored.
        format: Its actual format, from `sniff_format` or a `ReadImage`.

    Example:
        >>> suffix_matches("holiday.JPG", "JPEG"), suffix_matches("holiday.jpg", "PNG")
        (True, False)
    """
    return os.path.splitext(path)[1].lower() in _SUFFIXES.get(format, _NONE)  # noqa: PTH122  (faster)


@cache
def decodable() -> tuple[str, ...]:
    """Return those of `FORMATS` that the installed Pillow can decode."""
    from PIL import Image, features  # not above: the command line knows suffixes without it

    Image.init()
    return tuple(
        name for name in FORMATS if name in Image.OPEN and (name not in _FEATURE or features.check(_FEATURE[name]))
    )


def candidates(format: str | None, path: str | None, tail: bytes) -> tuple[str, ...]:
    """Return the formats to try on a file; none if it has a known format that Pillow cannot decode.

    Any file without magic bytes could be a TGA. Only one with a TGA suffix or footer is tried as TGA.

    Args:
        format: The result of `sniff_format`.
        path: The file's path; None: not a file.
        tail: The last 18 bytes of the file, or more.
    """
    known = decodable()
    if format is not None:
        return (format,) if format in known else ()
    if tail.endswith(_TGA_FOOTER) or (path is not None and suffix_matches(path, "TGA")):
        return known
    return tuple(name for name in known if name != "TGA")


@cache
def register_heif() -> bool:
    """Register HEIC images with Pillow, once; return False if `pillow_heif` is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
