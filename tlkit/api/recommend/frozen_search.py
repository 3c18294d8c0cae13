"""Search the frozen networks first: compare backbones, input sizes and features by cross-validating heads.

What a frozen network can reach depends on these choices by several points, and measuring them takes seconds
(``benchmarks/frozen.py``). Candidates are compared on a sample in two rounds, as in successive halving (Jamieson &
Talwalkar 2016): all of them on a part of the sample, the best ones on the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tlkit.advisor.frozen_choice import FrozenCandidate, best_networks, choose_frozen, reason
from tlkit.api.recommend.networks import Network, networks_to_compare
from tlkit.api.train.dataset import Dataset, stored_features
from tlkit.api.train.head import weighs_classes
from tlkit.api.train.reading import read_dataset
from tlkit.api.train.stages import NETWORKS, compares_networks
from tlkit.api.train.start import Start
from tlkit.backbones.extractor import Extractor, Taps
from tlkit.backbones.speed import latency
from tlkit.context import Context
from tlkit.images.batches import cpu_count
from tlkit.images.folder import TRAIN, ImageFolder
from tlkit.linear.flip_check import balanced_sample
from tlkit.linear.head import Matrix
from tlkit.linear.taps import cross_validated, taps_of
from tlkit.plan.choices import AUTO, FEATURES
from tlkit.store.disk_matrix import in_memory

MAX_IMAGES = 400  # training images that networks are compared on,
MIN_IMAGES, MIN_PER_CLASS = 60, 4  # and at least so many, unless there are fewer
MAX_FOR_FEATURES = 1000  # training images that the features of one network are compared on
FIRST_ROUND = 0.4  # share of them that all networks are compared on
KEPT = 3  # networks in the second round
MIN_FIRST_ROUND = 60  # images; with fewer there is only one round
PASSES = 3.0  # comparing takes at most as long as so many feature passes of the default network over all images,
MIN_PASSES = 1200.0  # but as long as for so many images is always allowed: ten seconds
TIME_SHARE = 0.25  # of the time left that comparing may take, if it is limited


@dataclass(frozen=True, eq=False)
class Searched:
    """What the search found.

    Attributes:
        start: The start, with backbone, input size and features chosen.
        extractor: The network chosen.
        dataset: The images with its features.
        compared: All candidates.
        chosen: The one chosen, as it was last measured; None: nothing was compared.
    """

    start: Start
    extractor: Extractor
    dataset: Dataset
    compared: tuple[FrozenCandidate, ...]
    chosen: FrozenCandidate | None = None


def search_frozen(
    start: Start, folder: ImageFolder, dataset: Dataset, extractor: Extractor, context: Context
) -> Searched:
    """Choose backbone, input size and features, as far as they are not decided.

    Args:
        start: What training starts from.
        folder: The images found.
        dataset: Images, split, and features of all taps of the network of the start.
        extractor: That network.
        context: Context of the run.

    Raises:
        TlkitError: No network is within the limits, or as for `read_dataset`.
    """
    if compares_networks(start.request) and not start.planned:
        context.begin(NETWORKS)
    networks = networks_to_compare(start, dataset.paths(TRAIN), context)
    features = _features_to_compare(start, extractor)
    if len(networks) * len(features) == 1:
        return Searched(start, extractor, dataset, ())
    comparison = _Comparison(start, dataset, extractor, features, context)
    compared = comparison.run(networks, len(folder.files))
    if not compared:
        return Searched(start, extractor, dataset, ())
    chosen = choose_frozen(compared)
    network = next(each for each in networks if each.key == chosen.network)
    context.clock.lap("search")
    plan = replace(start.plan, backbone=network.row.name, input_size=network.size)
    found = replace(start, backbone=network.row, plan=plan)
    if chosen.network != (start.backbone.name, start.plan.input_size):
        extractor = comparison.opened[chosen.network]
        reused, grouping = dataset.features.reused, dataset.grouping
        dataset = read_dataset(found, folder, extractor, context, quiet=True)
        # the sample's features are of this run
        dataset = replace(dataset, features=replace(dataset.features, reused=reused), grouping=grouping)
    why = reason(chosen, compared)
    more = len(features) > 1 and dataset.count(TRAIN) > chosen.images
    if more and (last := _Comparison(found, dataset, extractor, features, context).run([network], 0)):
        chosen = choose_frozen(last)
        why = f"{why}; {reason(chosen, last)}"
    context.show.note(f"frozen network: {chosen}")
    its = plan.features if start.request.names_tuning else chosen.features
    plan = replace(plan, features=its, frozen_features=chosen.features).because(why)
    return Searched(replace(found, plan=plan), extractor, dataset, tuple(compared), chosen)


def _features_to_compare(start: Start, extractor: Extractor) -> tuple[str, ...]:
    return FEATURES if start.compares_features and len(extractor.taps) > 1 else (start.plan.features,)


class _Comparison:
    """Cross-validates candidates on a sample of the training images.

    Args:
        start: What training starts from.
        dataset: Images, split, and features of all taps of ``extractor``.
        extractor: The network whose features are there.
        features: Values of `FEATURES` to compare.
        context: Context of the run.
    """

    def __init__(
        self, start: Start, dataset: Dataset, extractor: Extractor, features: Sequence[str], context: Context
    ) -> None:
        self._start, self._dataset, self._features, self._context = start, dataset, features, context
        self._balanced = weighs_classes(start.plan, dataset)
        self._own = (extractor.backbone.name, extractor.input_size)
        self.opened = {self._own: extractor}

    def run(self, networks: Sequence[Network], images: int) -> list[FrozenCandidate]:
        """Compare networks, in two rounds if there are several.

        Args:
            networks: At least one.
            images: Number of images of the whole folder, which limits the time.

        Returns:
            All candidates, those of the second round instead of the same of the first. Empty if a class has too few
            images for cross-validation.
        """
        labels, kept, most = self._dataset.labels(TRAIN), list(networks), MAX_FOR_FEATURES
        if len(networks) > 1:
            kept, most = self._affordable(networks, images)
            if most < min(len(labels), max(MIN_IMAGES, MIN_PER_CLASS * len(set(labels)))):
                kept = [each for each in kept if each.key == self._own] or kept[:1]
        if len(kept) == 1:
            most = MAX_FOR_FEATURES
        most = min(most, len(labels))
        found: list[FrozenCandidate] = []
        if len(kept) > KEPT and FIRST_ROUND * most >= MIN_FIRST_ROUND:
            sample = balanced_sample(labels, self._context.seed, round(FIRST_ROUND * most))
            found = [each for network in kept for each in self._measured(network, sample)]
            best = best_networks(found, KEPT)
            kept = [each for each in kept if each.key in best]
        sample = balanced_sample(labels, self._context.seed, most)
        again = [each for network in kept for each in self._measured(network, sample)]
        names = [each.network for each in again]
        return [*again, *(each for each in found if each.network not in names)]

    def _affordable(self, networks: Sequence[Network], images: int) -> tuple[list[Network], int]:
        """Return the networks to compare, and the number of images to compare them on, so that there is time for it.

        With a time limit, there must also be time for the features of all images by the network chosen.
        """
        kept, passes, left = list(networks), max(PASSES * images, MIN_PASSES), self._context.left()
        if self._start.request.backbone == AUTO:
            passes = math.inf
        if left is not None:
            alone = latency(self.opened[self._own]) / (self._context.workers or cpu_count())
            possible = TIME_SHARE * left / max(1e-6, alone)
            kept = [each for each in kept if each.key == self._own or each.cost * images <= possible]
            passes = min(passes, possible)
        costs = sorted(each.cost for each in kept if each.key != self._own)
        each_image = FIRST_ROUND * sum(costs) + (1 - FIRST_ROUND) * sum(costs[-KEPT + 1 :])
        return kept, int(min(MAX_IMAGES, passes / max(1e-6, each_image)))

    def _measured(self, network: Network, sample: Sequence[int]) -> list[FrozenCandidate]:
        """Cross-validate heads on a network's features of some training images, given by their places."""
        matrix, taps, places = self._rows(network, sample)
        labels, groups = self._dataset.labels(TRAIN), self._dataset.groups(TRAIN)
        found = []
        for features in self._features:
            point = cross_validated(
                matrix,
                taps,
                taps_of(features, taps),
                [labels[i] for i in places],
                [groups[i] for i in places],
                balanced=self._balanced,
                seed=self._context.seed,
                progress=self._context.show,
            )
            if point is not None:
                where = (*network.key, features, round(network.cost, 3), len(places))
                found.append(FrozenCandidate(*where, point.accuracy, point.log_loss))
        return found

    def _rows(self, network: Network, sample: Sequence[int]) -> tuple[Matrix, Taps, list[int]]:
        """Features of some training images, float32 [n, columns], their blocks, and the places of the readable ones."""
        if network.key == self._own:
            return self._dataset.matrix(TRAIN)[list(sample)], self._dataset.features.taps, list(sample)
        if network.key not in self.opened:
            self.opened[network.key] = network.open(self._start, self._context)
        paths = self._dataset.paths(TRAIN)
        found = stored_features([paths[i] for i in sample], self.opened[network.key], self._context)
        return in_memory(found.matrix), found.taps, [sample[i] for i in found.rows]
