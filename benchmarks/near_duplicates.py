"""How far copies of an image, and other images, are apart in perceptual hash and features, one JSON line.

    python benchmarks/near_duplicates.py FOLDER

Copies: half and three-quarter size, double size, JPEG at quality 30, WebP at 75, 15% brighter, 4% cropped on each side.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
from measure import machine
from PIL import Image

from tlkit.backbones.build import build_backbone
from tlkit.backbones.features import TOP, columns_of, forward_pass, tap_widths
from tlkit.images.duplicates import fingerprint, near_pairs
from tlkit.images.folder import scan
from tlkit.images.read import read_image

SIZE = (224, 224)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    folder = scan(arguments.images)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(folder.files))[: arguments.count]
    every = folder.paths
    paths = [every[index] for index in chosen]
    originals = [read_image(path, SIZE) for path in paths]
    prints = [fingerprint(pixels) for pixels in originals]
    network = build_backbone("efficientnet-lite0")
    columns = columns_of(tap_widths(network), [TOP])
    forward = forward_pass(network)

    def features(pixels: list[np.ndarray]) -> np.ndarray:
        vectors = np.concatenate([forward(np.stack(pixels[i : i + 32])) for i in range(0, len(pixels), 32)])[:, columns]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    own = features(originals)
    kinds: dict[str, dict[str, float]] = {}
    made = [copies(path) for path in paths]
    for kind in made[0]:
        pixels = [read_image(each[kind], SIZE) for each in made]
        apart = [bits(a, fingerprint(b)) for a, b in zip(prints, pixels, strict=True)]
        cosine = (own * features(pixels)).sum(axis=1)
        kinds[kind] = {
            "at_most_4_bits": round(float(np.mean(np.array(apart) <= 4)), 3),
            "at_most_6_bits": round(float(np.mean(np.array(apart) <= 6)), 3),
            "at_most_8_bits": round(float(np.mean(np.array(apart) <= 8)), 3),
            "least_cosine": round(float(cosine.min()), 3),
            "median_cosine": round(float(np.median(cosine)), 3),
        }
    others = {str(most): len(list(near_pairs(prints, most))) for most in (4, 6, 8)}
    figures = {"benchmark": "near_duplicates", "images": folder.root.name, "count": len(chosen), "copies": kinds}
    print(json.dumps({**figures, "other_pairs_within_bits": others, **machine()}))


def bits(one: bytes, two: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(two, "big")).bit_count()


def copies(path: Path) -> dict[str, bytes]:
    """Encoded copies of one image by kind."""
    image = Image.fromarray(read_image(path))
    width, height = image.size

    def encoded(changed: Image.Image, quality: int = 85, form: str = "JPEG") -> bytes:
        file = io.BytesIO()
        changed.save(file, form, quality=quality)
        return file.getvalue()

    edge = (round(0.04 * width), round(0.04 * height))
    return {
        "half": encoded(image.resize((max(1, width // 2), max(1, height // 2)))),
        "three quarters": encoded(image.resize((max(1, width * 3 // 4), max(1, height * 3 // 4))), 60),
        "double": encoded(image.resize((2 * width, 2 * height))),
        "quality 30": encoded(image, 30),
        "webp 75": encoded(image, 75, "WEBP"),
        "brighter": encoded(Image.eval(image, lambda value: min(255, round(1.15 * value)))),
        "cropped": encoded(image.crop((*edge, width - edge[0], height - edge[1]))),
    }


if __name__ == "__main__":
    main()
