"""Save a usable bundle early, before the work that may improve it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tlkit.api.recommend.networks import may_choose_network
from tlkit.api.train.dataset import Dataset
from tlkit.api.train.finished import Finished
from tlkit.api.train.finishing import finish
from tlkit.api.train.head import Solved, rival_plan, solve
from tlkit.api.train.run_dir import Place, RunDir
from tlkit.api.train.saving import save
from tlkit.api.train.start import Start
from tlkit.api.train.trained import Trained, frozen_network
from tlkit.backbones.extractor import Extractor
from tlkit.context import Context
from tlkit.images.folder import VAL, ImageFolder
from tlkit.plan.choices import AUTO, LAST
from tlkit.plan.plan import Plan
from tlkit.words import plural

ENOUGH = 30.0  # seconds that must be left of a time limit


@dataclass
class Saver:
    """Saves the bundle of a run, as often as there is a better network.

    Attributes:
        folder: The images found.
        place: Where the bundle goes.
        context: Context of the run.
        saved: The plan of the network in the bundle; None: there is no bundle yet.
        run: The run that is named in it, if any.
    """

    folder: ImageFolder
    place: Place
    context: Context
    saved: Plan | None = None
    run: RunDir | None = None
    _identity: tuple[int, int] | None = None  # of the bundle's folder, as the system numbers it

    def save(
        self, trained: Trained, start: Start, dataset: Dataset, extractor: Extractor, run: RunDir | None
    ) -> tuple[Finished, Plan]:
        """Write the bundle, in place of an earlier one of this run, unless something else lies there by now."""
        place = self.place
        if self._identity is not None:
            place = replace(place, overwrite=place.overwrite or self._identity == _identity(place.target))
        finished = Finished(trained, dataset, extractor, start, self.folder, place, run)
        (self.saved, target), self.run = save(finished, self.context), run
        self.place = replace(self.place, target=target)
        self._identity = _identity(target)
        return replace(finished, place=self.place), self.saved

    def save_at_once(self, start: Start, dataset: Dataset, extractor: Extractor, run: RunDir | None) -> None:
        """Save a frozen network as soon as there are features, if more is to come; not when resuming a run."""
        plan = start.plan
        more = plan.strategy == AUTO or plan.tunes or may_choose_network(start)
        left = self.context.left()
        if not more or start.planned or (left is not None and left < ENOUGH):
            return
        first = replace(rival_plan(plan), features=start.request.features or LAST)
        self._save_frozen(first, start, dataset, extractor, run, "")

    def save_before_tuning(
        self, plan: Plan, rival: Solved, start: Start, dataset: Dataset, extractor: Extractor, run: RunDir
    ) -> None:
        """Save the best frozen network before weights are trained; not when resuming a run."""
        left = self.context.left()
        if run.resumed or (left is not None and left < ENOUGH) or (self.run is run and self._is_saved(plan, rival)):
            return
        more = ""
        if plan.expected is not None:
            accuracy, low, high = plan.expected
            more = f"; {plan.strategy} may reach {accuracy:.0%} ({low:.0%} to {high:.0%}); Ctrl-C keeps the best"
        self._save_frozen(rival_plan(plan), start, dataset, extractor, run, more, rival)

    def _is_saved(self, plan: Plan, rival: Solved) -> bool:
        """Whether the bundle holds this frozen network already."""
        its = self.saved
        network = (plan.backbone, plan.input_size, rival.choice.taps)
        return its is not None and (its.backbone, its.input_size, its.taps) == network

    def _save_frozen(
        self,
        plan: Plan,
        start: Start,
        dataset: Dataset,
        extractor: Extractor,
        run: RunDir | None,
        more: str,
        solved: Solved | None = None,
    ) -> None:
        solved = solved or solve(dataset, plan, self.context)
        trained = finish(frozen_network(dataset, plan, solved), solved, dataset, extractor, self.context)
        self.save(trained, start, dataset, extractor, run)
        accuracy, (low, high) = trained.metrics["val_accuracy"], trained.metrics["val_accuracy_ci95"]
        images = plural(dataset.count(VAL), "validation image")
        self.context.show.note(
            f"usable now: {self.place.target.name}, accuracy {accuracy:.0%} ({low:.0%} to {high:.0%}, {images}){more}"
        )


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another that lies at the same place later; None: there is none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
