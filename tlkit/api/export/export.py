"""``tlkit.export``: write a bundle for other runtimes, and prove that each answers like ``predict``."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.api.export.check import Agreement, Probabilities, compare, probabilities_of
from tlkit.api.export.formats import Format, check_possible, formats_of, precision_of
from tlkit.api.export.images import CheckImages, check_images
from tlkit.api.export.result import Exported, ExportedFile
from tlkit.backbones.engines import Forward, has_litert
from tlkit.backbones.runtime import full_precision
from tlkit.bundle.beside import new_folder
from tlkit.bundle.cost import network_size
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.manifest import MODEL
from tlkit.errors import TlkitError
from tlkit.files import check_path
from tlkit.formats.card import make_card
from tlkit.formats.source import Source
from tlkit.jsontext import json_text
from tlkit.libraries import missing_library
from tlkit.plan.choices import FP32, KERAS, LITERT
from tlkit.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from tlkit.api.inputs import Images

PathLike = str | os.PathLike[str]
SUMMARY = "export.json"


@dataclass(frozen=True, eq=False)
class _Work:
    """What each format is written from and compared with."""

    source: Source
    images: CheckImages
    original: Forward
    found: Probabilities
    show: Progress


def export(
    model: PathLike | Bundle | None = None,
    format: str | Iterable[str] = LITERT,
    *,
    output: PathLike | None = None,
    precision: str = FP32,
    images: Images | None = None,
    calibration: Images | None = None,
    runtime: PathLike | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a bundle's network for other runtimes, run each there, and compare it with ``predict``.

    Nothing is written unless every export agrees: fp32 within 1e-4 in each probability and in every label, fp16 within
    0.02 and 99.5% of the labels, int8 in 90% of the labels.

    Example:
        >>> tlkit.export("garden.tlkit", "onnx").files[0].path  # doctest: +SKIP
        PosixPath('garden-onnx/model.onnx')

    Args:
        model: A bundle or its folder; None: the newest ``*.tlkit`` in the current folder.
        format: "litert", "onnx", "saved-model", "keras", "openvino", "coreml" or "web"; other usual spellings are
            accepted, such as "tflite". Several in a list, or separated by commas.
        output: A new folder for the exports and ``export.json``; None: in the current folder, named after the bundle
            and the format.
        precision: "fp32", "fp16" (or "half") or "int8".
        images: Images to check the exports on, as for `tlkit.predict`. With a folder of classes or a table of labels,
            the change in accuracy is measured. Those that training did not use are preferred. None: the bundle's own
            held-out images, if they are in a folder that is named like the bundle; else ``calibration``, else generated
            ones.
        calibration: Images from which int8 takes the range of values; 64 are enough. None: some of the bundle's
            training images, if they are among ``images``.
        runtime: With "web": a ``node_modules`` folder, or a package in it, that has LiteRT.js; None: the one in the
            current folder.
        workers: Threads to read images with; None: all.
        progress: Progress reporter.

    Raises:
        TlkitError: There is no bundle or it is damaged, there is no such format or precision, a package is missing, the
            output exists or cannot be written, no image can be read, the network cannot be converted, or an export
            differs too much from ``predict``. Nothing is left then.
    """
    show = progress or SilentProgress()
    formats, exact = formats_of(format), precision_of(precision)
    check_possible(formats, exact, runtime)
    bundle = model if isinstance(model, Bundle) else load(model)
    target = _target(bundle, formats, exact, output)
    with new_folder(target) as part:
        shown = check_images(bundle, images, calibration, exact, show, workers)
        work = _prepared(bundle, exact, shown, show, None if runtime is None else Path(runtime))
        files = tuple(_exported(row, part, work) for row in formats)
        result = Exported(
            model=bundle.path,
            folder=target,
            precision=exact,
            images=shown.what,
            original_size=network_size(bundle),
            files=tuple(replace(each, path=target / each.path.name) for each in files),
            card=work.source.card,
        )
        (part / SUMMARY).write_text(json_text(_summary(result), indent=1) + "\n", encoding="utf-8")
    return result


def _summary(result: Exported) -> dict[str, object]:
    """Return the contents of ``export.json``: the result, with names instead of this machine's paths."""
    found = result.to_json()
    for each in found["exports"]:
        each["path"] = Path(each["path"]).name
    return {**found, "model": result.model.absolute().name, "folder": result.folder.name}


