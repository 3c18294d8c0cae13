"""``tlkit.check_part``: a share of a check for each of several machines; merging compares the images."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tlkit.api.check import folder_to_check, matched_classes, probe_taps
from tlkit.api.check_rows import PROBABILITY, folder_note, row_of
from tlkit.api.embed.parts import vector_text
from tlkit.api.part_file import Part, check_part_target, run_part
from tlkit.api.parts import CHECK, Manifest
from tlkit.api.places import places_of
from tlkit.api.shards import Shard, share_of
from tlkit.api.table_options import TableOptions
from tlkit.api.train.keywords import documented
from tlkit.backbones import catalog
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.run import answers
from tlkit.context import Context
from tlkit.images.capture import Capture, read_capture
from tlkit.images.facts import Facts, examine, facts_of
from tlkit.images.folder import ImageFolder
from tlkit.images.group_spec import EXIF_CAMERA, EXIF_DATE, group_spec
from tlkit.images.groups import with_groups
from tlkit.plan.choices import AUTO
from tlkit.progress import Progress, SilentProgress

PathLike = str | os.PathLike[str]
Row = dict[str, Any]
Compute = Callable[[Sequence[int]], Generator[Row, None, None]]


@documented(TableOptions)
def check_part(  # noqa: PLR0913  (one argument an option)
    images: PathLike,
    report: PathLike,
    shard: str,
    *,
    suspects: bool = True,
    model: PathLike | Bundle | None = None,
    groups: str | None = None,
    engine: str = AUTO,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Part:
    """Read the files of a share once, and write what `tlkit.merge` needs to report what `tlkit.check` would.

    The same call again goes on with a run that was killed.

    Args:
        images: See `tlkit.check`.
        report: The report that the parts will become; the part is beside it, ``REPORT.part-2-of-8``.
        shard: "2/8" is the second of eight. "auto/8": the number is that of an array job.
        suspects: See `tlkit.check`.
        model: See `tlkit.check`.
        groups: See `tlkit.check`.
        engine: See `tlkit.check`.
        workers: See `tlkit.check`.
        seed: See `tlkit.check`.
        progress: Progress reporter.
        options: As follows.

    Raises:
        TypeError: There is no such option.
        TlkitError: As `tlkit.check`; there is no such shard, or the part cannot be written.
    """
    wanted = Shard.parse(shard)
    table = TableOptions.of("check_part", options)
    context = Context(progress or SilentProgress(), workers, seed)
    by = None if groups is None else group_spec(os.fspath(groups))
    folder = folder_to_check(images, table, context.show)
    target = wanted.part(Path(report).expanduser())
    check_part_target(target, places_of(folder), "--report")
    in_exif = by in (EXIF_DATE, EXIF_CAMERA)
    if by is not None and not in_exif:
        folder = with_groups(folder, by, workers)
    bundle = None if model is None else model if isinstance(model, Bundle) else load(model)
    share = share_of(_names(folder), wanted)
    needs_exif = in_exif or (by is None and bundle is None and suspects)
    asked, note, compute = _work(folder, bundle, suspects, engine, context)
    manifest = Manifest.of_share(
        CHECK, share, {**asked, "groups": by, "seed": seed}, {**note, "folder": folder_note(folder)}
    )

    def rows(paths: Sequence[Path]) -> Generator[Row, None, None]:
        rest = share.places[len(share.places) - len(paths) :]
        with contextlib.closing(compute(rest)) as found:
            for place, row in zip(rest, found, strict=True):
                capture = read_capture(folder.paths[place]) if needs_exif else Capture()
                yield {**row_of(folder, place), **row, "day": capture.day, "camera": capture.camera}

    return run_part(
        target, manifest, share, [folder.paths[place] for place in share.places], rows, context.show, "Checking"
    )


def _names(folder: ImageFolder) -> Iterator[str]:
    """Yield all that must be the same on every machine of each image."""
    groups = folder.groups or ("",) * len(folder.files)
    for file, label, split, group in zip(folder.files, folder.labels, folder.splits, groups, strict=True):
        yield "\n".join((file, folder.classes[label], split, group))


def _work(
    folder: ImageFolder, bundle: Bundle | None, suspects: bool, engine: str, context: Context
) -> tuple[Row, Row, Compute]:
    """Return what is asked of which network, what else a merge needs to know, and what computes the rows of images."""
    if bundle is not None:
        matched_classes(folder, bundle)
        asked = {"by": "bundle", "digest": bundle.manifest["digest"], "classes": list(bundle.classes)}
        return asked, {"model": str(bundle.path)}, lambda places: _by_bundle(folder, places, bundle, engine, context)
    if suspects:
        return _by_probes(folder, engine, context)
    return {"by": "facts"}, {}, lambda places: _by_facts(folder, places, context)


def _row(fact: Facts, vector: str | None) -> Row:
    facts = {**asdict(fact), "fingerprint": fact.fingerprint.hex()}
    return {"error": fact.error, "facts": facts, "vector": vector}


def _by_facts(folder: ImageFolder, places: Sequence[int], context: Context) -> Generator[Row, None, None]:
    for fact in examine([folder.paths[place] for place in places], context.workers):
        yield _row(fact, None)


def _by_bundle(
    folder: ImageFolder, places: Sequence[int], bundle: Bundle, engine: str, context: Context
) -> Generator[Row, None, None]:
    paths = [folder.paths[place] for place in places]
    for answer in answers(paths, bundle, engine=engine, workers=context.workers, fingerprints=True):
        fact, values = facts_of(paths[answer.item.index], answer.item), answer.probabilities
        yield _row(fact, None if values is None else vector_text(values, PROBABILITY))


def _by_probes(folder: ImageFolder, engine: str, context: Context) -> tuple[Row, Row, Compute]:
    from tlkit.backbones.extractor import columns_of, open_extractor
    from tlkit.backbones.features import each_feature, feature_key
    from tlkit.store.features import FeatureStore

    extractor = open_extractor(catalog.DEFAULT, engine=engine, progress=context.show)
    key, taps = feature_key(extractor), probe_taps(extractor)
    columns = columns_of(key.taps, taps)
    asked = {
        "by": "probes",
        "backbone": key.backbone,
        "weights": key.weights,
        "size": key.height,
        "reading": key.reading,
        "taps": [list(tap) for tap in key.taps if tap[0] in taps],
    }

    def compute(places: Sequence[int]) -> Generator[Row, None, None]:
        paths = [folder.paths[place] for place in places]
        with (
            contextlib.closing(FeatureStore(key)) as store,
            contextlib.closing(
                each_feature(paths, extractor, store=store, workers=context.workers, decode_all=True)
            ) as found,
        ):
            for item, stored, _ in found:
                fact = facts_of(paths[item.index], item)
                yield _row(fact, None if stored is None else vector_text(stored.vector[columns]))

    return asked, {"name": extractor.backbone.name}, compute
