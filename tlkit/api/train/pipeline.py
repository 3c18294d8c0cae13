"""A training run, from the images found to the saved bundle."""

from __future__ import annotations

from tlkit.api.train.decide import decide, open_backbone, read_dataset
from tlkit.api.train.finished import Finished
from tlkit.api.train.finishing import calibrated, with_ood
from tlkit.api.train.head import frozen_rival, solve
from tlkit.api.train.metrics import instead_of_test
from tlkit.api.train.result import TrainResult, result_of
from tlkit.api.train.run_dir import Place, RunDir, RunKeeper
from tlkit.api.train.saving import save
from tlkit.api.train.stages import EVALUATION, HEAD, IMAGES, SAVING, TUNING, expect_rest
from tlkit.api.train.start import Start
from tlkit.api.train.trained import choose, frozen_network
from tlkit.context import Context
from tlkit.images.folder import ImageFolder


def run_pipeline(
    start: Start, folder: ImageFolder, place: Place, context: Context, resumed: RunDir | None = None
) -> TrainResult:
    """Train, and save a bundle.

    Args:
        start: The options, with backbone and weights found.
        folder: The images found.
        place: Where the bundle goes.
        context: Context of the run.
        resumed: The run to resume.
    """
    with RunKeeper(start.request, place, context, resumed).watching() as keeper:
        keeper.begin(start.plan)
        context.begin(IMAGES)
        extractor = open_backbone(start, context)
        dataset = read_dataset(start, folder, extractor, context)
        plan = decide(start, dataset, extractor, context)
        run = keeper.begin(plan)
        expect_rest(plan, context)
        context.begin(HEAD)
        solved = solve(dataset, plan, context)
        if run is None:
            rival = solved
            trained = frozen_network(dataset, plan, solved)
        else:
            from tlkit.api.train.tuning import tune

            context.begin(TUNING)
            tuned = tune(dataset, extractor, solved, plan, start.request, run, context)
            context.begin(EVALUATION)
            rival = frozen_rival(dataset, plan, solved, context)
            trained = choose(dataset, plan, solved, rival, tuned, context)
        context.begin(EVALUATION)
        repeated = instead_of_test(dataset, plan, rival, context)
        with context.show.phase("Calibrating", None):
            trained = with_ood(calibrated(trained, dataset, repeated), dataset, extractor)
        context.clock.lap("training")
        finished = Finished(trained, dataset, extractor, start, folder, place, run)
        context.begin(SAVING)
        done = save(finished, context)
        return result_of(finished, done, keeper.finish(trained.interrupted), context)
