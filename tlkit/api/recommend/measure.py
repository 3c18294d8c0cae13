"""The advisor on a prepared data set: probes on its features, its similarity to ImageNet, the advice."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from tlkit.advisor.advise import Advice, advise
from tlkit.advisor.costs import estimate_seconds
from tlkit.advisor.evidence import Evidence, gather
from tlkit.advisor.pilot import Pilot
from tlkit.advisor.probes import Probes, run_probes
from tlkit.advisor.similarity import Similarity, judge_similarity
from tlkit.advisor.size import Size, judge_size
from tlkit.api.recommend.pilot import is_worthwhile, run_pilot
from tlkit.api.train.dataset import Dataset, stored_features
from tlkit.api.train.flip_check import look_at_flips, read_pixels
from tlkit.api.train.options import TrainOptions
from tlkit.backbones import catalog
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.backbones.source_statistics import class_names, packaged_source
from tlkit.backbones.speed import TimedForward
from tlkit.backbones.weights.loading import IMAGENET
from tlkit.images.folder import TRAIN
from tlkit.linear.flip_check import FlipCheck
from tlkit.progress import Progress

MIRRORED = 128  # training images at most that are looked at mirrored
LOOKED_AT = 256  # training images at most that similarity is measured on, where that needs a pass of its own


@dataclass(frozen=True, eq=False)
class Looked:
    """What the advisor saw and says.

    Attributes:
        size: Of the data set.
        similarity: To ImageNet.
        probes: Cross-validation; None where a class has too few images.
        flips: Whether mirroring is harmless; None likewise.
        evidence: The numbers of all that; None likewise.
        pilot: What some steps of training showed; None: there were none.
        advice: What to do.
        speed: Images a second that the frozen network computes on this machine.
    """

    size: Size
    similarity: Similarity
    probes: Probes | None
    flips: FlipCheck | None
    evidence: Evidence | None
    pilot: Pilot | None
    advice: Advice
    speed: float


def look(
    data: Dataset,
    extractor: Extractor,
    options: TrainOptions,
    *,
    balanced: bool,
    limit: float | None,
    workers: int | None,
    show: Progress,
) -> Looked:
    """Measure and advise, on the training images; the data set's features hold all taps.

    Args:
        data: Images, split and features.
        extractor: What computed them.
        options: The advisor, the seed of folds and samples, whether there may be a pilot and how it trains.
        balanced: Weigh classes by the inverse of their share.
        limit: Seconds that training may take; None: no limit.
        workers: Threads and cores; None: all.
        show: Told what goes on.
    """
    counts = class_counts(data)
    size = judge_size(counts)
    probes = probe(data, balanced, options.seed, show)
    similarity = similarity_of(data, extractor, options.seed, workers, show)
    evidence = flips = None
    forward = TimedForward(extractor, workers)
    if probes is not None:
        flips = look_at_flips(
            data,
            extractor,
            read_pixels(data, extractor.input_size, workers),
            seed=options.seed,
            workers=workers,
            show=show,
            most=MIRRORED,
            forward=forward,
        )
        evidence = gather(probes, similarity, flips, counts, extractor.input_size)
    columns = sum(width for _, width in extractor.taps)
    seconds = estimate_seconds(sum(counts), len(counts), columns, forward.speed())
    advice = advise(evidence, size, similarity, seconds, by=options.advisor, limit=limit)
    pilot = None
    if options.pilot and evidence is not None and flips is not None and is_worthwhile(advice, sum(counts), limit):
        start = time.perf_counter()
        pilot = run_pilot(data, extractor, options, flip=flips.harmless, balanced=balanced, workers=workers, show=show)
        evidence = replace(evidence, pilot=round(pilot.gain, 5))
        left = None if limit is None else limit - (time.perf_counter() - start)
        advice = advise(evidence, size, similarity, seconds, limit=left, more=(pilot.why,))
    return Looked(size, similarity, probes, flips, evidence, pilot, advice, forward.speed())


def class_counts(data: Dataset) -> list[int]:
    """Training images of each class."""
    return list(data.folder.counts(TRAIN).values())


def probe(data: Dataset, balanced: bool, seed: int, show: Progress) -> Probes | None:
    """Probes on the training images; the data set's features hold all taps. None: a class has too few images."""
    chosen = data.of(TRAIN)
    return run_probes(
        data.features.matrix[[data.rows[i] for i in chosen]],
        data.features.taps,
        [data.folder.labels[i] for i in chosen],
        [data.groups[i] for i in chosen],
        balanced=balanced,
        seed=seed,
        progress=show,
    )


def similarity_of(data: Dataset, extractor: Extractor, seed: int, workers: int | None, show: Progress) -> Similarity:
    """How much the training images resemble ImageNet, by the packaged network at its own input size.

    Another network, or another size, is no measure: most have no classifier at hand, and figures move with the size. So
    a sample then goes through the packaged one.
    """
    chosen = data.of(TRAIN)
    packaged = extractor.backbone.name == catalog.DEFAULT and extractor.weights == IMAGENET
    if packaged and extractor.input_size == extractor.backbone.input_size:
        matrix, taps = data.features.matrix[[data.rows[i] for i in chosen]], data.features.taps
    else:
        network = open_extractor(catalog.DEFAULT)
        some = np.sort(np.random.default_rng([seed, 2]).permutation(len(chosen))[:LOOKED_AT])
        found = stored_features([data.folder.paths[chosen[i]] for i in some], network, workers, show)
        matrix, taps = found.matrix, found.taps
    return judge_similarity(matrix, taps, packaged_source(), class_names())
