"""Write a network for Core ML. It is converted on any system, but runs on Apple's only."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

from tlkit.backbones.runtime import import_tensorflow, silent_stderr
from tlkit.backbones.weights.archive import load_model
from tlkit.errors import TlkitError
from tlkit.formats.card import card_text
from tlkit.formats.source import FP16, Source

IMAGE = "image"


def write_coreml(folder: Path, source: Source) -> None:
    """Write an ``.mlpackage``: an image classifier with its labels, whose metadata hold the card.

    Raises:
        TlkitError: coremltools cannot convert the network.
    """
    tf, model = import_tensorflow(), load_model(source.keras_file)
    shape = (1, *source.input_size, 3)
    serve = tf.function(lambda image: model(image, training=False), autograph=False)
    network = serve.get_concrete_function(tf.TensorSpec(shape, tf.float32, name=IMAGE))
    with _quiet():
        import coremltools

        precision = coremltools.precision
        try:
            found = coremltools.convert(
                [network],
                source="tensorflow",
                convert_to="mlprogram",
                inputs=[coremltools.ImageType(name=IMAGE, shape=shape, color_layout=coremltools.colorlayout.RGB)],
                classifier_config=coremltools.ClassifierConfig(list(source.classes)),
                compute_precision=precision.FLOAT16 if source.precision == FP16 else precision.FLOAT32,
                skip_model_load=True,
            )
        except Exception as error:
            # it has no exception of its own
            reason = " ".join(str(error).split())[:120]
            raise TlkitError(
                f"coremltools cannot convert this network: {reason}", "leave coreml out, or export it as litert or onnx"
            ) from error
        found.short_description = f"Image classifier made by tlkit {source.card['tlkit']}"
        found.user_defined_metadata["tlkit"] = card_text(source.card)
        found.save(str(folder))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and warnings, also those about versions that coremltools was not tested with."""
    logger = logging.getLogger("coremltools")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with silent_stderr(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
