"""``tlkit.explain``: draw where in an image a bundle sees a class, and the feature maps of its stages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.api.inputs import PathLike, described, find_images, listed
from tlkit.api.places import places_named
from tlkit.api.table_options import FileOptions
from tlkit.api.train.keywords import documented
from tlkit.backbones.engines import check_engine
from tlkit.backbones.stages import Stage
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.run import NOT_FINITE
from tlkit.errors import TlkitError
from tlkit.files import ImagePlaces, check_free
from tlkit.images.batches import load_image
from tlkit.images.class_names import matched_names
from tlkit.images.given import GivenImage
from tlkit.libraries import require_keras
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from tlkit.api.inputs import Images
    from tlkit.evaluation.grad_cam import ClassMaps
    from tlkit.report.sheet import Tile

FOLDER, SHEET = "explained", "contact-sheet.png"
MAX_ON_SHEET = 48  # images
MAX_STEM = 200  # bytes of an image's name in that of its drawing
MAX_SIDE = 1600  # pixels of an overlay's longer side


@dataclass(frozen=True)
class Explained:
    """What was drawn for one image.

    Attributes:
        file: The image, as given or found.
        label: The class shown; None if the image could not be read.
        probability: Predicted probability of that class, 0..1; None likewise.
        overlay: File of the drawing; None likewise.
        maps: File of the feature maps, if requested.
        error: Why the image could not be read; None if it could.
        truth: The class that its folder is named after; None if the bundle has no such class.
    """

    file: str
    label: str | None
    probability: float | None
    overlay: Path | None
    maps: Path | None
    error: str | None
    truth: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "file": self.file,
            "label": self.label,
            "probability": self.probability,
            "overlay": None if self.overlay is None else str(self.overlay),
            "maps": None if self.maps is None else str(self.maps),
            "error": self.error,
            "truth": self.truth,
        }


@documented(FileOptions)
def explain(
    images: Images,
    model: PathLike | Bundle | None = None,
    *,
    output: PathLike | None = None,
    label: str | None = None,
    stage: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Explained]:
    """Draw Grad-CAM over images, and a sheet with the first `MAX_ON_SHEET` of them.

    Args:
        images: As in `tlkit.api.predict.predict_iter`: files, folders, patterns, tables, images in memory.
        model: A bundle or its folder; None: the newest ``*.tlkit`` in the current folder.
        output: A new folder for the drawings; None: ``explained`` in the current one, then ``explained-2``.
        label: The class to look for; None: each image's predicted class.
        stage: Also draw the feature maps of this stage, such as "stage3".
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: There is no bundle, no image can be read, the folder exists or cannot be made, or the bundle has
            no such class or stage.
    """
    table = FileOptions.of("explain", options)
    bundle = model if isinstance(model, Bundle) else load(model)
    if label is not None and label not in bundle.classes:
        raise TlkitError(f"the bundle has no class '{label}'", f"one of {', '.join(bundle.classes)}")
    images = listed(images)  # an iterator can be used only once
    drawings = _Drawings(output, places_named(images, table.columns))
    show = progress or SilentProgress()
    paths = find_images(images, table, show)
    with show.phase("Loading the network", None):
        locate, maps_of = class_maps(bundle), _stage_maps(bundle, stage)
    rows: list[Explained] = []
    tiles: list[Tile] = []
    with show.phase("Explaining", len(paths)) as advance:
        for path in paths:
            row, tile = _explained(path, len(rows) + 1, bundle, label, locate, maps_of, stage, drawings)
            rows.append(row)
            if tile is not None and len(tiles) < MAX_ON_SHEET:
                tiles.append(tile)
            advance(1)
    if not tiles:
        raise TlkitError(f"no readable image in {described(paths)}", f"{rows[0].file}: {rows[0].error}")
    from tlkit.report.sheet import contact_sheet

    contact_sheet(tiles).save(drawings.folder / SHEET)
    return rows


def _explained(
    path: Path | GivenImage,
    number: int,
    bundle: Bundle,
    label: str | None,
    locate: Any,
    maps_of: Any,
    stage: str | None,
    drawings: _Drawings,
) -> tuple[Explained, Tile | None]:
    """One image, drawn and written; and what the sheet shows of it."""
    from PIL import Image

    from tlkit.report.overlay import overlay
    from tlkit.report.sheet import Tile, map_sheet

    small, whole = load_image(path, bundle.input_size), load_image(path, None, within=MAX_SIDE)
    if small.image is None or whole.image is None:
        return Explained(str(path), None, None, None, None, small.error or whole.error), None
    pixels = small.image.pixels[None]
    probabilities = bundle.probabilities(pixels)[0]
    if not np.isfinite(probabilities).all():
        return Explained(str(path), None, None, None, None, NOT_FINITE), None
    index = int(probabilities.argmax()) if label is None else bundle.classes.index(label)
    drawn = overlay(whole.image.pixels, locate(pixels, np.array([index]))[0])
    name = f"{number:04}-{_cut(path.stem)}"
    target = drawings.folder / f"{name}.png"
    Image.fromarray(drawn).save(target)
    grid = None
    if maps_of is not None:
        grid = drawings.folder / f"{name}-maps.png"
        maps = np.asarray(maps_of(pixels.astype(np.float32), training=False))[0]
        map_sheet(maps, pixels[0], stage or "").save(grid)
    truth = _truth(path, bundle)
    answer, name = bundle.classes[int(probabilities.argmax())], bundle.classes[index]
    said = f"{name} {probabilities[index]:.0%}" if name == answer else f"{name} {probabilities[index]:.0%} ({answer})"
    right = None if truth is None else answer == truth
    mark = () if truth is None else ("right",) if right else (f"wrong: the folder says {truth}",)
    row = Explained(str(path), name, float(probabilities[index]), target, grid, None, truth)
    return row, Tile((whole.image.pixels, drawn), (said, *mark, path.name), right)


def _truth(path: Path | GivenImage, bundle: Bundle) -> str | None:
    """Return the class that an image's folder is named after; None if the bundle has no such class."""
    if not isinstance(path, Path):
        return None
    name = path.absolute().parent.name
    return matched_names([name], bundle.classes).get(name)


