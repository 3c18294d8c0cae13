"""The options of ``train`` for images that are added later, part of `TrainOptions`."""

from __future__ import annotations

from dataclasses import dataclass

from tlkit.api.table_options import TableOptions
from tlkit.plan.option import OUTPUT, STRATEGY, option
from tlkit.plan.renames import is_rename_file


@dataclass(frozen=True, kw_only=True)
class AddOptions(TableOptions):
    """What is kept for images that are added later, and whether images are added."""

    add: bool = option(
        False,
        help="Add IMAGES to those of the bundle given by --from, and solve its head again; the old images are not "
        "needed.",
        group=STRATEGY,
    )
    rename: str | None = option(
        None,
        help="With --add: rename or merge classes, such as old=new or old=new,other=new; or a CSV or JSON file of old "
        "and new names.",
        group=STRATEGY,
        metavar="OLD=NEW|FILE",
        path_if=is_rename_file,
    )
    keep_features: bool = option(
        False,
        help="Keep the features of all images in the bundle, some 3 kB an image, for --add and suggest.",
        group=OUTPUT,
    )

    @property
    def keeps_features(self) -> bool:
        """Whether the bundle keeps the features of its images; one that images were added to always does."""
        return self.keep_features or self.add
