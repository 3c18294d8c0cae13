"""``tlkit.features``: the features of images computed ahead of ``train``, by one machine or by several."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.api.embed.parts import asked_of, vector_rows
from tlkit.api.embed.source import ALL, Source, open_source
from tlkit.api.inputs import PathLike, find_images, listed
from tlkit.api.part_file import check_part_target, run_part
from tlkit.api.parts import FEATURES, Manifest
from tlkit.api.places import places_named
from tlkit.api.shards import Shard, names_below, share_of
from tlkit.api.table_options import FileOptions
from tlkit.api.train.keywords import documented
from tlkit.backbones.features import feature_key
from tlkit.errors import TlkitError
from tlkit.images.given import GivenImage
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress
from tlkit.store.bound import CACHE, cache_limit
from tlkit.store.features import MAX_MAPPED, FeatureKey, FeatureStore, row_bytes
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.api.inputs import Images

OUTPUT = "features"  # of a part, if no name is given


@dataclass(frozen=True)
class Kept:
    """The result of computing features ahead.

    Attributes:
        backbone: The network's name in the catalogue.
        images: Number of images whose features are kept now.
        reused: Number of those that were kept already.
        skipped: (file, reason) of each image that cannot be read.
        folder: Where in the cache they are.
        output: The part that was written besides, if any.
        shard: Which share it was, such as "2/8"; None: all images.
        seconds: Time taken.
    """

    backbone: str
    images: int
    reused: int
    skipped: tuple[tuple[str, str], ...]
    folder: Path
    output: Path | None
    shard: str | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields of the command line's JSON."""
        return {
            "backbone": self.backbone,
            "images": self.images,
            "reused": self.reused,
            "skipped": [{"file": file, "error": reason} for file, reason in self.skipped],
            "folder": str(self.folder),
            "output": None if self.output is None else str(self.output),
            "shard": self.shard,
            "seconds": self.seconds,
        }


@documented(FileOptions)
def features(  # noqa: PLR0913  (one argument an option)
    images: Images,
    output: PathLike | None = None,
    *,
    shard: str | None = None,
    backbone: str | None = None,
    weights: str | None = None,
    image_size: int | None = None,
    preprocessing: str | None = None,
    engine: str = AUTO,
    workers: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Kept:
    """Compute the features of images and keep them in the cache, where ``train``, ``check`` and ``embed`` find them.

    The same call again goes on with a run that was killed. Machines that share a cache each take a share. Machines that
    share none write parts, which `tlkit.merge` puts into the cache of the machine that trains.

    Args:
        images: See `tlkit.embed_iter`.
        output: Also write the features of the share to ``OUTPUT.part-2-of-8``; None: only into the cache.
        shard: Only a share of the images: "2/8" is the second of eight. "auto/8": the number is that of an array job.
        backbone: See `tlkit.embed_iter`; as for the training.
        weights: See `tlkit.embed_iter`.
        image_size: See `tlkit.embed_iter`.
        preprocessing: See `tlkit.embed_iter`.
        engine: See `tlkit.embed_iter`.
        workers: See `tlkit.embed_iter`.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: No image is found or can be read, there is no such backbone or shard, the cache cannot be written or
            is too small, or the part cannot be written.
    """
    start, show, images = time.perf_counter(), progress or SilentProgress(), listed(images)
    wanted = None if shard is None else Shard.parse(shard)
    if output is not None and wanted is None:
        raise TlkitError("--output requires --shard", "without it, features are kept in the cache only")
    table = FileOptions.of("features", options)
    places = places_named(images, table.columns)
    target = None if output is None or wanted is None else wanted.part(Path(output).expanduser())
    if target is not None:
        check_part_target(target, places, "--output")
    found: Sequence[Path | GivenImage] = find_images(images, table, show)
    share = None if wanted is None else share_of(names_below(found, places.within), wanted)
    source = open_source(backbone, None, ALL, weights, image_size, preprocessing, engine, show)
    source = replace(source, blocks=source.extractor.taps)
    key = feature_key(source.extractor)
    if share is not None:
        found = [found[place] for place in share.places]
    paths = [path for path in found if isinstance(path, Path)]
    if len(paths) < len(found):
        raise TlkitError("features cannot be kept of images in memory", "give paths of files")
    if target is None:
        require_room(key, len(paths) if share is None else share.images)
    phase = f"Features ({source.backbone})"
    with contextlib.closing(FeatureStore(key, max_mapped=MAX_MAPPED)) as store:
        if target is not None and share is not None:
            manifest = Manifest.of_share(FEATURES, share, asked_of(source), {"backbone": source.backbone})
            part = run_part(
                target, manifest, share, paths, lambda rest: vector_rows(rest, source, store, workers), show, phase
            )
            count, reused, skipped = part.images - len(part.skipped), part.reused, list(part.skipped)
        else:
            count, reused, skipped = _fill(paths, source, store, workers, show, phase)
    text = None if wanted is None else f"{wanted.number}/{wanted.of}"
    seconds = round(time.perf_counter() - start, 3)
    return Kept(source.backbone, count, reused, tuple(skipped), store.folder, target, text, seconds)


def require_room(key: FeatureKey, images: int) -> None:
    """Check that the features of so many images fit into the cache.

    Raises:
        TlkitError: They do not: the first would be removed again before the last are computed.
    """
    size, limit = images * row_bytes(key), cache_limit()
    if size > limit:
        takes, holds = _gigabytes(size), _gigabytes(limit)
        raise TlkitError(
            f"the features of {plural(images, 'image')} take {takes}, and the cache holds {holds}",
            f"set TLKIT_CACHE_SIZE to more than {takes}, for training too",
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f}GB" if size >= 1e8 else f"{size / 1e6:.1f}MB"


def _fill(
    paths: Sequence[Path], source: Source, store: FeatureStore, workers: int | None, show: Progress, phase: str
) -> tuple[int, int, list[tuple[str, str]]]:
    """Compute what is not kept yet; return how many images have features, how many had them, and the others."""
    from tlkit.backbones.features import NOT_FINITE, each_feature

    count, reused, skipped = 0, 0, []
    with (
        show.phase(phase, len(paths)) as advance,
        contextlib.closing(each_feature(paths, source.extractor, store=store, workers=workers)) as found,
    ):
        for item, stored, new in found:
            if stored is None:
                skipped.append((str(paths[item.index]), item.error or NOT_FINITE))
            else:
                count, reused = count + 1, reused + (not new)
            advance(1)
    if store.problem:
        raise TlkitError(store.problem, f"set {CACHE} to a folder that can be written")
    if paths and not count:
        raise TlkitError(f"no readable image among {plural(len(paths), 'file')}", "{}: {}".format(*skipped[0]))
    return count, reused, skipped
