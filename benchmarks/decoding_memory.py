"""Peak memory of decoding, in bytes a pixel, and what `images/cost.py` estimates by the header: one JSON line.

    python benchmarks/decoding_memory.py [--side 4000]

Each image is read in a process of its own, to 224x224 pixels. Exit code 1 where one takes over a twentieth more than
estimated. Linux only.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine
from PIL import Image

READ = """
import sys
from pathlib import Path
from PIL import Image
from tlkit.images import read
from tlkit.images.budget import decoding
from tlkit.images.read import read_image
def kib(name): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
decoding.total = 1 << 40
estimated = []
real = read.check_bytes
read.check_bytes = lambda count: estimated.append(count)
if sys.argv[2] == "WEBP":
    from tlkit.images import opening
    opening.check_bytes = lambda count: estimated.append(count)
data = Path(sys.argv[1]).read_bytes()
Image.init()
before = kib("VmRSS")
read_image(data, (224, 224))
print((kib("VmHWM") - before) * 1024, max(estimated))
"""


def images(side: int) -> Iterator[tuple[str, Image.Image, str, dict[str, Any]]]:
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[: side // 2, : side // 3] = 200, 30, 60
    rgb, one = Image.fromarray(pixels), pixels[..., 0]
    yield "PNG, RGB", rgb, "PNG", {}
    yield "PNG, grey", rgb.convert("L"), "PNG", {}
    yield "PNG, RGBA", rgb.convert("RGBA"), "PNG", {}
    yield "PNG, grey with alpha", rgb.convert("LA"), "PNG", {}
    yield "PNG, palette", rgb.convert("P"), "PNG", {}
    yield "PNG, palette with a transparent colour", rgb.convert("P"), "PNG", {"transparency": 2}
    yield "PNG, 16 bits", Image.fromarray(one.astype(np.uint16) * 257), "PNG", {}
    yield "GIF", rgb.convert("P"), "GIF", {}
    yield "WebP", rgb, "WEBP", {}
    yield "WebP, lossless", rgb, "WEBP", {"lossless": True}
    yield "AVIF, 4:2:0", rgb, "AVIF", {"speed": 10}
    yield "AVIF, 4:4:4", rgb, "AVIF", {"speed": 10, "subsampling": "4:4:4"}
    yield "JPEG 2000, RGB", rgb, "JPEG2000", {}
    yield "JPEG 2000, grey", rgb.convert("L"), "JPEG2000", {}
    yield "JPEG 2000, RGBA", rgb.convert("RGBA"), "JPEG2000", {}
    yield "JPEG 2000, tiles", rgb, "JPEG2000", {"tile_size": (512, 512)}
    yield "JPEG", rgb, "JPEG", {}
    yield "JPEG, progressive 4:2:0", rgb, "JPEG", {"progressive": True}
    yield "JPEG, progressive 4:4:4", rgb, "JPEG", {"progressive": True, "subsampling": 0}
    yield "TIFF, raw", rgb, "TIFF", {}
    yield "TIFF, LZW", rgb, "TIFF", {"compression": "tiff_lzw"}
    yield "TIFF, JPEG", rgb, "TIFF", {"compression": "jpeg"}
    yield "TIFF, RGBA", rgb.convert("RGBA"), "TIFF", {"compression": "tiff_lzw"}
    yield "TIFF, CMYK", rgb.convert("CMYK"), "TIFF", {"compression": "tiff_lzw"}
    yield "TIFF, floats", Image.fromarray(one.astype(np.float32)), "TIFF", {"compression": "tiff_lzw"}
    yield "TIFF, 32-bit integers", Image.fromarray(one.astype(np.int32)), "TIFF", {"compression": "tiff_lzw"}
    yield "BMP", rgb, "BMP", {}
    yield "TGA", rgb, "TGA", {"compression": "tga_rle"}
    yield "PPM", rgb, "PPM", {}
    yield "QOI", rgb, "QOI", {}
    yield "PCX", rgb, "PCX", {}
    yield "SGI", rgb, "SGI", {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4000)
    side = parser.parse_args().side
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, image, form, options in images(side):
            data = io.BytesIO()
            image.save(data, form, **options)
            file = Path(folder) / "image"
            file.write_bytes(data.getvalue())
            ran = subprocess.run(
                [sys.executable, "-c", READ, str(file), form], capture_output=True, text=True, check=True
            )
            taken, estimated = (int(each) / side**2 for each in ran.stdout.split())
            found[name] = {"bytes_a_pixel": round(taken, 1), "estimated": round(estimated, 1)}
    above = [name for name, each in found.items() if each["bytes_a_pixel"] > 1.05 * each["estimated"] + 0.3]
    print(json.dumps({"benchmark": "decoding_memory", "side": side, "found": found, "above": above, **machine()}))
    sys.exit(bool(above))


if __name__ == "__main__":
    main()
