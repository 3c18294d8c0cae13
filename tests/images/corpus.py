"""Images of every kind, good and bad, made on the spot.

`good` and `bad` give them in memory, `write` puts them into a folder. What the installed Pillow cannot write
is left out.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, features

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
ORIENTATION = 0x0112


@dataclass(frozen=True, eq=False)
class Good:
    """An image that must read as `pixels`, each value within `tolerance`."""

    name: str
    data: bytes
    format: str
    pixels: np.ndarray
    tolerance: int = 0
    frames: int = 1
    orientation: int = 1


@dataclass(frozen=True, eq=False)
class Bad:
    """A file that must be refused for `reason`, a regular expression."""

    name: str
    data: bytes
    reason: str = "truncated|damaged"


def quarters(height: int = 32, width: int = 48) -> np.ndarray:
    """Four colours that meet off the middle, so that no turn or flip of it is the same."""
    pixels = np.empty((height, width, 3), np.uint8)
    # By default on multiples of 16, the blocks of a JPEG.
    row, column = height // 2, width // 3
    pixels[:row, :column], pixels[:row, column:] = RED, GREEN
    pixels[row:, :column], pixels[row:, column:] = BLUE, YELLOW
    return pixels


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with a little texture, which compresses as photographs do."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin(columns / width * 9 + k) + np.cos(rows / height * 7 - 2 * k) for k in range(3)]
    noise = np.random.default_rng(seed).normal(0, 4, (height, width, 3))
    return np.clip(128 + 55 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores for an image that is shown as `upright` once its EXIF orientation is applied."""
    turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(turns[orientation](upright))


