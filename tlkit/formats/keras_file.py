"""Write a network as a ``.keras`` file with its card, and run one."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from tlkit.backbones.engines import Forward, keras_forward
from tlkit.backbones.runtime import import_keras, silent_stderr
from tlkit.formats.card import CARD, LABELS, card_text, labels_bytes
from tlkit.formats.source import Source


def write_keras(file: Path, source: Source) -> None:
    """Write a ``.keras`` file: the bundle's own, with card and labels as two more entries, which Keras ignores."""
    shutil.copyfile(source.keras_file, file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(CARD, card_text(source.card))
        archive.writestr(LABELS, labels_bytes(source.classes))


def keras_file_forward(file: Path) -> Forward:
    """Return a ``.keras`` file as a function from uint8 [n, h, w, 3] to probabilities, float32 [n, classes]."""
    with silent_stderr():
        return keras_forward(import_keras().models.load_model(file, compile=False, safe_mode=True))
