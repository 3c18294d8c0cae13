"""The head that every strategy starts from, on the features of a data set's training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit.api.train.dataset import Dataset
from tlkit.api.train.options import TrainOptions
from tlkit.images.folder import TRAIN
from tlkit.linear.taps import Choice, choose_taps, rows_of, widths_of
from tlkit.progress import Progress

if TYPE_CHECKING:
    from tlkit.linear.head import Head


def solve(data: Dataset, options: TrainOptions, balanced: bool, show: Progress) -> tuple[Choice, Head]:
    """What the head takes, and the head.

    Args:
        data: Images, split and features, of the taps that may be taken.
        options: The strategy with its features and boundary, and the seed.
        balanced: Weigh classes by the inverse of their share.
        show: Told what goes on.
    """
    from tlkit.linear.head import solve_head

    chosen = data.of(TRAIN)
    labels, groups = [data.folder.labels[i] for i in chosen], [data.groups[i] for i in chosen]
    matrix, taps = data.features.matrix[[data.rows[i] for i in chosen]], data.features.taps
    choice = choose_taps(
        matrix,
        taps,
        labels,
        groups,
        strategy=options.strategy,
        features=options.features,
        boundary=options.boundary,
        balanced=balanced,
        seed=options.seed,
        progress=show,
    )
    head = solve_head(
        rows_of(matrix, taps, choice.taps),
        labels,
        len(data.folder.classes),
        groups=groups,
        balanced=balanced,
        blocks=widths_of(taps, choice.taps),
        seed=options.seed,
        progress=show,
    )
    return choice, head
