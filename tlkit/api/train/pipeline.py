"""A training run, from the images found to the saved bundle."""

from __future__ import annotations

from tlkit.advisor.advise import LONGEST
from tlkit.api.train.decide import decide
from tlkit.api.train.finishing import finish
from tlkit.api.train.head import frozen_rival, solve
from tlkit.api.train.reading import open_backbone, read_dataset
from tlkit.api.train.result import TrainResult, result_of
from tlkit.api.train.run_dir import Place, RunDir, RunKeeper
from tlkit.api.train.stages import EVALUATION, HEAD, IMAGES, SAVING, TUNING, expect_rest
from tlkit.api.train.start import Start
from tlkit.api.train.trained import choose, frozen_network
from tlkit.api.train.usable import Saver
from tlkit.context import Context
from tlkit.images.folder import ImageFolder
from tlkit.plan.choices import AUTO


def run_pipeline(
    start: Start, folder: ImageFolder, place: Place, context: Context, resumed: RunDir | None = None
) -> TrainResult:
    """Train, and save a bundle: a frozen network at once, then a better one in its place.

    Args:
        start: The options, with backbone and weights found.
        folder: The images found.
        place: Where the bundle goes.
        context: Context of the run.
        resumed: The run to resume.
    """
    saver = Saver(folder, place, context)
    with RunKeeper(start.request, place, context, resumed).watching() as keeper:
        run = keeper.begin(start.plan, decided=start.planned)
        context.begin(IMAGES)
        extractor = open_backbone(start, context)
        dataset = read_dataset(start, folder, extractor, context)
        # nobody asked for a long training with "auto"
        allowed = context.ending_within(LONGEST) if start.request.strategy == AUTO else context
        saver.save_at_once(start, dataset, extractor, run)
        decided = decide(start, folder, dataset, extractor, context)
        plan, start, dataset, extractor = decided.plan, decided.start, decided.dataset, decided.extractor
        run = keeper.begin(plan, decided=True)
        expect_rest(plan, context)
        context.begin(HEAD)
        solved = solve(dataset, plan, context)
        if run is None:
            rival = solved
            trained = frozen_network(dataset, plan, solved)
        else:
            from tlkit.api.train.tuning import tune

            rival = frozen_rival(dataset, plan, solved, context)
            saver.save_before_tuning(plan, rival, start, dataset, extractor, run)
            context.begin(TUNING)
            tuned = tune(dataset, extractor, solved, plan, start.request, run, allowed)
            trained = choose(dataset, plan, solved, rival, tuned, context)
        context.begin(EVALUATION)
        trained = finish(trained, rival, dataset, extractor, context)
        context.clock.lap("training")
        context.begin(SAVING)
        finished, done = saver.save(trained, start, dataset, extractor, run)
        return result_of(finished, done, keeper.finish(trained.interrupted), context)
