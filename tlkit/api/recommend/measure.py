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
from tlkit.context import Context
from tlkit.images.folder import TRAIN
from tlkit.plan.choices import IMAGENET
from tlkit.plan.plan import Flips

MAX_MIRRORED = 128  # training images at most that are looked at mirrored
MAX_SIMILARITY = 256  # training images at most that similarity is measured on, where that needs a pass of its own


@dataclass(frozen=True, eq=False)
class Measured:
    """What the advisor measured and says.

    Attributes:
        size: Of the dataset.
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
    flips: Flips | None
    evidence: Evidence | None
    pilot: Pilot | None
    advice: Advice
    speed: float


def measure(
    dataset: Dataset, extractor: Extractor, request: TrainOptions, balanced: bool, context: Context
) -> Measured:
    """Measure and advise, on the training images; the dataset's features hold all taps.

    Args:
        dataset: Images, split and features.
        extractor: What computed them.
        request: The advisor, whether there may be a pilot and how it trains.
        balanced: Weight classes by inverse frequency.
        context: Of the run; strategies that take longer than its deadline are not advised.
    """
    counts, limit = dataset.counts(), context.left()
    size = judge_size(counts)
    probes = probe(dataset, balanced, context)
    similarity = similarity_of(dataset, extractor, context)
    evidence = flips = None
    forward = TimedForward(extractor, context.workers)
    if probes is not None:
        pixels = read_pixels(dataset, extractor.input_size, context.workers)
        flips = look_at_flips(dataset, extractor, pixels, context, most=MAX_MIRRORED, forward=forward)
        evidence = gather(probes, similarity, flips, counts, extractor.input_size)
    columns = sum(width for _, width in extractor.taps)
    seconds = estimate_seconds(sum(counts), len(counts), columns, forward.speed())
    advice = advise(evidence, size, similarity, seconds, by=request.advisor, limit=limit)
    pilot = None
    if request.pilot and evidence is not None and flips is not None and is_worthwhile(advice, sum(counts), limit):
        start = time.perf_counter()
        pilot = run_pilot(dataset, extractor, request, flips.harmless, context)
        evidence = replace(evidence, pilot=round(pilot.gain, 5))
        left = None if limit is None else limit - (time.perf_counter() - start)
        advice = advise(evidence, size, similarity, seconds, limit=left, more=(pilot.why,))
    return Measured(size, similarity, probes, flips, evidence, pilot, advice, forward.speed())


def probe(dataset: Dataset, balanced: bool, context: Context) -> Probes | None:
    """Probes on the training images; the dataset's features hold all taps. None: a class has too few images."""
    return run_probes(
        dataset.matrix(TRAIN),
        dataset.features.taps,
        dataset.labels(TRAIN),
        dataset.groups(TRAIN),
        balanced=balanced,
        seed=context.seed,
        progress=context.show,
    )


def similarity_of(dataset: Dataset, extractor: Extractor, context: Context) -> Similarity:
    """How much the training images resemble ImageNet, by the packaged network at its own input size.

    Another network, or another size, is no measure: most have no classifier at hand, and figures move with the size. So
    a sample then goes through the packaged one.
    """
    packaged = extractor.backbone.name == catalog.DEFAULT and extractor.weights == IMAGENET
    if packaged and extractor.input_size == extractor.backbone.input_size:
        matrix, taps = dataset.matrix(TRAIN), dataset.features.taps
    else:
        network, paths = open_extractor(catalog.DEFAULT), dataset.paths(TRAIN)
        some = np.sort(np.random.default_rng([context.seed, 2]).permutation(len(paths))[:MAX_SIMILARITY])
        found = stored_features([paths[i] for i in some], network, context)
        matrix, taps = found.matrix, found.taps
    return judge_similarity(matrix, taps, packaged_source(), class_names())
