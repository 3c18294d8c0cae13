"""Images made to harm: small files that ask for gigabytes or minutes. By hand, as long as it takes; in short by pytest.

    python tests/images/hostile.py                 each through predict, check and embed: exit codes, seconds, memory
    python tests/images/hostile.py --write DIR     only write them

With --model BUNDLE, predict uses that bundle; otherwise one is trained on the sample first. The exit code is 1 if a
command ended with 1, took more than 20 seconds for a file, or more than 700 MiB in all its processes together.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import numpy as np  # noqa: E402
from corpus import declare_jpeg_size, encode, exif, has, png, psd, quarters, segment, tiff, with_tag  # noqa: E402
from PIL import Image  # noqa: E402

SIDE = 13_300  # pixels; just below the size at which Pillow itself suspects an attack
SCALE = 1.0  # of what is long
MOST_SECONDS, MOST_MIB = 20.0, 700
Make = Callable[[], bytes]
Forged = tuple[str, str, Make]


def hostile() -> dict[str, tuple[str, Make]]:
    """All files: the name, why it is refused ("": read without harm), and a function that makes the bytes."""
    return {name: (why, make) for name, why, make in _all()}


def _all() -> list[Forged]:
    return [*_pngs(), *_jpegs(), *_jpeg2000s(), *_icons(), *_tiffs(), *_plain(), *_others()]


def flat_png(side: int, depth: int, colour: int, channels: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A sound PNG of zeros: a thousandth of its pixels."""
    packer = zlib.compressobj(1)
    row = bytes(1 + side * channels * depth // 8)
    rows = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.compress(row * (side % 100))
    body = rows + packer.flush()
    whole = png(struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0), b"", *chunks)
    at = whole.index(b"IDAT") - 4
    data = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    return whole[:at] + data + whole[at + 12 + int.from_bytes(whole[at : at + 4], "big") :]


