"""``tlkit doctor --benchmark``: measure how fast this machine does what tlkit spends its time on, by each engine."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tlkit.backbones import catalog
from tlkit.backbones.engines import batch_size, has_gpu, has_litert
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.libraries import has_keras
from tlkit.plan.choices import KERAS, LITERT
from tlkit.progress import Progress, SilentProgress
from tlkit.words import plural

SECONDS = 2.0  # each thing is repeated for so long, once it is warm
PHOTO = (1200, 1600)  # pixels of the photo that is decoded
BATCH = 16  # images of a training step
FEATURES, ROWS, CLASSES = 1280, 1000, 10  # of the head that is solved


@dataclass(frozen=True)
class Speed:
    """How fast one thing is.

    Attributes:
        work: What is done: "decode", "forward", "train step" or "head".
        engine: What does it.
        detail: On what, in words.
        seconds: Median time of one repetition.
        images: Images in one repetition.
    """

    work: str
    engine: str
    detail: str
    seconds: float
    images: int

    @property
    def images_per_second(self) -> float:
        """Images per second."""
        return self.images / max(1e-9, self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {**asdict(self), "images_per_second": round(self.images_per_second, 1)}


def benchmark(progress: Progress | None = None, *, seconds: float = SECONDS) -> list[Speed]:
    """Measure decoding, the forward pass of the default backbone, a training step and the solution of a head.

    Engines that are not installed are left out. Nothing is written but what `open_extractor` keeps in the cache.

    Args:
        progress: Progress reporter.
        seconds: How long each thing is repeated, once it is warm.

    Raises:
        TlkitError: The weights of the default backbone are not installed.
    """
    parts: list[Callable[[float], Speed]] = [_decoding]
    parts += [_forward_of(engine) for engine in _engines()]
    parts += [_training] if has_keras() else []
    parts.append(_head)
    found = []
    with (progress or SilentProgress()).phase("Measuring", len(parts)) as advance:
        for part in parts:
            found.append(part(seconds))
            advance(1, f"{found[-1].work}: {found[-1].engine}")
    return found


def _engines() -> Iterator[str]:
    if has_litert():
        yield LITERT
    if has_keras():
        yield KERAS


def _repeated(work: Callable[[], object], seconds: float) -> float:
    """Median time of a repetition; the first, which compiles and allocates, does not count."""
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _decoding(seconds: float) -> Speed:
    """Decode and resize photos held in memory, with all reading threads, as every command does."""
    from PIL import Image

    from tlkit.images.batches import load_images
    from tlkit.images.given import GivenImage

    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize(PHOTO[::-1])
    grain = rng.normal(0, 6, (*PHOTO, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    photos = [GivenImage(f"photo {number}", buffer.getvalue()) for number in range(batch_size())]
    side = catalog.get(catalog.DEFAULT).input_size
    took = _repeated(lambda: [each.image for each in load_images(photos, (side, side))], seconds)
    detail = f"JPEG of {PHOTO[1]} x {PHOTO[0]} pixels, {len(buffer.getvalue()) / 1000:.0f} kB, to {side} x {side}"
    return Speed("decode", "Pillow", detail, took, len(photos))


def _pixels(images: int) -> Any:
    side = catalog.get(catalog.DEFAULT).input_size
    return np.random.default_rng(0).integers(0, 256, (images, side, side, 3), dtype=np.uint8)


def _forward_of(engine: str) -> Callable[[float], Speed]:
    def measured(seconds: float) -> Speed:
        forward, pixels = _open(engine).forward(), _pixels(batch_size())
        took = _repeated(lambda: forward(pixels), seconds)
        return Speed("forward", _named(engine), f"{catalog.DEFAULT}, {_size()}", took, len(pixels))

    return measured


def _open(engine: str) -> Extractor:
    return open_extractor(catalog.DEFAULT, engine=engine, keep=False)


def _size() -> str:
    side = catalog.get(catalog.DEFAULT).input_size
    return f"{side} x {side} pixels"


def _named(engine: str) -> str:
    if engine == LITERT:
        return "LiteRT, CPU"
    return "Keras, GPU" if has_gpu() else "Keras, CPU"


def _training(seconds: float) -> Speed:
    """Make steps of ``--strategy fine-tune``, which trains all weights."""
    from tlkit.finetune.augmentation import draw
    from tlkit.finetune.step import Trainer
    from tlkit.finetune.trainable import make_trainable
    from tlkit.linear.head import Head
    from tlkit.linear.taps import taps_of
    from tlkit.plan.choices import LAST
    from tlkit.plan.recipe import FROZEN, Recipe

    extractor = _open(KERAS)
    network = extractor.network
    kernel = np.random.default_rng(0).normal(0, 0.01, (network.model.output.shape[-1], CLASSES)).astype(np.float32)
    head = Head(kernel, np.zeros(CLASSES, np.float32), 1.0, ())
    taps = taps_of(LAST, extractor.taps)
    trainable = make_trainable(network, head, taps, boundary=None, split=False, layer_decay=1.0, batch_norm=FROZEN)
    trainer = Trainer(trainable, Recipe(steps=1000, batch_size=BATCH, learning_rate=1e-6))
    pixels, labels = _pixels(BATCH), (np.arange(BATCH) % CLASSES).astype(np.int32)
    weights, draws = np.full(BATCH, 1 / BATCH, np.float32), draw(BATCH, 0, 0)
    took = _repeated(lambda: trainer.step(pixels, labels, weights, draws, 1e-6), seconds)
    return Speed("train step", _named(KERAS), f"{catalog.DEFAULT}, all weights, batches of {BATCH}", took, BATCH)


def _head(seconds: float) -> Speed:
    """Solve a head on features with some structure, once and at a given L2 strength."""
    from tlkit.linear.head import solve_head

    rng = np.random.default_rng(0)
    labels = np.arange(ROWS) % CLASSES
    centres = rng.normal(0, 0.3, (CLASSES, FEATURES))
    features = (centres[labels] + rng.normal(0, 1, (ROWS, FEATURES))).astype(np.float32)
    took = _repeated(lambda: solve_head(features, labels.tolist(), CLASSES, c=0.01), seconds)
    detail = f"{plural(FEATURES, 'feature')}, {plural(CLASSES, 'class', 'classes')}, {plural(ROWS, 'image')}"
    return Speed("head", "scikit-learn", detail, took, ROWS)
