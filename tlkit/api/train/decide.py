"""Complete the plan: the frozen network and the strategy, as given or as measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tlkit.advisor.frozen_choice import FrozenCandidate
from tlkit.api.recommend.frozen_search import Searched, search_frozen
from tlkit.api.train.dataset import Dataset
from tlkit.api.train.head import weighs_classes
from tlkit.api.train.metrics import data_reasons
from tlkit.api.train.stages import ADVICE
from tlkit.api.train.start import Start
from tlkit.backbones.extractor import Extractor
from tlkit.context import Context
from tlkit.images.folder import ImageFolder
from tlkit.plan.choices import AUTO, LAST_LAYERS
from tlkit.plan.plan import Plan


@dataclass(frozen=True, eq=False)
class Decided:
    """A decided plan, and what it is about.

    Attributes:
        plan: The plan.
        start: What training starts from, with the network chosen.
        extractor: The network.
        dataset: Images, split and features.
        compared: The frozen networks compared; empty if all was given.
    """

    plan: Plan
    start: Start
    extractor: Extractor
    dataset: Dataset
    compared: tuple[FrozenCandidate, ...] = ()


def decide(start: Start, folder: ImageFolder, dataset: Dataset, extractor: Extractor, context: Context) -> Decided:
    """Decide what is still open: the frozen network, then for "auto" the strategy, which is reported.

    Args:
        start: What training starts from.
        folder: The images found.
        dataset: Images, split, and features of the network of the start.
        extractor: That network.
        context: Context of the run.

    Raises:
        TlkitError: As for `search_frozen`.
    """
    found = search_frozen(start, folder, dataset, extractor, context)
    start, dataset, extractor = found.start, found.dataset, found.extractor
    plan = start.plan
    if plan.strategy == AUTO:
        plan = _advised(found, context)
    if plan.strategy == LAST_LAYERS and plan.boundary is None:
        from tlkit.api.train.network import last_layers_from

        plan = replace(plan, boundary=last_layers_from(extractor, context.show))
    partial_note = [extractor.partial_note] if extractor.partial_note else []
    plan = plan.because(*data_reasons(dataset, plan), *partial_note)
    return Decided(plan, start, extractor, dataset, found.compared)


def _advised(found: Searched, context: Context) -> Plan:
    from tlkit.api.recommend.measure import measure

    context.begin(ADVICE)
    start, dataset, plan = found.start, found.dataset, found.start.plan
    measured = measure(dataset, found.extractor, start, weighs_classes(plan, dataset), context, found.chosen)
    context.clock.lap("advice")
    context.show.note(f"strategy {measured.advice.strategy}: {measured.advice.reasons[0]}")
    return measured.follow(plan)
