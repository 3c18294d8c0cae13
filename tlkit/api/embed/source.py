"""The network and stages that compute the vectors of ``tlkit.embed``: a backbone or a bundle's network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlkit.api.embed.writers import Blocks, blocks_of
from tlkit.api.inputs import PathLike
from tlkit.backbones import catalog
from tlkit.backbones.build import check_request
from tlkit.backbones.engines import check_engine
from tlkit.backbones.extractor import TOP, Extractor, open_extractor
from tlkit.bundle.backbone import bundle_extractor
from tlkit.bundle.load import Bundle, load
from tlkit.errors import TlkitError
from tlkit.plan.choices import IMAGENET
from tlkit.progress import Progress

ALL = "all"


@dataclass(frozen=True)
class Source:
    """A network and the stages to take features from.

    Attributes:
        extractor: The frozen network.
        blocks: (name, width) of the pooled stages that make up a vector.
        model: The bundle it comes from, if any.
    """

    extractor: Extractor
    blocks: Blocks
    model: Path | None

    @property
    def backbone(self) -> str:
        """Its name in the catalogue."""
        return self.extractor.backbone.name

    @property
    def stage(self) -> str:
        """The stages of a vector: "top", the name of a stage, several joined by "+", or "all"."""
        if len(self.blocks) == len(self.extractor.taps) > 1:
            return ALL
        return "+".join(name for name, _ in self.blocks)


def open_source(
    backbone: str | None,
    model: PathLike | Bundle | None,
    stage: str | None,
    weights: str | None,
    image_size: int | None,
    preprocessing: str | None,
    engine: str,
    show: Progress,
) -> Source:
    """Open the requested network.

    Raises:
        TlkitError: See `embed_iter`.
    """
    check_engine(engine)
    given = {
        "--backbone": backbone,
        "--weights": weights,
        "--image-size": image_size,
        "--preprocessing": preprocessing,
    }
    if model is not None and (wrong := [name for name, value in given.items() if value is not None]):
        raise TlkitError(f"{wrong[0]} does not apply to --model", "leave it out: the bundle has its own")
    head: Sequence[str] = (TOP,)
    if model is None:
        chosen = weights or IMAGENET
        row, size = check_request(backbone or catalog.DEFAULT, chosen, image_size, preprocessing)
        extractor = open_extractor(row, weights=chosen, input_size=size, engine=engine, progress=show)
        path = None
    else:
        bundle = model if isinstance(model, Bundle) else load(model)
        extractor, head = bundle_extractor(bundle, engine=engine, progress=show)
        path = bundle.path
    return Source(extractor, blocks_of(extractor.taps, _chosen(stage, extractor, head)), path)


def _chosen(stage: str | None, extractor: Extractor, head: Sequence[str]) -> Sequence[str]:
    """Names of the blocks that a stage stands for; the last stage is the top.

    Raises:
        TlkitError: There is no such stage.
    """
    names = [name for name, _ in extractor.taps]
    last = f"stage{len(names)}"
    if stage is None:
        return head
    if stage == ALL:
        return names
    if stage not in (*names, last):
        raise TlkitError(f"no stage '{stage}' to take features from", f"one of {', '.join([*names, ALL])}")
    return (TOP,) if stage == last else (stage,)