def _pngs() -> Iterator[Forged]:
    yield "rgb.png", "too large", lambda: flat_png(SIDE, 8, 2, 3)
    yield "rgba.png", "too large", lambda: flat_png(SIDE, 8, 6, 4)
    yield "deep.png", "too large", lambda: flat_png(SIDE, 16, 2, 6 // 2)
    yield "palette.png", "too large", lambda: flat_png(SIDE, 8, 3, 1, (b"PLTE", bytes(768)), (b"tRNS", b"\0"))
    yield "grey.png", "", lambda: flat_png(SIDE, 8, 0, 1)
    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    bomb = zlib.compress(bytes(round(200_000_000 * SCALE)), 9)
    yield "text.png", "", lambda: png(header, bytes(14), (b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb))
    chunks = (struct.pack(">I", 0) + b"abCd" + struct.pack(">I", zlib.crc32(b"abCd"))) * round(1_500_000 * SCALE)
    sound = png(header, bytes(14))
    yield "chunks.png", "damaged", lambda: sound[:33] + chunks + sound[33:]


def _jpegs() -> Iterator[Forged]:
    def declared(**options: object) -> bytes:
        data = encode(quarters(), "JPEG", **options)
        return declare_jpeg_size(data.replace(b"\xff\xc2", b"\xff\xc0"), SIDE, SIDE)

    yield "huge.jpg", "", lambda: declared(quality=50)
    yield (
        "progressive.jpg",
        "too large",
        lambda: declared(progressive=True, subsampling=0).replace(b"\xff\xc0", b"\xff\xc2", 1),
    )

    def scans() -> bytes:
        data = encode(np.zeros((SIDE // 4, SIDE // 4, 3), np.uint8), "JPEG", progressive=True)
        last = data.rindex(b"\xff\xda")
        return data[:last] + data[last:-2] * round(3000 * SCALE) + data[-2:]

    yield "scans.jpg", "too slow", scans
    jpeg = encode(quarters(), "JPEG")
    part = segment(0xE1, b"Exif\0\0" + bytes(65_000))
    yield "segments.jpg", "too large", lambda: jpeg[:2] + part * round(3000 * SCALE) + jpeg[2:]
    entries = b"".join(struct.pack("<HHII", 1 + tag, 7, 60_000, 8) for tag in range(5000))
    directory = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000) + entries
    yield "directory.jpg", "", lambda: jpeg[:2] + segment(0xE1, directory[:65_000]) + jpeg[2:]


def _jpeg2000s() -> Iterator[Forged]:
    if not has("JPEG2000"):
        return

    def declared(mode: str, **options: object) -> bytes:
        data = bytearray(encode(Image.fromarray(quarters()).convert(mode), "JPEG2000", **options))
        at = data.index(b"\xff\x4f\xff\x51")
        for place in (8, 24):  # the size of the image and that of its tiles
            data[at + place : at + place + 8] = struct.pack(">II", SIDE, SIDE)
        header = data.find(b"ihdr")
        if header > 0:
            data[header + 4 : header + 12] = struct.pack(">II", SIDE, SIDE)
        return bytes(data)

    yield "huge.jp2", "too large", lambda: declared("RGB")
    yield "alpha.jp2", "too large", lambda: declared("RGBA")
    yield "stream.j2k", "too large", lambda: declared("RGB", no_jp2=True)
    yield "blocks.j2k", "not supported", lambda: declared("L", no_jp2=True, codeblock_size=(4, 4))

    def disguised() -> bytes:
        """Before the true header, metadata hold one that claims small tiles."""
        data = declared("RGB")
        claim = encode(quarters(), "JPEG2000", no_jp2=True, tile_size=(16, 16))[:200]
        return data[:12] + struct.pack(">I", 8 + len(claim)) + b"free" + claim + data[12:]

    yield "disguised.jp2", "too large", disguised


def _icons() -> Iterator[Forged]:
    def icon(body: bytes, bits: int = 32) -> bytes:
        return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, bits, len(body), 22) + body

    yield "icon.ico", "too large", lambda: icon(flat_png(SIDE, 8, 6, 4))
    bitmap = struct.pack("<IiiHHIIiiII", 40, SIDE, 2 * SIDE, 1, 32, 0, 0, 0, 0, 0, 0)
    yield "bitmap.ico", "too large", lambda: icon(bitmap + bytes(1000))
    yield "entries.ico", "damaged", lambda: struct.pack("<HHH", 0, 1, 65535) + bytes(16 * 65535)


def _tiffs() -> Iterator[Forged]:
    grey = tiff(np.zeros((4, 5), np.uint8))
    packed = with_tag(grey, 259, 5)
    yield "strip.tif", "too large", lambda: with_tag(with_tag(with_tag(packed, 256, SIDE), 257, SIDE), 278, SIDE)

    def tiles() -> bytes:
        data = with_tag(packed, 278, 60_000)
        return data.replace(struct.pack("<HHII", 278, 4, 1, 60_000), struct.pack("<HHII", 322, 4, 1, 60_000))

    yield "tiles.tif", "damaged", tiles
    floats = with_tag(tiff(np.zeros((4, 5), np.float32), sample_format=3), 259, 5)
    yield "floats.tif", "too large", lambda: with_tag(with_tag(with_tag(floats, 256, SIDE), 257, SIDE), 278, SIDE)

    def overlapping() -> bytes:
        entries = b"".join(struct.pack("<HHII", 40_000 + tag, 7, 2_000_000, 8) for tag in range(4000))
        return b"II*\0" + struct.pack("<I", 2_000_008) + bytes(2_000_000) + struct.pack("<H", 4000) + entries + bytes(4)

    yield "directory.tif", "damaged", overlapping
    yield (
        "count.tif",
        "truncated",
        lambda: b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + struct.pack("<Q", 1 << 60) + bytes(100),
    )


def _plain() -> Iterator[Forged]:
    yield "plain.ppm", "too large", lambda: b"P3 2000 1200 255\n" + b"255 254 253 " * round(2_400_000 * SCALE)
    yield "bits.pbm", "too large", lambda: b"P1 6000 6000\n" + b"0 1 " * round(18_000_000 * SCALE)
    yield "comment.ppm", "damaged", lambda: b"P6\n#" + b"x" * round(100_000_000 * SCALE) + b"\n2 2 255\n" + bytes(12)
    yield "hollow.pgm", "too large", lambda: b"P5 %d %d 65535\n" % (SIDE, SIDE)
    yield "hollow.pfm", "too large", lambda: b"Pf\n%d %d\n-1.0\n" % (SIDE, SIDE)


def _others() -> Iterator[Forged]:
    if has("WEBP"):
        simple = encode(quarters(), "WEBP", lossless=True)
        canvas = b"VP8X" + struct.pack("<IB3x", 10, 16) + (SIDE - 1).to_bytes(3, "little") * 2
        animated = canvas + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
        yield "canvas.webp", "too large", lambda: b"RIFF" + struct.pack("<I", 4 + len(animated)) + b"WEBP" + animated
        bits = struct.pack("<I", (SIDE - 1) | (SIDE - 1) << 14)
        yield "lossless.webp", "too large", lambda: simple[:21] + bits + simple[25:]
    if has("AVIF"):

        def avif() -> bytes:
            data = encode(quarters(64, 64), "AVIF")
            at = data.index(b"ispe") + 8
            return data[:at] + struct.pack(">II", SIDE, SIDE) + data[at + 8 :]

        yield "huge.avif", "too large", avif
    gif = encode(Image.fromarray(quarters()).convert("P"), "GIF")
    start = 13 + (3 << (gif[10] & 7) + 1)
    yield "canvas.gif", "too large", lambda: gif[:6] + struct.pack("<HH", SIDE, SIDE) + gif[10:]
    comment = b"\x21\xfe" + (b"\xff" + b"c" * 255) * round(80_000 * SCALE) + b"\0"
    yield "comment.gif", "", lambda: gif[:start] + comment + gif[start:]
    yield (
        "huge.qoi",
        "too large",
        lambda: b"qoif" + struct.pack(">IIBB", SIDE, SIDE, 3, 0) + b"\xfd" * (SIDE * SIDE // 62 + 1),
    )
    yield (
        "huge.tga",
        "too large",
        lambda: struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, SIDE, SIDE, 24, 0) + b"\xff\0\0\0" * 999,
    )
    yield (
        "huge.bmp",
        "too large",
        lambda: b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, SIDE, SIDE, 1, 8, 1, 0, 0, 0, 0, 0) + bytes(99),
    )
    yield "huge.psd", "too large", lambda: psd(quarters())[:14] + struct.pack(">II", SIDE, SIDE) + psd(quarters())[22:]
    turned = encode(quarters(), "PNG", exif=exif(6))
    yield "chunk-length.png", "damaged", lambda: turned[:33] + b"\xff\xff\xff\xf0" + turned[37:]


def write(folder: Path, names: list[str] | None = None) -> list[Path]:
    """Write them into a folder, and one file of two gigabytes that takes no space."""
    found = []
    for name, (_, make) in hostile().items():
        if names is None or name in names:
            found.append(folder / name)
            found[-1].write_bytes(make())
    if names is None:
        found.append(folder / "sparse.jpg")
        with found[-1].open("wb") as file:
            file.write(b"\xff\xd8\xff\xe0")
            file.truncate(2 << 30)
    return found


def watched(command: list[str], seconds: float = 300) -> tuple[int, float, float, str]:
    """Run a command; give its exit code, seconds, the peak of MiB of all its processes, and its last line of errors."""
    start, peak = time.monotonic(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr or []))
    reader.start()
    while process.poll() is None:
        peak = max(peak, memory_of_tree(process.pid))
        if time.monotonic() - start > seconds:
            os.killpg(process.pid, 9)
        time.sleep(0.02)
    reader.join()
    assert process.stderr is not None
    process.stderr.close()
    return process.returncode, time.monotonic() - start, peak, b"".join(said[-1:]).decode(errors="replace").strip()