def _target(bundle: Bundle, formats: list[Format], precision: str, output: PathLike | None) -> Path:
    """Return the folder to write, after checking that it is new.

    Raises:
        TlkitError: It exists, or the folder that is to hold it does not.
    """
    if output is None:
        kind = formats[0].name if len(formats) == 1 else "export"
        name = f"{bundle.path.absolute().stem}-{kind}" + ("" if precision == FP32 else f"-{precision}")
        target = Path.cwd() / name
    elif not isinstance(output, (str, os.PathLike)):
        raise TlkitError(f"an output cannot be of type {type(output).__name__}", "give the path of a new folder")
    else:
        target = Path(os.path.abspath(Path(output).expanduser()))  # noqa: PTH100  (keeps the user's links)
    check_path(target, "--output")
    if os.path.lexists(target):
        raise TlkitError(f"output exists: {target}", "choose another folder with --output, or remove it")
    if not os.path.isdir(target.parent):  # noqa: PTH112  (unlike Path.is_dir, never raises)
        raise TlkitError(
            f"no such folder for the output: {target.parent}", "create it, or choose another with --output"
        )
    if Path(os.path.realpath(target)).is_relative_to(os.path.realpath(bundle.path)):
        raise TlkitError(f"the output is inside the bundle: {target}", "choose another folder with --output")
    return target


def _prepared(
    bundle: Bundle, precision: str, images: CheckImages, show: Progress, runtime: Path | None = None
) -> _Work:
    """Run ``predict`` on the images, with LiteRT if it can."""
    lite = bundle.lite
    engine = LITERT if lite is not None and has_litert() else KERAS
    with show.phase("Predicting with the bundle", len(images.pixels)) as advance:
        original = bundle.forward(engine, len(images.pixels))
        with _precise():
            found = probabilities_of(original, images.pixels, len(bundle.classes), advance)
    source = Source(
        keras_file=bundle.path / MODEL,
        lite=None if lite is None else lite.read_bytes(),
        card=make_card(bundle.manifest, bundle.path.absolute().name, precision, bundle.ood),
        precision=precision,
        calibration=images.calibration,
        ood=bundle.ood,
        web_runtime=runtime,
    )
    return _Work(source, images, original, found, show)


def _exported(row: Format, part: Path, work: _Work) -> ExportedFile:
    """Write one format, run it and compare.

    Raises:
        TlkitError: It cannot be converted or run, or differs too much from ``predict``.
    """
    path = part / row.place
    with work.show.phase(f"Writing {row.name}", None):
        try:
            row.write(path, work.source)
        except (TlkitError, OSError):
            raise
        except Exception as error:
            # a converter may fail in any way
            raise _failed(f"this network cannot be exported as {row.name}", error) from error
    return ExportedFile(row.name, path, _size(path), _checked(row, path, work))


def _checked(row: Format, path: Path, work: _Work) -> Agreement | None:
    if row.forward is None:
        return None
    classes = len(work.source.classes)
    with work.show.phase(f"Checking {row.name} against predict", len(work.images.pixels)) as advance:
        try:
            forward = row.forward(path)
            with _precise():
                found = probabilities_of(forward, work.images.pixels, classes, advance)
        except (TlkitError, OSError):
            raise
        except Exception as error:
            raise _failed(f"the {row.name} export cannot be run, so nothing was written", error) from error
        return compare(row, work.source.precision, work.images, (work.original, work.found), (forward, found))


def _precise() -> AbstractContextManager[None]:
    """Compute in float32 on a GPU too, if TensorFlow computes: what is compared is the network, not the machine."""
    return full_precision() if sys.modules.get("tensorflow") is not None else nullcontext()


def _failed(what: str, error: Exception) -> TlkitError:
    """Return the error for a library that failed; one that says that the disk is full is believed."""
    if (lacking := missing_library(error)) is not None:
        return lacking
    text = " ".join(str(error).split())
    if os.strerror(errno.ENOSPC).lower() in text.lower():
        return TlkitError("cannot write the export: no space left on the disk")
    reason = text[:160] or type(error).__name__
    return TlkitError(f"{what}: {reason}", "leave the format out, or choose another")


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size