def encode(image: Image.Image | np.ndarray, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags.tobytes()


def png(header: bytes, rows: bytes, *chunks: tuple[bytes, bytes], after: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A PNG from its 13 header bytes, its filtered rows and any chunks between or after them."""
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def tiff(samples: np.ndarray, photometric: int = 1, sample_format: int = 1, extra: int | None = None) -> bytes:
    """An uncompressed little-endian TIFF whose samples are written just as they are."""
    height, width = samples.shape[:2]
    count = samples.shape[2] if samples.ndim == 3 else 1
    body = np.ascontiguousarray(samples).tobytes()
    lists = struct.pack(f"<{2 * count}H", *[8 * samples.itemsize] * count, *[sample_format] * count)
    bits, formats = 8 + len(body), 8 + len(body) + 2 * count
    inline = count <= 2
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, count, struct.unpack("<I", lists[: 2 * count].ljust(4, b"\0"))[0] if inline else bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, count),
        (278, 4, 1, height),
        (279, 4, 1, len(body)),
        *([] if extra is None else [(338, 3, 1, extra)]),
        (339, 3, count, struct.unpack("<I", lists[2 * count :].ljust(4, b"\0"))[0] if inline else formats),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(body) + len(lists)) + body + lists + directory


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """The same TIFF of `tiff`, but a tag that it has holds another number."""
    start = struct.unpack("<I", data[4:8])[0] + 2
    while struct.unpack("<H", data[start : start + 2])[0] != tag:
        start += 12
    return data[: start + 8] + struct.pack("<I", value) + data[start + 12 :]


def declare_jpeg_size(data: bytes, height: int, width: int) -> bytes:
    """The same JPEG, but its header claims another size."""
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


def without_adobe_marker(data: bytes) -> bytes:
    start = data.index(b"\xff\xee")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


def psd(pixels: np.ndarray) -> bytes:
    """A PSD without layers: its composite, uncompressed."""
    height, width, channels = pixels.shape
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, channels, height, width, 8, 3)
    return header + bytes(12) + b"\0\0" + np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()


def has(format: str) -> bool:
    Image.init()
    feature = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}.get(format)
    return format in Image.SAVE and format in Image.OPEN and (feature is None or bool(features.check(feature)))


@cache
def good() -> dict[str, Good]:
    """All good images, by name."""
    found = [*_formats(), *_modes(), *_deep(), *_transparent(), *_turned(), *_odd(), *_with_metadata()]
    assert len({case.name for case in found}) == len(found)
    return {case.name: case for case in found}


def _formats() -> Iterator[Good]:
    rgb = quarters()
    flat = np.full((32, 48, 3), (200, 30, 60), np.uint8)
    yield Good("plain.jpg", encode(rgb, "JPEG", quality=100, subsampling=0), "JPEG", rgb, 3)
    yield Good("progressive.jpg", encode(rgb, "JPEG", quality=100, subsampling=0, progressive=True), "JPEG", rgb, 3)
    inverted = encode(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=100)
    yield Good("cmyk-adobe.jpg", inverted, "JPEG", rgb, 6)
    # Without the marker, too, browsers and Pillow take a CMYK JPEG to be inverted.
    yield Good("cmyk-unmarked.jpg", without_adobe_marker(inverted), "JPEG", rgb, 6)
    yield Good("plain.png", encode(rgb, "PNG"), "PNG", rgb)
    yield Good("plain.bmp", encode(rgb, "BMP"), "BMP", rgb)
    yield Good("plain.dib", encode(rgb, "DIB"), "DIB", rgb)
    yield Good("plain.gif", encode(rgb, "GIF"), "GIF", rgb)
    yield Good("plain.ppm", encode(rgb, "PPM"), "PPM", rgb)
    yield Good("plain.tga", encode(rgb, "TGA"), "TGA", rgb)
    yield Good("packed.tga", encode(rgb, "TGA", compression="tga_rle"), "TGA", rgb)
    yield Good("plain.pcx", encode(rgb, "PCX"), "PCX", rgb)
    yield Good("plain.sgi", encode(rgb, "SGI"), "SGI", rgb)
    yield Good("plain.ico", encode(rgb, "ICO", sizes=[(48, 32)]), "ICO", rgb)
    yield Good(
        "bitmap.ico",
        encode(Image.fromarray(rgb).convert("RGBA"), "ICO", sizes=[(48, 32)], bitmap_format="bmp"),
        "ICO",
        rgb,
    )
    yield Good(
        "plain.mpo",
        encode(rgb, "MPO", save_all=True, append_images=[Image.new("RGB", (48, 32))], quality=100, subsampling=0),
        "MPO",
        rgb,
        3,
        frames=2,
    )
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits"):
        yield Good(f"{compression}.tif", encode(rgb, "TIFF", compression=compression), "TIFF", rgb)
    yield Good("jpeg.tif", encode(flat, "TIFF", compression="jpeg"), "TIFF", flat, 6)
    ycbcr = Image.fromarray(flat).convert("YCbCr")
    yield Good("ycbcr.tif", encode(ycbcr, "TIFF", compression="jpeg"), "TIFF", flat, 6)
    if has("WEBP"):
        yield Good("lossless.webp", encode(rgb, "WEBP", lossless=True), "WEBP", rgb)
        yield Good("lossy.webp", encode(flat, "WEBP"), "WEBP", flat, 6)
    if has("AVIF"):
        yield Good("plain.avif", encode(rgb, "AVIF", quality=100, subsampling="4:4:4"), "AVIF", rgb, 8)
    if has("JPEG2000"):
        yield Good("plain.jp2", encode(rgb, "JPEG2000"), "JPEG2000", rgb)
        yield Good("stream.j2k", encode(rgb, "JPEG2000", no_jp2=True), "JPEG2000", rgb)
    yield Good("plain.psd", psd(rgb), "PSD", rgb)
    if has("QOI"):
        yield Good("plain.qoi", encode(rgb, "QOI"), "QOI", rgb)


def _modes() -> Iterator[Good]:
    rgb = quarters()
    image = Image.fromarray(rgb)
    grey = np.repeat(np.arange(0, 240, 5, np.uint8)[None, :, None], 32, 0).repeat(3, 2)
    bits = (np.indices((32, 48)).sum(0) % 2 * 255).astype(np.uint8)
    for format, suffix in (("PNG", "png"), ("TIFF", "tif"), ("BMP", "bmp"), ("PPM", "pgm"), ("GIF", "gif")):
        yield Good(f"grey.{suffix}", encode(grey[..., 0], format), format, grey)
        yield Good(f"bits.{suffix}", encode(Image.fromarray(bits).convert("1"), format), format, _three(bits))
    yield Good("grey.jpg", encode(grey[..., 0], "JPEG", quality=100), "JPEG", grey, 3)
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    for format, suffix in (("PNG", "png"), ("TIFF", "tif"), ("BMP", "bmp"), ("GIF", "gif")):
        yield Good(f"palette.{suffix}", encode(palette, format), format, rgb)
    yield Good("cmyk.tif", encode(image.convert("CMYK"), "TIFF"), "TIFF", rgb)
    white_red = np.array([[[255, 128, 128], [138, 209, 198]]], np.uint8)
    lab = np.concatenate([white_red[..., :1], white_red[..., 1:] ^ 128], -1)
    expected = np.array([[[255, 255, 255], [255, 0, 0]]], np.uint8)
    yield Good("lab.tif", tiff(lab, photometric=8), "TIFF", expected, 6)


def _three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, -1)


def _deep() -> Iterator[Good]:
    ramp16 = np.linspace(0, 65535, 48 * 32).astype(np.uint16).reshape(32, 48)
    full16 = _three(np.rint(ramp16 / 257).astype(np.uint8))
    yield Good("deep16.png", encode(Image.fromarray(ramp16), "PNG"), "PNG", full16)
    yield Good("deep16.tif", tiff(ramp16), "TIFF", full16)
    yield Good("deep16-white-is-zero.tif", tiff(65535 - ramp16, photometric=0), "TIFF", full16)
    white12 = np.linspace(4095, 0, 48 * 32).astype(np.uint16).reshape(32, 48)
    yield Good("deep12-white-is-zero.tif", tiff(white12, photometric=0), "TIFF",
               _three(255 - np.rint(white12 * (255 / 4095)).astype(np.uint8)))  # fmt: skip
    yield Good("deep16-big-endian.tif", encode(Image.fromarray(ramp16.astype(">u2")), "TIFF"), "TIFF", full16)
    yield Good("deep16.pgm", b"P5 48 32 65535\n" + ramp16.astype(">u2").tobytes(), "PPM", full16)
    for depth in (10, 12, 14):
        ramp = np.linspace(0, 2**depth - 1, 48 * 32).astype(np.uint16).reshape(32, 48)
        pixels = _three(np.rint(ramp * (255 / (2**depth - 1))).astype(np.uint8))
        yield Good(f"deep{depth}.png", encode(Image.fromarray(ramp), "PNG"), "PNG", pixels)
    small = (ramp16 // 257).astype(np.uint16)
    yield Good("eight-in-16.tif", tiff(small), "TIFF", _three(small.astype(np.uint8)))
    signed = (ramp16.astype(np.int32) - 30000).astype(np.int16)
    stretched = _three(np.rint((signed - np.float64(signed.min())) * 255 / np.ptp(signed.astype(int))).astype(np.uint8))
    yield Good("signed16.tif", tiff(signed, sample_format=2), "TIFF", stretched)
    yield Good("signed32.tif", tiff(signed.astype(np.int32), sample_format=2), "TIFF", stretched)
    ramp32 = np.linspace(0, 2**32 - 1, 48 * 32).astype(np.uint32).reshape(32, 48)
    full32 = _three(np.rint(ramp32 * (255 / (2**32 - 1))).astype(np.uint8))
    yield Good("unsigned32.tif", tiff(ramp32), "TIFF", full32)
    unit = np.linspace(0, 1, 48 * 32, dtype=np.float32).reshape(32, 48)
    yield Good("float-unit.tif", tiff(unit, sample_format=3), "TIFF", _three(np.rint(unit * 255.0).astype(np.uint8)))
    white = tiff(1 - unit, photometric=0, sample_format=3)
    yield Good("float-white-is-zero.tif", white, "TIFF", _three(255 - np.rint((1 - unit) * 255.0).astype(np.uint8)))
    byte = np.floor(unit * 255)
    yield Good("float-255.tif", tiff(byte, sample_format=3), "TIFF", _three(byte.astype(np.uint8)))
    wide = np.round(unit * 255) * 40 - 1000
    yield Good("float-wide.tif", tiff(wide, sample_format=3), "TIFF", _three(np.round(unit * 255).astype(np.uint8)))
    holes = byte.copy()
    holes[0, :3] = np.nan, np.inf, -np.inf
    filled = byte.astype(np.uint8)
    filled[0, :3] = 0, 255, 0
    yield Good("float-holes.tif", tiff(holes, sample_format=3), "TIFF", _three(filled))
    for value, name in ((np.nan, "nan"), (-7.0, "negative"), (1e30, "huge")):
        constant = np.full((4, 5), value, np.float32)
        yield Good(f"float-{name}.tif", tiff(constant, sample_format=3), "TIFF", np.zeros((4, 5, 3), np.uint8))
    rgb = np.stack([ramp16, ramp16[::-1], ramp16[:, ::-1]], -1)
    yield Good("rgb16.tif", tiff(rgb, photometric=2), "TIFF", (rgb >> 8).astype(np.uint8))


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    alpha = alpha[..., None].astype(np.float64)
    return np.rint((rgb * alpha + 255.0 * (255 - alpha)) / 255).astype(np.uint8)


def _transparent() -> Iterator[Good]:
    rgb = quarters()
    alpha = np.linspace(0, 255, 48 * 32).astype(np.uint8).reshape(32, 48)
    rgba = np.dstack([rgb, alpha])
    pixels = over_white(rgb, alpha)
    yield Good("rgba.png", encode(rgba, "PNG"), "PNG", pixels)
    yield Good("rgba.tif", encode(rgba, "TIFF"), "TIFF", pixels)
    yield Good("rgba.tga", encode(rgba, "TGA"), "TGA", pixels)
    if has("WEBP"):
        yield Good("rgba.webp", encode(rgba, "WEBP", lossless=True, exact=True), "WEBP", pixels)
    premultiplied = np.dstack([np.rint(rgb * (alpha[..., None] / 255)).astype(np.uint8), alpha])
    yield Good("premultiplied.tif", tiff(premultiplied, photometric=2, extra=1), "TIFF", pixels, 2)
    grey = np.tile(np.arange(0, 240, 5, np.uint8), (32, 1))
    la = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    yield Good("la.png", encode(la, "PNG"), "PNG", over_white(_three(grey), alpha))
    indices = np.tile(np.arange(48, dtype=np.uint8) // 12, (32, 1))
    palette = Image.fromarray(indices).convert("P")
    palette.putpalette([*RED, *GREEN, *BLUE, *YELLOW])
    colours = np.array([RED, GREEN, BLUE, YELLOW], np.uint8)[indices]
    steps = np.array([0, 100, 200, 255], np.uint8)
    yield Good(
        "palette-alpha.png",
        encode(palette, "PNG", transparency=steps.tobytes()),
        "PNG",
        over_white(colours, steps[indices]),
    )
    one = over_white(colours, np.where(indices == 2, 0, 255).astype(np.uint8))
    yield Good("palette-key.png", encode(palette, "PNG", transparency=2), "PNG", one)
    yield Good("palette-key.gif", encode(palette, "GIF", transparency=2), "GIF", one)
    yield from _key_colours(rgb, grey)


def _key_colours(rgb: np.ndarray, grey: np.ndarray) -> Iterator[Good]:
    green_gone = np.where((rgb == GREEN).all(-1, keepdims=True), 255, rgb).astype(np.uint8)
    yield Good("rgb-key.png", encode(rgb, "PNG", transparency=GREEN), "PNG", green_gone)
    gone = np.where(grey == 50, 255, grey).astype(np.uint8)
    yield Good("grey-key.png", encode(grey, "PNG", transparency=50), "PNG", _three(gone))
    deep = (grey * np.uint16(257)).astype(np.uint16)
    deep[0, 0] = 65535
    gone[0, 0] = 255
    yield Good("deep-key.png", encode(Image.fromarray(deep), "PNG", transparency=50 * 257), "PNG", _three(gone))
    # Two and four bits a pixel: the key is written on the scale of the file, 0..3 and 0..15.
    two = png(struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0), b"\0\x1b", (b"tRNS", b"\0\2"))
    yield Good("two-bits-key.png", two, "PNG", _three(np.array([[0, 85, 255, 255]], np.uint8)))
    four = png(struct.pack(">IIBBBBB", 4, 1, 4, 0, 0, 0, 0), b"\0\x04\x8f", (b"tRNS", b"\0\4"))
    yield Good("four-bits-key.png", four, "PNG", _three(np.array([[0, 255, 136, 255]], np.uint8)))
    bit = png(struct.pack(">IIBBBBB", 4, 1, 1, 0, 0, 0, 0), b"\0\x50", (b"tRNS", b"\0\0"))
    yield Good("one-bit-key.png", bit, "PNG", np.full((1, 4, 3), 255, np.uint8))
    wide = struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0, 0x1000, 0x2000)
    sixteen = png(struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), b"\0" + wide, (b"tRNS", wide[:6]))
    yield Good("rgb16-key.png", sixteen, "PNG", np.array([[[255, 255, 255], [0, 0x10, 0x20]]], np.uint8))
    odd = png(struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0), b"\0\x07\x2c", (b"tRNS", b"\1\x2c"))
    yield Good("key-no-pixel-can-have.png", odd, "PNG", _three(np.array([[7, 44]], np.uint8)))


def _turned() -> Iterator[Good]:
    rgb = quarters()
    for turn in range(1, 9):
        kept = stored(rgb, turn)
        tags = exif(turn)
        yield Good(
            f"turn{turn}.jpg",
            encode(kept, "JPEG", exif=tags, quality=100, subsampling=0),
            "JPEG",
            rgb,
            3,
            orientation=turn,
        )
        yield Good(f"turn{turn}.png", encode(kept, "PNG", exif=tags), "PNG", rgb, orientation=turn)
        for compression in ("raw", "tiff_lzw"):
            data = encode(kept, "TIFF", exif=tags, compression=compression)
            yield Good(f"turn{turn}-{compression}.tif", data, "TIFF", rgb, orientation=turn)
        if has("WEBP"):
            data = encode(kept, "WEBP", exif=tags, lossless=True)
            yield Good(f"turn{turn}.webp", data, "WEBP", rgb, orientation=turn)
        if has("AVIF"):
            data = encode(kept, "AVIF", exif=tags, quality=100, subsampling="4:4:4")
            yield Good(f"turn{turn}.avif", data, "AVIF", rgb, 8, orientation=turn)


def _odd() -> Iterator[Good]:
    rgb = quarters()
    jpeg = encode(rgb, "JPEG", quality=100, subsampling=0)
    yield Good("really-a-jpeg.png", jpeg, "JPEG", rgb, 3)
    yield Good("really-a-png.jpg", encode(rgb, "PNG"), "PNG", rgb)
    yield Good("trailing-zeros.jpg", jpeg + bytes(1000), "JPEG", rgb, 3)
    yield Good("trailing-bytes.png", encode(rgb, "PNG") + b"and more", "PNG", rgb)
    for name, tags in (
        ("garbage", b"Exif\0\0garbage"),
        ("cut", exif(6)[:-9]),
        ("nine", exif(9)),
        ("empty", b""),
    ):
        data = encode(rgb, "JPEG", exif=tags, quality=100, subsampling=0)
        yield Good(f"exif-{name}.jpg", data, "JPEG", rgb, 3)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield Good("profile.jpg", encode(rgb, "JPEG", icc_profile=profile, quality=100, subsampling=0), "JPEG", rgb, 3)
    yield Good("profile.png", encode(rgb, "PNG", icc_profile=profile), "PNG", rgb)
    yield Good("broken-profile.png", encode(rgb, "PNG", icc_profile=b"no profile"), "PNG", rgb)
    later = [Image.new("RGB", (48, 32), colour) for colour in ("black", "white")]
    for format, suffix in (
        ("GIF", "gif"),
        ("PNG", "png"),
        ("TIFF", "tif"),
        ("WEBP", "webp"),
        ("AVIF", "avif"),
    ):
        if has(format):
            options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}.get(format, {})
            data = encode(rgb, format, save_all=True, append_images=later, **options)
            yield Good(f"frames.{suffix}", data, format, rgb, 8 if format == "AVIF" else 0, frames=3)
    for height, width in ((1, 1), (1, 10000), (10000, 1), (3, 2)):
        pixels = np.full((height, width, 3), (10, 20, 30), np.uint8)
        yield Good(f"size{height}x{width}.png", encode(pixels, "PNG"), "PNG", pixels)
        yield Good(f"size{height}x{width}.jpg", encode(pixels, "JPEG", quality=100), "JPEG", pixels, 3)


def film() -> bytes:
    """What phones append to a photo: a film, which may hold any bytes and end in zeros."""
    return b"\0\0\0\x18ftypmp42" + np.random.default_rng(0).bytes(3000) + b"\xff\xda" + bytes(40)


def _with_metadata() -> Iterator[Good]:
    """Images with metadata that are large, broken or an attack: they change no pixel."""
    rgb = quarters(32, 48)
    jpeg = encode(rgb, "JPEG", quality=100, subsampling=0)
    progressive = encode(rgb, "JPEG", quality=100, subsampling=0, progressive=True)
    yield Good("meta-motion-photo.jpg", jpeg + film(), "JPEG", rgb, 3)
    yield Good("meta-motion-photo-progressive.jpg", progressive + film(), "JPEG", rgb, 3)
    preview = jpeg[:2] + segment(0xE1, b"Exif\0\0" + jpeg) + jpeg[2:] + film()
    yield Good("meta-motion-photo-preview.jpg", preview, "JPEG", rgb, 3)
    extended = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(60_000)) * 20
    yield Good("meta-large-xmp.jpg", jpeg[:2] + extended + jpeg[2:], "JPEG", rgb, 3)
    for name, index in (("cut", b"II*\0"), ("garbage", b"garbage")):
        yield Good(f"meta-index-{name}.jpg", jpeg[:2] + segment(0xE2, b"MPF\0" + index) + jpeg[2:], "JPEG", rgb, 3)
    header, rows = struct.pack(">IIBBBBB", 48, 32, 8, 2, 0, 0, 0), b"".join(b"\0" + row.tobytes() for row in rgb)
    bomb = zlib.compress(bytes(70_000_000))
    for name, chunk in (
        ("text", (b"zTXt", b"comment\0\0" + bomb)),
        ("translated", (b"iTXt", b"comment\0\1\0\0\0" + bomb)),
        ("profile", (b"iCCP", b"profile\0\0" + bomb)),
        ("xmp", (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)),
        ("private", (b"prVt", bytes(2_000_000))),
        ("short-gamma", (b"gAMA", b"\0")),
    ):
        yield Good(f"meta-large-{name}.png", png(header, rows, chunk), "PNG", rgb)
        yield Good(f"meta-large-{name}-after.png", png(header, rows, after=(chunk,)), "PNG", rgb)
    wrong = bytearray(png(header, rows, (b"tEXt", b"comment\0text")))
    wrong[wrong.index(b"text") + 5] ^= 1
    yield Good("meta-wrong-checksum.png", bytes(wrong), "PNG", rgb)
    turn = b'<x:xmpmeta tiff:Orientation="6"/>'
    for name, chunk in (
        ("xmp", (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + turn)),
        ("packed", (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(turn))),
    ):
        kept = stored(rgb, 6)
        size, lines = struct.pack(">II", *kept.shape[1::-1]), b"".join(b"\0" + row.tobytes() for row in kept)
        data = png(size + header[8:], lines, (b"tEXt", b"a\0b"), chunk)
        yield Good(f"meta-turned-{name}.png", data, "PNG", rgb, orientation=6)
    if has("WEBP"):
        packed = encode(rgb, "WEBP", lossless=True, xmp=bytes(3_000_000), icc_profile=bytes(2_000_000))
        yield Good("meta-large-metadata.webp", packed, "WEBP", rgb)


@cache
def bad() -> dict[str, Bad]:
    """All bad files, by name."""
    found = [*_no_images(), *_rare_kinds(), *_bombs(), *_truncated()]
    assert len({case.name for case in found}) == len(found)
    return {case.name: case for case in found}


def _no_images() -> Iterator[Bad]:
    yield Bad("empty.jpg", b"", "empty file")
    yield Bad("text.jpg", b"This is a letter, not an image.\n" * 40, "not an image")
    yield Bad("zeros.jpg", bytes(5000), "not an image")
    yield Bad("noise.png", np.random.default_rng(5).bytes(5000), "not an image")
    yield Bad("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "HTML files cannot be read")
    yield Bad("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG files cannot be read")
    yield Bad("paper.jpg", b"%PDF-1.4\n%%EOF", "PDF files cannot be read")
    yield Bad("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage", "EPS files cannot be read")
    yield Bad("letter.jpg", b"\xff\xd8\xff", "damaged|truncated")


def _rare_kinds() -> Iterator[Bad]:
    """Sound files of kinds that Pillow cannot decode, or would read wrongly."""
    grey = tiff(np.full((4, 5), 90, np.uint8))
    yield Bad("nine-channels.tif", tiff(np.zeros((4, 4, 9), np.uint8)), "not supported: TIFF with 9 channels of 8-bit")
    for name, samples, form in (
        ("half", np.zeros((4, 5), np.float16), 3),
        ("double", np.zeros((4, 5), np.float64), 3),
        ("float-rgb", np.zeros((4, 5, 3), np.float32), 3),
        ("complex", np.zeros((4, 5), np.complex64), 6),
        ("long", np.zeros((4, 5), np.uint64), 1),
        ("signed8", np.zeros((4, 5), np.int8), 2),
    ):
        bits = f"{8 * samples.itemsize}-bit"
        data = tiff(samples, photometric=2 if samples.ndim == 3 else 1, sample_format=form)
        yield Bad(f"{name}.tif", data, f"not supported: TIFF with .* of {bits}")
    yield Bad("sensor.tif", with_tag(grey, 262, 32803), "not supported: TIFF with photometric interpretation 32803")
    yield Bad("jpeg2000.tif", with_tag(grey, 259, 34712), "not supported: TIFF with compression 34712")
    # four planes of one 16-bit channel each, which Pillow would take for bytes
    planes = with_tag(tiff(np.zeros((4, 5, 3), np.uint16), photometric=2), 278, 4)
    yield Bad(
        "planes16.tif",
        planes.replace(struct.pack("<HHII", 278, 4, 1, 4), struct.pack("<HHII", 284, 3, 1, 2)),
        "not supported: TIFF",
    )
    jpeg = encode(quarters(), "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    yield Bad("deep.jpg", jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :], "not supported: this kind of JPEG")
    yield Bad("lossless.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc3"), "not supported: lossless JPEG")
    apps = png(struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0), bytes(4))
    yield Bad(
        "apps.png", apps[:8] + b"\0\0\0\4CgBI\x50\0\x20\2\x2b\xd5\xb3\x7f" + apps[8:], "not supported: PNG as Apple"
    )
    bitmap = encode(quarters(), "BMP")
    yield Bad("two-bits.bmp", bitmap[:28] + b"\2\0" + bitmap[30:], "not supported: this kind of BMP")
    yield Bad("deep.psd", psd(quarters()).replace(b"\0\x08\0\3", b"\0\x10\0\3", 1), "not supported: PSD")


def _bombs() -> Iterator[Bad]:
    for height, width in ((20000, 20000), (2**31 - 1, 1), (13378, 13378), (2**31 - 1, 2**31 - 1)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        yield Bad(f"bomb{height}x{width}.png", png(header, b"\0"), f"too large: {width}x{height} pixels")
    jpeg = declare_jpeg_size(encode(quarters(), "JPEG"), 20000, 20000)
    yield Bad("bomb20000x20000.jpg", jpeg, "too large: 20000x20000 pixels")
    # The size is sound, the pixels are not there.
    yield Bad("hollow.png", png(struct.pack(">IIBBBBB", 8000, 8000, 8, 2, 0, 0, 0), b"\0"))


def _truncated() -> Iterator[Bad]:
    """Every format, cut at each tenth. The first frame of several may be whole, so those are left out."""
    pixels = photo(96, 128)
    whole = {
        "plain.jpg": encode(pixels, "JPEG"),
        "progressive.jpg": encode(pixels, "JPEG", progressive=True),
        "large.jpg": encode(photo(1200, 1600), "JPEG"),
    }
    spared = ("trailing", "size", "really", "meta")  # whole without their end
    for case in good().values():
        if case.frames == 1 and len(case.data) > 200 and not case.name.startswith(spared):
            whole.setdefault(case.name, case.data)
    for name, data in whole.items():
        stem, _, suffix = name.rpartition(".")
        for tenth in range(1, 10):
            cut = data[: len(data) * tenth // 10]
            yield Bad(f"{stem}-cut{tenth}.{suffix}", cut, "truncated|damaged|not an image")
    jpeg = encode(pixels, "JPEG")
    half = jpeg[: len(jpeg) // 2]
    yield Bad("zero-filled.jpg", half + bytes(len(jpeg) - len(half)), "truncated")


def write(folder: Path) -> tuple[list[Path], list[Path]]:
    """Write everything into ``folder/good`` and ``folder/bad``; give the paths of both."""
    paths: tuple[list[Path], list[Path]] = [], []
    for cases, kind, found in ((good(), "good", paths[0]), (bad(), "bad", paths[1])):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for case in cases.values():
            path = folder / kind / case.name
            path.write_bytes(case.data)
            found.append(path)
    return paths
