"""Write a network as a TensorFlow SavedModel, and run one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.engines import Forward
from tlkit.backbones.runtime import import_tensorflow, silent_stderr
from tlkit.backbones.weights.archive import load_model
from tlkit.formats.card import CARD, LABELS, card_text, labels_bytes
from tlkit.formats.source import Source

SIGNATURE, INPUT, OUTPUT = "serving_default", "image", "probabilities"
EXTRA = "assets.extra"  # where TensorFlow looks for files that are not part of the network


def write_saved_model(folder: Path, source: Source) -> None:
    """Write a SavedModel whose signature takes ``image``, float32 [n, h, w, 3], and returns ``probabilities``.

    Its folder ``assets.extra`` holds the card and the labels.
    """
    tf, model = import_tensorflow(), load_model(source.keras_file)
    image = tf.TensorSpec([None, *source.input_size, 3], tf.float32, name=INPUT)

    @tf.function(input_signature=[image], autograph=False)  # type: ignore[untyped-decorator]
    def serve(image: Any) -> dict[str, Any]:
        return {OUTPUT: model(image, training=False)}

    with silent_stderr():
        served = tf.Module()
        served.model, served.serve = model, serve
        tf.saved_model.save(served, str(folder), signatures={SIGNATURE: serve})
    extra = folder / EXTRA
    extra.mkdir()
    (extra / CARD).write_text(card_text(source.card), encoding="utf-8")
    (extra / LABELS).write_bytes(labels_bytes(source.classes))


def saved_model_forward(folder: Path) -> Forward:
    """Return a SavedModel as a function from uint8 [n, h, w, 3] to probabilities, float32 [n, classes]."""
    tf = import_tensorflow()
    with silent_stderr():
        loaded = tf.saved_model.load(str(folder))
    serve = loaded.signatures[SIGNATURE]

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert loaded is not None  # the signature lives as long as the network
        return np.array(serve(**{INPUT: tf.constant(pixels.astype(np.float32))})[OUTPUT])

    return run
