"""Run the advisor on a prepared dataset: probes on its features, similarity to ImageNet, advice."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from tlkit.advisor.advise import LONGEST, Advice, advise, without_training
from tlkit.advisor.costs import estimate_seconds
from tlkit.advisor.evidence import Evidence, gather
from tlkit.advisor.frozen_choice import FrozenCandidate
from tlkit.advisor.pilot import Pilot
from tlkit.advisor.probes import Probes, run_probes
from tlkit.advisor.similarity import Similarity, judge_similarity
from tlkit.advisor.size import Size, judge_size
from tlkit.api.recommend.frozen_search import MAX_FOR_FEATURES
from tlkit.api.recommend.pilot import is_worthwhile, run_pilot
from tlkit.api.train.dataset import Dataset, stored_features
from tlkit.api.train.flip_check import look_at_flips, read_pixels
from tlkit.api.train.start import Start
from tlkit.backbones import catalog
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.backbones.source_statistics import class_names, packaged_source
from tlkit.backbones.speed import TimedForward
from tlkit.context import Context
from tlkit.images.folder import TRAIN
from tlkit.libraries import no_keras
from tlkit.linear.flip_check import balanced_sample
from tlkit.linear.taps import cross_validated, taps_of
from tlkit.plan.choices import ALL, IMAGENET
from tlkit.plan.plan import Flips, Plan
from tlkit.store.disk_matrix import DiskMatrix, in_memory

MAX_MIRRORED = 128  # training images that are checked mirrored
MAX_SIMILARITY = 256  # training images that similarity is measured on, if that needs a separate pass


@dataclass(frozen=True, eq=False)
class Measured:
    """What the advisor measured, and its advice.

    Attributes:
        size: Size of the dataset.
        similarity: Similarity to ImageNet.
        probes: Cross-validated probes; None if a class has too few images.
        flips: Whether mirroring is harmless; None likewise.
        evidence: The numbers that the advice is based on; None likewise.
        pilot: Result of the short trial; None: there was none.
        advice: The recommended strategy, and why.
        speed: Images per second through the frozen network on this machine.
    """

    size: Size
    similarity: Similarity
    probes: Probes | None
    flips: Flips | None
    evidence: Evidence | None
    pilot: Pilot | None
    advice: Advice
    speed: float

    def follow(self, plan: Plan) -> Plan:
        """Return a plan, whose features are those of the frozen network, with the strategy advised."""
        advice = self.advice
        return replace(
            plan,
            strategy=advice.strategy,
            features=advice.features,
            boundary=advice.boundary,
            frozen_features=plan.features,
            expected=advice.expected,
            flips=self.flips,
            reasons=(*advice.reasons, *plan.reasons),
        )


def measure(
    dataset: Dataset,
    extractor: Extractor,
    start: Start,
    balanced: bool,
    context: Context,
    frozen: FrozenCandidate | None = None,
) -> Measured:
    """Measure the training images and advise; the features must have all taps.

    Args:
        dataset: Images, split and features.
        extractor: The backbone that computed the features.
        start: What training starts from: which advisor to ask, whether to run a pilot and how to train it, and the
            features of a frozen backbone's head.
        balanced: Weight classes by inverse frequency.
        context: Context of the run; strategies that would miss its deadline are not advised.
        frozen: The frozen network and features, as cross-validated; None: they were not compared with others.
    """
    began, request, counts = time.perf_counter(), start.request, dataset.counts()
    size = judge_size(counts)
    probes = probe(dataset, balanced, context)
    similarity = similarity_of(dataset, extractor, context)
    evidence = flips = None
    forward = TimedForward(extractor, context.workers)
    if probes is not None:
        pixels = read_pixels(dataset, extractor.input_size, context.workers)
        flips = look_at_flips(dataset, extractor, pixels, context, most=MAX_MIRRORED, forward=forward)
        if frozen is not None:
            head = frozen.accuracy, frozen.images
        else:
            head = frozen_head(dataset, start, balanced, probes, context)
        evidence = gather(probes, similarity, flips, counts, extractor.input_size, head)
    columns = sum(width for _, width in extractor.taps)
    seconds = estimate_seconds(sum(counts), len(counts), columns, forward.speed())

    def advised(pilot: Pilot | None) -> Advice:
        return advise(
            evidence,
            size,
            similarity,
            seconds,
            by=request.advisor,
            limit=context.left(),
            longest=LONGEST - (time.perf_counter() - began),
            features=start.plan.features,
            pilot=pilot,
        )

    advice, pilot, lacking = advised(None), None, no_keras()
    if lacking:
        advice = without_training(advice, lacking)
    elif (
        request.pilot
        and evidence is not None
        and flips is not None
        and is_worthwhile(advice, sum(counts), context.left())
    ):
        pilot = run_pilot(dataset, extractor, start, flips.harmless, context)
        evidence = replace(evidence, pilot=round(pilot.gain, 5))
        advice = advised(pilot)
    return Measured(size, similarity, probes, flips, evidence, pilot, advice, forward.speed())


def probe(dataset: Dataset, balanced: bool, context: Context) -> Probes | None:
    """Run probes on the training images; the features must have all taps. None: a class has too few images."""
    return run_probes(
        dataset.matrix(TRAIN),
        dataset.features.taps,
        dataset.labels(TRAIN),
        dataset.groups(TRAIN),
        balanced=balanced,
        seed=context.seed,
        progress=context.show,
    )


def frozen_head(dataset: Dataset, start: Start, balanced: bool, probes: Probes, context: Context) -> tuple[float, int]:
    """Cross-validate the frozen network's head: accuracy, and the number of training images it was measured on.

    With so many classes that a sample has too few images of some, the probe's accuracy stands in for it.
    """
    features, taps = start.plan.features, dataset.features.taps
    labels, groups = dataset.labels(TRAIN), dataset.groups(TRAIN)
    some = balanced_sample(labels, context.seed, min(MAX_FOR_FEATURES, len(labels)))
    point = cross_validated(
        dataset.matrix(TRAIN)[some],
        taps,
        taps_of(features, taps),
        [labels[i] for i in some],
        [groups[i] for i in some],
        balanced=balanced,
        seed=context.seed,
        progress=context.show,
    )
    if point is None:
        return (probes.together if features == ALL else probes.last).accuracy, probes.images
    return point.accuracy, len(some)


def similarity_of(dataset: Dataset, extractor: Extractor, context: Context) -> Similarity:
    """Measure how similar the training images are to ImageNet, by the packaged network at its own input size.

    With another network or size, a sample goes through the packaged network: most networks have no classifier at hand,
    and the score depends on the size.
    """
    packaged = extractor.backbone.name == catalog.DEFAULT and extractor.weights == IMAGENET
    if packaged and extractor.input_size == extractor.backbone.input_size:
        matrix, taps = dataset.matrix(TRAIN), dataset.features.taps
        if isinstance(matrix, DiskMatrix):
            matrix = matrix.part(
                np.sort(np.random.default_rng([context.seed, 2]).permutation(len(matrix))[:MAX_SIMILARITY])
            )
    else:
        network, paths = open_extractor(catalog.DEFAULT), dataset.paths(TRAIN)
        some = np.sort(np.random.default_rng([context.seed, 2]).permutation(len(paths))[:MAX_SIMILARITY])
        found = stored_features([paths[i] for i in some], network, context)
        matrix, taps = found.matrix, found.taps
    return judge_similarity(in_memory(matrix), taps, packaged_source(), class_names())
