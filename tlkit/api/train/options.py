"""The options of ``train``, each declared once with its type, default, bounds, help text and group."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from tlkit.api.train.add_options import AddOptions
from tlkit.api.train.contradictions import refuse_contradictions
from tlkit.api.train.keywords import refuse_unknown
from tlkit.backbones import catalog
from tlkit.files import absolute
from tlkit.images.group_spec import KEYWORDS, group_spec
from tlkit.plan import choices
from tlkit.plan.choices import AUTO, FREEZE, MEASURED
from tlkit.plan.fields import record_of
from tlkit.plan.option import DATA, MACHINE, OUTPUT, PLAN, RECIPE, STRATEGY, TIME, TRAINING, declared, option
from tlkit.plan.values import count_of, milliseconds_of, seconds_of
from tlkit.schema import MAX_SIDE


def advised(default: Any, **said: Any) -> Any:
    """Declare an option that a plan decides and that ``recommend`` takes too."""
    return option(default, decided_by=PLAN, advisor=True, **said)


def of_recipe(default: Any, **said: Any) -> Any:
    """Declare an option of how weights are trained."""
    return option(default, group=TRAINING, decided_by=RECIPE, tuning=True, **said)


@dataclass(frozen=True)
class TrainOptions(AddOptions):
    """The options of ``train``. Make them with `TrainOptions.make`, which takes values as people write them.

    Example:
        >>> TrainOptions.make("photos", strategy="freeze").strategy
        'freeze'
    """

    images: str
    val_split: float = advised(
        0.2,
        help="Hold out this share of each class for validation, if the folder has no val/.",
        group=DATA,
        above=0,
        below=1,
    )
    test_split: float | None = advised(
        None,
        help="Hold out this share of each class for testing, never used in training.",
        group=DATA,
        at_least=0,
        below=1,
        if_none="a tenth from 300 images on, else none",
    )
    class_weights: str = advised(
        AUTO,
        help="Weight classes by inverse frequency; auto: if the largest has over twice as many images as the smallest.",
        group=DATA,
        choices=choices.CLASS_WEIGHTS,
    )
    drop_leaks: bool = advised(
        False,
        help="Leave out training images that have a copy, or others of their group (see --groups), in val/ or test/.",
        group=DATA,
    )
    groups: str | None = advised(
        None,
        help="Keep images of one site, patient, clip or day on one side of every split: folder (sub-folders of class "
        "folders), names (neighbouring file names), exif-date, exif-camera, FILE.csv:COLUMN, or a regular expression "
        "whose first group, in an image's path, names its group.",
        group=DATA,
        metavar="GROUPS",
        names=lambda: KEYWORDS,
        parse=group_spec,
        if_none="copies only",
    )

    strategy: str = option(
        AUTO,
        help="Choose how to train. auto: as the advisor recommends; freeze: keep the backbone, solve a new head; "
        "last-layers: also train its last stages; fine-tune: train all of it; early-layers: keep its first stages and "
        "train them.",
        group=STRATEGY,
        choices=(AUTO, *choices.STRATEGIES),
        decided_by=PLAN,
    )
    advisor: str = advised(
        MEASURED,
        help="With --strategy auto: decide by cross-validation (measured), or by dataset size and similarity (rule).",
        group=STRATEGY,
        choices=choices.ADVISORS,
    )
    pilot: bool = advised(
        True,
        help="With --strategy auto: if it is unclear whether fine-tuning helps, run a short trial.",
        group=STRATEGY,
        flags=("--pilot/--no-pilot",),
    )
    features: str | None = advised(
        None,
        help="Give the head the features of the last stage, or of all stages.",
        group=STRATEGY,
        choices=choices.FEATURES,
        if_none="measured; last if weights are trained",
    )
    boundary: str | None = option(
        None,
        help="Keep (early-layers) or leave frozen (last-layers) the stages up to this one, such as stage3.",
        group=STRATEGY,
        metavar="STAGE",
        if_none="measured",
        decided_by=PLAN,
    )
    backbone: str | None = advised(
        None,
        help="Start from this network of Keras Applications, from a .keras file of your own, or from the best of all "
        "those on this machine (auto).",
        group=STRATEGY,
        metavar="[NAME|FILE.keras|auto]",
        if_none=f"the best of those that come with tlkit; {choices.DEFAULT_BACKBONE} if weights are trained",
        names=lambda: (AUTO, *catalog.names()),
        path_if=catalog.is_file_name,
    )
    preprocessing: str | None = advised(
        None,
        help="With --backbone FILE.keras: scale pixels as the network expects them.",
        group=STRATEGY,
        choices=tuple(choices.PREPROCESSING),
        strict=False,
        if_none="what the file begins with",
    )
    max_params: float | None = advised(
        None,
        help="With --backbone auto: use at most this many parameters, such as 5M.",
        group=STRATEGY,
        above=0,
        metavar="N",
        parse=count_of,
    )
    max_latency: float | None = advised(
        None,
        help="Choose only among networks that take at most this many ms per image on one core.",
        group=STRATEGY,
        above=0,
        metavar="MS",
        parse=milliseconds_of,
        if_none=f"{choices.MAX_COST:g} times as long as {choices.DEFAULT_BACKBONE} takes",
    )
    weights: str = advised(
        choices.IMAGENET,
        help="Start from ImageNet's weights, from none (random), or from a weights file.",
        group=STRATEGY,
        choices=choices.WEIGHTS,
        also="FILE",
        path_if=lambda value: value not in choices.WEIGHTS,
        strict=False,
    )
    from_bundle: str | None = option(
        None,
        help="Start from this bundle's network.",
        group=STRATEGY,
        flags=("--from",),
        metavar="BUNDLE",
        is_path=True,
        decided_by=PLAN,
    )
    image_size: int | None = advised(
        None,
        help="Resize images to squares of this many pixels a side.",
        group=STRATEGY,
        at_least=1,
        at_most=MAX_SIDE,
        if_none="measured; the backbone's own if weights are trained",
    )

    time_budget: float | None = option(
        None,
        help="Finish within this time, such as 90s, 10m or 1.5h.",
        group=TIME,
        above=0,
        metavar="TIME",
        parse=seconds_of,
        advisor=True,
    )

    epochs: float | None = of_recipe(
        None,
        help="Train for this many epochs; 0 with early-layers: solve the head only.",
        at_least=0,
        if_none="by the number of images",
    )
    learning_rate: float | None = of_recipe(
        None, help="Train with this peak learning rate.", above=0, at_most=1, if_none="3e-4, then 1e-3 if it pays"
    )
    batch_size: int | None = option(
        None,
        help="Train with this batch size.",
        group=TRAINING,
        at_least=1,
        if_none="32",
        decided_by=RECIPE,
        tuning=True,
    )
    augment: str = of_recipe(AUTO, help="Augment training images this strongly.", choices=choices.AUGMENTS)
    mixed_precision: bool | None = of_recipe(
        None,
        help="Compute in bfloat16.",
        flags=("--mixed-precision/--no-mixed-precision",),
        if_none="on GPUs that support it",
    )
    seed: int = advised(
        0,
        help="Set the random seed: the same seed, machine and images give the same result.",
        group=TRAINING,
        at_least=0,
    )

    output: str | None = option(
        None,
        help="Write the bundle to this folder.",
        group=OUTPUT,
        flags=("--output", "-o"),
        metavar="DIR",
        is_path=True,
        if_none="<folder name>.tlkit, -2, -3",
    )
    overwrite: bool = option(False, help="Replace the bundle or unfinished run at --output.", group=OUTPUT)
    refit: bool = option(
        True,
        help="At the end, solve a frozen network's head once more on all images, held-out ones too, except your own "
        "test images.",
        group=TRAINING,
        flags=("--refit/--no-refit",),
        decided_by=PLAN,
    )
    report: bool = option(
        True, help="Write report.html into the bundle.", group=OUTPUT, flags=("--report/--no-report",)
    )
    tensorboard: str | None = option(
        None,
        help="Also write TensorBoard event files to this folder.",
        group=OUTPUT,
        metavar="DIR",
        is_path=True,
        tuning=True,
    )
    unknown_rate: float = option(
        choices.UNKNOWN_RATE,
        help="Let predict flag this share of images of known classes as unknown.",
        group=OUTPUT,
        at_least=0,
        at_most=choices.MAX_UNKNOWN_RATE,
        decided_by=PLAN,
    )

    engine: str = option(
        AUTO,
        help="Compute features with LiteRT or Keras; auto: LiteRT on a CPU, Keras on a GPU or where LiteRT is missing.",
        group=MACHINE,
        choices=choices.ENGINES,
        advisor=True,
    )
    workers: int | None = option(
        None,
        help="Use this many threads to read images, and cores to compute.",
        group=MACHINE,
        at_least=1,
        if_none="all",
        advisor=True,
    )

    @classmethod
    def make(cls, images: str | os.PathLike[str], **given: Any) -> TrainOptions:
        """Make options from values as people write them: paths as text or `Path`, times like "10m", counts like "5M".

        Raises:
            TypeError: There is no such option.
            TlkitError: A value is unknown or out of bounds, or options contradict each other.
        """
        refuse_unknown("train", given, declared(cls))
        options = declared(cls)
        made = cls(absolute(images), **{name: options[name].plain(value) for name, value in given.items()})
        made.check()
        return made

    @property
    def tunes(self) -> bool:
        """Whether backbone weights are trained; not known yet for "auto"."""
        return self.strategy != FREEZE and self.epochs != 0

    @property
    def names_tuning(self) -> bool:
        """Whether a strategy was named that trains weights."""
        return self.strategy not in (AUTO, FREEZE)

    def check(self) -> None:
        """Refuse invalid options, before any work.

        Raises:
            TlkitError: A value is unknown or out of bounds, or options contradict each other.
        """
        for name, its in declared(type(self)).items():
            its.check(getattr(self, name))
        refuse_contradictions(self)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dump``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrainOptions:
        """Rebuild options from `to_json`.

        Raises:
            TlkitError: Fields are missing or unknown, have another type, or are out of bounds.
        """
        made = record_of(cls, data, "set of options")
        for name, its in declared(cls).items():
            its.check(getattr(made, name))
        return made