def memory_of_tree(root: int) -> float:
    """MiB of a process and all below it, shared pages divided among those that share them."""
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("Pss:") else 0
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            waiting += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return total / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--each", action="store_true", help="also each file alone, through predict")
    options = parser.parse_args()
    if options.write is not None:
        options.write.mkdir(parents=True, exist_ok=True)
        write(options.write)
        return
    command = str(Path(sysconfig.get_path("scripts")) / "tlkit")
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = options.model or place / "m.tlkit"
        os.environ["TLKIT_CACHE"] = str(place / "cache")
        sample = Path(__file__).parents[2] / "sample_data"
        if options.model is None:
            plain = ("--strategy", "freeze", "--backbone", "efficientnet-lite0", "--features", "last", "--no-refit")
            subprocess.run([command, "train", str(sample / "garden"), *plain, "-o", str(model)], check=True)
        for name in ("a", "b"):
            (place / "images" / name).mkdir(parents=True)
        for number, path in enumerate(write(place / "images" / "a")):
            if number % 2:
                path.rename(place / "images" / "b" / path.name)
        images = sorted((place / "images").rglob("*.*"))
        runs = [
            ("predict", "--model", str(model), *map(str, images), str(sample / "unseen")),
            ("check", "--no-suspects", str(place / "images")),
            ("check", str(place / "images")),
            ("embed", "--output", str(place / "v.npz"), str(place / "images"), str(sample / "unseen")),
            (
                "explain",
                "--model",
                str(model),
                "--output",
                str(place / "e"),
                str(place / "images"),
                str(sample / "unseen"),
            ),
        ]
        runs += [("predict", "--model", str(model), str(path)) for path in images] if options.each else []
        for run in runs:
            code, seconds, peak, said = watched([command, *run])
            limit = MOST_SECONDS * (len(images) if len(run) > 4 else 1)
            bad = code not in (0, 2) or seconds > limit or peak > MOST_MIB
            worst = max(worst, int(bad))
            name = Path(run[-1]).name if len(run) == 4 else ""
            figures = f"exit {code} {seconds:6.1f} s {peak:6.0f} MiB"
            print(f"{'BAD' if bad else 'ok':3} {run[0]:8} {name:18} {figures}  {said[:90]}", flush=True)
    sys.exit(worst)


if __name__ == "__main__":
    main()
