"""``train --from BUNDLE --add``: solve the head of a bundle again, on the kept features of its images and new images.

The result is the head that a training on all images would give, if the split, the network and the features are those of
the bundle: the L2 strength is chosen again, and everything that is measured or saved with the head is made again. The
old images are not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlkit.api.places import places_of
from tlkit.api.recommend.plan_file import groups_of_plan
from tlkit.api.train.added import Added, join
from tlkit.api.train.dataset import Dataset, prepare, read_features
from tlkit.api.train.finished import Finished
from tlkit.api.train.finishing import finish
from tlkit.api.train.head import Solved, solve_on
from tlkit.api.train.metrics import data_reasons, frozen_probabilities, metrics_of
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.reading import report_copies, with_grouping
from tlkit.api.train.reserve import reserved
from tlkit.api.train.result import TrainResult, result_of
from tlkit.api.train.saving import save
from tlkit.api.train.stages import EVALUATION, HEAD, IMAGES, SAVING
from tlkit.api.train.start import Start, find_labelled
from tlkit.api.train.trained import Trained
from tlkit.backbones.extractor import Extractor
from tlkit.bundle.backbone import bundle_extractor
from tlkit.bundle.kept import Kept, read_kept
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.manifest import KEPT
from tlkit.bundle.save import SUFFIX
from tlkit.bundle.verify import bundle_plan, damaged
from tlkit.context import Context
from tlkit.errors import TlkitError
from tlkit.images.labelled import existing_images
from tlkit.linear.taps import Choice
from tlkit.plan.plan import Plan
from tlkit.plan.renames import read_renames
from tlkit.words import plural


@dataclass(frozen=True)
class _Old:
    """The bundle that images are added to: its images, its plan, and its network without the head."""

    bundle: Bundle
    kept: Kept
    plan: Plan
    extractor: Extractor
    taps: tuple[str, ...]


def add_images(request: TrainOptions, context: Context) -> TrainResult:
    """Solve the head of a bundle again, on its images and new ones, and save a new bundle.

    Args:
        request: The options, with ``add``.
        context: Context of the run.

    Raises:
        TlkitError: The bundle has no kept features, or the images, an option or the output folder cannot be used.
    """
    renames = {} if request.rename is None else read_renames(request.rename)
    bundle = load(request.from_bundle)
    kept, plan = read_kept(bundle, "--add"), bundle_plan(bundle.path)
    given = {} if request.groups is None else {"groups": request.groups}
    plan = replace(plan, groups=groups_of_plan(plan, given) or request.groups)
    request = replace(request, groups=plan.groups)
    images, name = existing_images(request.images), bundle.path.resolve().name.removesuffix(SUFFIX)
    context.stages.expect(IMAGES, HEAD, EVALUATION, SAVING)
    with reserved(images, request.output, request.overwrite, name) as place:
        context.begin(IMAGES)
        folder = find_labelled(request, context, adding=True)
        if places_of(folder).hold(place.target):
            hint = "choose another folder with --output"
            raise TlkitError(f"the bundle would lie among the images: {place.target}", hint)
        extractor, taps = bundle_extractor(bundle, engine=request.engine, progress=context.show)
        context.clock.lap("loading")
        old = _Old(bundle, _fitting(kept, bundle, extractor), plan, extractor, taps)
        start = Start(request, extractor.backbone, extractor.weights, plan, bundle.manifest["split"], planned=True)
        features = read_features(folder, extractor, context, taps=[tap for tap, _ in kept.taps])
        context.clock.lap("features")
        added = join(kept, bundle.classes, bundle.path.name, folder, features, renames)
        context.show.note(said_of(added, len(kept), bundle.path.name, tuned=plan.tunes))
        dataset = _dataset(added, start, context)
        context.begin(HEAD)
        trained = _solved(old, dataset, context)
        context.clock.lap("training")
        context.begin(SAVING)
        saved = replace(extractor, weights_hash=bundle.manifest["weights_sha256"])
        finished = Finished(trained, dataset, saved, start, added.folder, place, None, bundle.path.name, taps)
        done, target = save(finished, context)
        return result_of(replace(finished, place=replace(place, target=target)), done, None, context)


def _fitting(kept: Kept, bundle: Bundle, extractor: Extractor) -> Kept:
    """Return the kept images if their features are blocks of this network."""
    widths = dict(extractor.taps)
    if wrong := [name for name, width in kept.taps if widths.get(name) != width]:
        raise damaged(bundle.path, KEPT, f"{wrong[0][:40]} is no block of the bundle's network")
    order = [name for name, _ in extractor.taps]
    places = [order.index(name) for name, _ in kept.taps]
    if places != sorted(places):
        raise damaged(bundle.path, KEPT, "the blocks are not in the order of the bundle's network")
    return kept


def said_of(added: Added, kept: int, name: str, *, tuned: bool) -> str:
    """Return what is added to what, in a sentence."""
    parts = [f"{plural(added.new, 'new image')} and {plural(kept, 'kept image')} of {name}"]
    if added.known:
        parts.append(
            f"{plural(added.known, 'image')} that it has already {'is' if added.known == 1 else 'are'} not added"
        )
    if added.changed:
        parts.append(
            f"{plural(added.changed, 'kept image')} now {'has' if added.changed == 1 else 'have'} another class"
        )
    if tuned:
        parts.append("the trained weights stay as they are, only the head is solved again")
    return "; ".join(parts)


def _dataset(added: Added, start: Start, context: Context) -> Dataset:
    plan, classes = start.plan, added.folder.classes
    if len(classes) < 2:
        raise TlkitError(f"only one class ('{classes[0]}') is left", "a classifier needs at least two classes")
    with context.show.phase("Looking for copies", None):
        dataset = prepare(
            added.folder,
            added.features,
            plan.val_split,
            plan.seed,
            plan.drop_leaks,
            known=start.earlier_split,
            test_split=plan.test_split,
        )
    # the head is solved anew, so that no image has been seen by it
    dataset = dataset if plan.tunes else replace(dataset, seen=0)
    report_copies(dataset, context.show)
    # groups that nobody named are looked for in the files, and those of kept images are not there
    return with_grouping(dataset, plan.groups, context) if any(dataset.folder.groups) else dataset


def _solved(old: _Old, dataset: Dataset, context: Context) -> Trained:
    """Solve the head, and measure and calibrate it like one on a frozen network."""
    plan = replace(old.plan, taps=old.taps, reasons=(), expected=None, complete=False)
    plan = plan if not plan.tunes else replace(plan, refit=False)
    solved = solve_on(dataset, plan, Choice(old.taps, plan.boundary), context)
    plan = plan.because(*_reasons(old, solved, len(dataset.folder.files)), *data_reasons(dataset, plan))
    probabilities = frozen_probabilities(dataset, solved)
    trained = Trained(plan, solved.head, probabilities, metrics_of(dataset, probabilities))
    context.begin(EVALUATION)
    trained = finish(trained, solved, dataset, old.extractor, context)
    return replace(trained, plan=replace(trained.plan, taps=old.plan.taps))


def _reasons(old: _Old, solved: Solved, images: int) -> Sequence[str]:
    name = Path(old.bundle.path).name
    weights = f"the weights that {old.plan.strategy} trained" if old.plan.tunes else "the backbone's weights"
    return (
        f"images were added to {name}: {weights} are kept, and the head is solved again on {images} images",
        f"L2 strength 1/C with C = {solved.head.c:.3g}, "
        + ("the lowest log loss in cross-validation on the training images" if solved.head.search else "the default"),
    )