def _cut(stem: str) -> str:
    """Cut a name such that a number and an ending still fit into what file systems take."""
    while len(os.fsencode(stem)) > MAX_STEM:
        stem = stem[:-1]
    return stem


def class_maps(bundle: Bundle) -> ClassMaps:
    """Class maps of a bundle's network, by LiteRT, or by Keras if the bundle has no LiteRT network."""
    from tlkit.evaluation.grad_cam import ClassMaps

    check_engine(AUTO)
    try:
        return ClassMaps.from_files(bundle.lite, lambda: bundle.model)
    except (ValueError, RuntimeError, AttributeError) as error:
        raise TlkitError(f"{bundle.path} has no network whose classes can be located: {error}") from error


def _stage_maps(bundle: Bundle, stage: str | None) -> Any:
    """Build a ``keras.Model`` from pixels to a stage's feature maps; None if there is no stage."""
    if stage is None:
        return None
    require_keras("--feature-maps")
    network = bundle.model
    from tlkit.backbones.runtime import import_keras

    there = {layer.name for layer in network.layers}
    layers = {each.name: each.layer for each in _stages(bundle, network) if each.layer in there}
    if stage not in layers:
        raise TlkitError(f"the bundle has no stage '{stage}'", f"one of {', '.join(layers)}")
    return import_keras().Model(network.input, network.get_layer(layers[stage]).output)


def _stages(bundle: Bundle, network: Any) -> tuple[Stage, ...]:
    """Find the stages of a bundle's backbone: by name in the catalogue, or in the network of an own backbone."""
    if bundle.manifest.get("own_backbone") is not None:
        from tlkit.backbones.own.rebuild import without_head
        from tlkit.backbones.stages import find_stages

        return find_stages(without_head(network))
    from tlkit.backbones.build import build_backbone
    from tlkit.plan.choices import RANDOM

    return build_backbone(bundle.manifest["backbone"], weights=RANDOM, input_size=bundle.input_size[0]).stages


class _Drawings:
    """The new folder for the drawings, made when there is something to put into it.

    Args:
        output: The folder; None: ``explained`` in the current one, or the first free name with ``-2`` and so on.
        images: Where images lie. The next training would take a folder of drawings there for a class.

    Raises:
        TlkitError: It exists, is inside a folder of images, or cannot be made.
    """

    def __init__(self, output: PathLike | None, images: ImagePlaces) -> None:
        self._chosen = None if output is None else Path(output)
        check_free(self._chosen or next(_default_folders()), images, "--output")

    @cached_property
    def folder(self) -> Path:
        """The folder, which no other run writes to.

        Raises:
            TlkitError: It was made by another by now, or cannot be made.
        """
        for folder in [self._chosen] if self._chosen is not None else _default_folders():
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            except OSError as error:
                raise TlkitError(f"cannot write {folder}: {error.strerror or error}", "see --output") from None
            return folder
        raise TlkitError(f"output exists: {self._chosen or FOLDER}", "choose another name for --output")


def _default_folders() -> Iterator[Path]:
    names = [FOLDER, *(f"{FOLDER}-{number}" for number in range(2, 10_000))]
    return (folder for name in names if not os.path.lexists(folder := Path.cwd() / name))
