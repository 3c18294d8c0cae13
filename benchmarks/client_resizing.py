"""How far probabilities move if a program that runs an exported network resizes images in another way than tlkit.

    python benchmarks/client_resizing.py clothing.tlkit clothing_test [--images 200] [--stb libresize.so]

Needs opencv-python and mediapipe. stb_image_resize is C: compile a library with one function for --stb,

    int go(const unsigned char *a, int w, int h, unsigned char *b, int W, int H) {
        return stbir_resize_uint8_generic(a, w, h, 0, b, W, H, 0, 3, STBIR_ALPHA_CHANNEL_NONE, 0, STBIR_EDGE_CLAMP,
                                          STBIR_FILTER_CATMULLROM, STBIR_COLORSPACE_LINEAR, 0);
    }

Prints one line of JSON for each way: the share of labels that change, and the largest and mean difference of a
probability from ``tlkit predict``.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

import tlkit
from tlkit.api.inputs import find_images

Way = Callable[[Any], Any]


def ways(classifier: tlkit.Classifier, stb: str | None) -> dict[str, Way]:
    """Ways from the pixels of a photo, uint8 [h, w, 3], to those of the network's input."""
    import cv2

    height, width = classifier.input_size

    def by_opencv(pixels: Any) -> Any:
        shrinks = pixels.shape[0] * pixels.shape[1] > height * width
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)

    def by_pillow(kind: Image.Resampling) -> Way:
        return lambda pixels: np.asarray(Image.fromarray(pixels).resize((width, height), kind))

    found: dict[str, Way] = {
        "Pillow, BICUBIC": by_pillow(Image.Resampling.BICUBIC),
        "Pillow, BILINEAR": by_pillow(Image.Resampling.BILINEAR),
        "OpenCV, INTER_AREA or INTER_CUBIC": by_opencv,
    }
    if stb is not None:
        library = ctypes.CDLL(str(Path(stb).resolve()))

        def by_stb(pixels: Any) -> Any:
            source, target = np.ascontiguousarray(pixels), np.empty((height, width, 3), np.uint8)
            pointers = (each.ctypes.data_as(ctypes.c_void_p) for each in (source, target))
            library.go(next(pointers), source.shape[1], source.shape[0], next(pointers), width, height)
            return target

        found["stb_image_resize, CATMULLROM"] = by_stb
    return found


def by_mediapipe(classifier: tlkit.Classifier) -> Way:
    """MediaPipe's image classifier on the exported network: from the pixels of a photo to probabilities."""
    import tempfile

    import mediapipe
    from mediapipe.tasks import python as tasks
    from mediapipe.tasks.python import vision

    with tempfile.TemporaryDirectory() as folder:
        tlkit.export(classifier.path, "litert", output=Path(folder) / "out")
        network = (Path(folder) / "out" / "model.tflite").read_bytes()
    options = vision.ImageClassifierOptions(base_options=tasks.BaseOptions(model_asset_buffer=network))
    runner = vision.ImageClassifier.create_from_options(options)

    def run(pixels: Any) -> Any:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
        found = np.zeros(len(classifier.classes))
        for each in runner.classify(image).classifications[0].categories:
            found[each.index] = each.score
        return found

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("images", type=Path)
    parser.add_argument("--images", dest="most", type=int, default=200)
    parser.add_argument("--stb")
    chosen = parser.parse_args()
    classifier = tlkit.load(chosen.model)
    files = find_images(chosen.images)
    files = random.Random(0).sample(files, min(chosen.most, len(files)))
    expected = classifier.predict_proba(files)
    photos = []
    for file in files:
        with Image.open(file) as image:
            photos.append(np.asarray(ImageOps.exif_transpose(image).convert("RGB")))
    runs: dict[str, Way] = {
        name: lambda pixels, way=way: classifier.probabilities(way(pixels)[None])[0]  # type: ignore[misc]
        for name, way in ways(classifier, chosen.stb).items()
    }
    runs["MediaPipe itself"] = by_mediapipe(classifier)
    for name, run in runs.items():
        found = np.stack([run(photo) for photo in photos])
        moved = np.abs(found - expected).max(axis=1)
        changed = float((found.argmax(1) != expected.argmax(1)).mean())
        print(
            json.dumps(
                {
                    "way": name,
                    "images": len(files),
                    "labels_changed": round(changed, 4),
                    "largest": round(float(moved.max()), 4),
                    "mean": round(float(moved.mean()), 4),
                }
            )
        )


if __name__ == "__main__":
    main()
