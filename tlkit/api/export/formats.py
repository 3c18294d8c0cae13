"""The formats that ``export`` writes, one row each."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.backbones.engines import Forward
from tlkit.errors import TlkitError
from tlkit.formats import coreml, keras_file, litert, onnx, openvino, saved_model, web
from tlkit.formats.source import Source
from tlkit.formats.web_runtime import find_web_runtime
from tlkit.libraries import install_extra, is_installed
from tlkit.plan.choices import EXPORTS, FP16, FP32, INT8, PRECISIONS, WEB

LITERT_RUNS = {"ai_edge_litert": ""}


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: One of `EXPORTS`.
        spellings: Other names that people know it by, in lower case with hyphens.
        precisions: Those of `PRECISIONS` that it can have.
        place: Name of its file or folder.
        write: Writes a network to a path where nothing is yet; raises `TlkitError` if it cannot be converted.
        forward: Runs what was written in the format's own runtime; None: no runtime for it can be had here.
        modules: Modules that are needed, and the extra of tlkit that installs each; "": a requirement of tlkit.
        quantizers: Modules that are needed besides for a precision other than fp32.
    """

    name: str
    spellings: tuple[str, ...]
    precisions: tuple[str, ...]
    place: str
    write: Callable[[Path, Source], None]
    forward: Callable[[Path], Forward] | None
    modules: Mapping[str, str] = field(default_factory=dict)
    quantizers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bound:
    """How far an export may be from ``predict``.

    Attributes:
        difference: Largest difference in probability; None: any.
        agreement: Smallest share of images with the same label, 0..1. Labels that `predict` finds equally probable,
            within `TIE`, count as the same.
    """

    difference: float | None
    agreement: float


TIE = 1e-4
BOUNDS = {FP32: Bound(1e-4, 1.0), FP16: Bound(0.02, 0.995), INT8: Bound(None, 0.9)}

FORMATS = (
    Format(
        name="litert",
        spellings=("tflite", "lite", "tf-lite", "tensorflow-lite"),
        precisions=(FP32, FP16, INT8),
        place="model.tflite",
        write=litert.write_litert,
        forward=litert.litert_forward,
        modules=LITERT_RUNS,
        quantizers={"litert_quantizer": "quantize"},
    ),
    Format(
        name="onnx",
        spellings=("onnx-runtime", "onnxruntime", "ort"),
        precisions=(FP32, FP16),
        place="model.onnx",
        write=onnx.write_onnx,
        forward=onnx.onnx_forward,
        modules={"onnx": "onnx", "onnxruntime": "onnx"},
    ),
    Format(
        name="saved-model",
        spellings=("savedmodel", "tf", "tensorflow", "pb"),
        precisions=(FP32,),
        place="saved_model",
        write=saved_model.write_saved_model,
        forward=saved_model.saved_model_forward,
        modules={"tensorflow": "", "keras": ""},
    ),
    Format(
        name="keras",
        spellings=("keras3",),
        precisions=(FP32,),
        place="model.keras",
        write=keras_file.write_keras,
        forward=keras_file.keras_file_forward,
        modules={"tensorflow": "", "keras": ""},
    ),
    Format(
        name="openvino",
        spellings=("ov", "open-vino", "ir"),
        precisions=(FP32, FP16),
        place="openvino",
        write=openvino.write_openvino,
        forward=openvino.openvino_forward,
        modules=LITERT_RUNS | {"openvino": "openvino"},
    ),
    Format(
        name="coreml",
        spellings=("core-ml", "mlpackage", "mlmodel", "ios", "apple"),
        precisions=(FP32, FP16),
        place="model.mlpackage",
        write=coreml.write_coreml,
        forward=None,
        modules={"tensorflow": "", "keras": "", "coremltools": "coreml"},
    ),
    Format(
        name=WEB,
        spellings=("web-page", "html", "browser", "litert-js", "tfjs"),
        precisions=(FP32, FP16, INT8),
        place="web",
        write=web.write_web,
        forward=web.web_forward,
        modules=LITERT_RUNS,
        quantizers={"litert_quantizer": "quantize"},
    ),
)

SPELLINGS = {
    FP32: ("float32", "f32", "float", "full", "single", "32"),
    FP16: ("float16", "f16", "half", "16"),
    INT8: ("i8", "int", "8", "quantized", "quantised"),
}
"""Other names of the precisions."""


def formats_of(wanted: str | Iterable[str]) -> list[Format]:
    """Return the formats that the user names, each once.

    Args:
        wanted: Names, in any usual spelling, as a list or separated by commas.

    Raises:
        TlkitError: There is no such format, or none is named.
    """
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise TlkitError(f"a format cannot be of type {type(wrong[0]).__name__}", f"one of {', '.join(EXPORTS)}")
    parts = [part for name in names for part in name.split(",") if part.strip()]
    if not parts:
        raise TlkitError("no format is named", f"--format takes one or several of {', '.join(EXPORTS)}")
    rows = {row.name: row for row in FORMATS}
    known = {spelling: row.name for row in FORMATS for spelling in (row.name, *row.spellings)}
    return [rows[name] for name in dict.fromkeys(_named(part, known, "format", list(rows)) for part in parts)]


def precision_of(wanted: str) -> str:
    """Return the precision that the user names, in any usual spelling.

    Raises:
        TlkitError: There is no such precision.
    """
    if not isinstance(wanted, str):
        raise TlkitError(f"a precision cannot be of type {type(wanted).__name__}", f"one of {', '.join(PRECISIONS)}")
    known = {spelling: name for name, its in SPELLINGS.items() for spelling in (name, *its)}
    return _named(wanted, known, "precision", PRECISIONS)


def check_possible(formats: Sequence[Format], precision: str, runtime: str | os.PathLike[str] | None = None) -> None:
    """Check, before any work, that the formats can have this precision, and that what they need is installed.

    Args:
        formats: The formats.
        precision: One of `PRECISIONS`.
        runtime: The folder in which a web page is to find LiteRT.js; None: the current one.

    Raises:
        TlkitError: They cannot, or something is missing.
    """
    if any(row.name == WEB for row in formats):
        find_web_runtime(runtime)
    elif runtime is not None:
        raise TlkitError(f"--runtime requires --format {WEB}")
    for row in formats:
        if precision not in row.precisions:
            can = [each.name for each in FORMATS if precision in each.precisions]
            other = f"{row.name} can be {' or '.join(row.precisions)}"
            raise TlkitError(
                f"{row.name} cannot be exported as {precision}",
                f"{other}; {precision} is for {', '.join(can)}" if can else other,
            )
        needed = dict(row.modules) | (dict(row.quantizers) if precision != FP32 else {})
        for module, extra in needed.items():
            if not is_installed(module):
                how = install_extra(extra) if extra else f"pip install {module.replace('_', '-')}"
                raise TlkitError(f"to export {row.name}, {module} is missing", how)


def _named(wanted: str, known: Mapping[str, str], what: str, names: Sequence[str]) -> str:
    key = wanted.strip().lower().replace("_", "-").replace(" ", "-")
    if key in known:
        return known[key]
    near = list(dict.fromkeys(known[each] for each in difflib.get_close_matches(key, known, n=2)))
    hint = f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(names)}"
    raise TlkitError(f"unknown {what} '{wanted.strip()}'", hint)
