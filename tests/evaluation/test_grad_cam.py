"""Grad-CAM: equal to what gradients give, and where the object is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Trained
from PIL import Image

import tlkit
from tlkit.backbones.build import build_backbone
from tlkit.backbones.runtime import import_keras, import_tensorflow
from tlkit.bundle.manifest import LITE
from tlkit.evaluation.grad_cam import ClassMaps, resized
from tlkit.linear.classifier import attach_head
from tlkit.linear.head import Head


def random_head(width: int, classes: int) -> Head:
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 1, (width, classes)).astype(np.float32)
    return Head(kernel, np.zeros(classes, np.float32), 1.0, ())


@pytest.mark.parametrize(
    "backbone",
    ["efficientnet-lite0", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("mobilenet-v2", "vgg16"))],
)
def test_it_is_what_gradients_give(backbone: str) -> None:
    """Weights of the maps are gradients of the class's logit, averaged over space, as the paper has it."""
    tf, keras = import_tensorflow(), import_keras()
    network = build_backbone(backbone, weights="none", input_size=64)
    model = attach_head(network, random_head(network.model.output.shape[-1], 3))
    pixels = np.random.default_rng(1).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    classes = np.array([0, 2])
    inner = keras.Model(model.input, [model.get_layer("head_pool").input, model.get_layer("logits").output])
    with tf.GradientTape() as tape:
        maps, logits = inner(pixels.astype(np.float32), training=False)
        logits = logits - tf.reduce_mean(logits, axis=1, keepdims=True)
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    expected = np.maximum(np.sum(weights * maps, axis=-1), 0)
    expected = expected / np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-12)
    np.testing.assert_allclose(ClassMaps.from_keras(model)(pixels, classes), expected, atol=1e-4)


def test_parts_of_several_stages_add_up_to_the_logit() -> None:
    network = build_backbone("efficientnet-lite0", weights="none", input_size=64)
    model = attach_head(network, random_head(112 + 1280, 2), ["stage5", "top"])
    located = ClassMaps.from_keras(model)(np.full((1, 64, 64, 3), 90, np.uint8), np.array([1]))
    assert located.shape == (1, 4, 4)  # those of the finer stage
    assert 0 <= located.min() <= located.max() <= 1


def composed(cutout: Path, corner: tuple[int, int], textured: bool, size: int = 224, side: int = 96):  # type: ignore[no-untyped-def]
    """A cut-out pasted at a known place: uint8 [size, size, 3], and where it lies, bool [size, size]."""
    with Image.open(cutout) as image:
        piece = image.convert("RGBA")
    piece.thumbnail((side, side))
    rng = np.random.default_rng(0)
    ground = np.full((size, size, 3), 190, np.uint8)
    if textured:
        coarse = rng.integers(120, 220, (14, 14, 3), dtype=np.uint8)
        ground = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))
    canvas = Image.fromarray(ground)
    place = tuple(each * (size - side) // 2 for each in corner)
    canvas.paste(piece, place, piece)
    mask = Image.new("L", (size, size), 0)
    mask.paste(255, place, piece.getchannel("A"))
    return np.asarray(canvas), np.asarray(mask) > 127


@pytest.mark.parametrize("textured", [False, True])
def test_what_is_seen_lies_in_the_object(trained: Trained, unseen: Path, textured: bool) -> None:
    """At least twice the share that its area alone gives, on average over places and objects."""
    bundle = tlkit.load(trained.bundle)
    locate = ClassMaps.from_lite((bundle.path / LITE).read_bytes())
    assert locate is not None
    theirs = ClassMaps.from_keras(bundle.model)
    shares, areas = [], []
    for file in sorted(unseen.glob("*.png")):
        label = bundle.classes.index(file.name.split("-")[0])
        for corner in ((0, 0), (2, 0), (1, 1), (0, 2), (2, 2)):
            pixels, mask = composed(file, corner, textured)
            found = locate(pixels[None], np.array([label]))[0]
            if corner == (1, 1):
                np.testing.assert_allclose(found, theirs(pixels[None], np.array([label]))[0], atol=1e-3)
            heat = resized(found, mask.shape)
            if heat.sum() > 0:
                shares.append(float(heat[mask].sum() / heat.sum()))
                areas.append(float(mask.mean()))
    assert len(shares) >= 30
    assert np.mean(shares) >= 2 * np.mean(areas)
