"""Find the problems of a data set from the facts of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tlkit.images.checked import EXTREME, HUGE, MIN_PER_CLASS, TINY, Checked
from tlkit.images.duplicates import Pair, exact_copies, group_pairs, groups_of
from tlkit.images.facts import Facts
from tlkit.images.folder import TRAIN, ImageFolder
from tlkit.images.groups import divided_groups
from tlkit.images.layout import layout_problems
from tlkit.images.quality import BRIGHT_KIND, DARK_KIND, FLAT_KIND, SOFT_KIND, faults_of

__all__ = ["EXTREME", "HUGE", "MIN_PER_CLASS", "TINY", "Checked", "assess"]


def assess(folder: ImageFolder, facts: Sequence[Facts], copies: Sequence[Pair]) -> Checked:
    """Assess a data set.

    Args:
        folder: The images.
        facts: The facts of each file of ``folder``, in order.
        copies: Pairs of file indices that are copies of one image, exact or near.
    """
    files = folder.files
    readable = [index for index, fact in enumerate(facts) if fact.error is None]
    exact = exact_copies([fact.content for fact in facts])
    alike = groups_of(group_pairs(copies, len(files)))
    identical = {tuple(group) for group in exact}
    usable = folder.keep(readable)
    training = usable.counts(TRAIN if folder.has_splits else None)

    def named(groups: Sequence[Sequence[int]]) -> list[list[str]]:
        return [[files[index] for index in group] for group in groups]

    def matching(test: Any) -> list[str]:
        return [files[index] for index in readable if test(facts[index])]

    faults = faults_of([fact.quality for fact in facts])

    def with_fault(kind: str) -> list[str]:
        return [file for file, its in zip(files, faults, strict=True) if its == kind]

    return Checked(
        images=len(files),
        classes=folder.counts(),
        unreadable=[
            *((file, fact.error) for file, fact in zip(files, facts, strict=True) if fact.error is not None),
            *folder.unreadable,
        ],
        wrong_extension=[(files[i], facts[i].format) for i in readable if not facts[i].fits_suffix],
        duplicates=named(exact),
        near_duplicates=named([group for group in alike if tuple(group) not in identical]),
        conflicts=named([group for group in alike if len({folder.labels[i] for i in group}) > 1]),
        leaks=named([group for group in alike if len({folder.splits[i] for i in group}) > 1]),
        group_leaks=list(divided_groups(folder)),
        blank=matching(lambda fact: fact.blank),
        tiny=matching(lambda fact: min(fact.width, fact.height) < TINY),
        huge=matching(lambda fact: fact.width * fact.height > HUGE),
        extreme=matching(lambda fact: max(fact.width, fact.height) > EXTREME * min(fact.width, fact.height)),
        imbalance=max(1, *training.values()) / max(1, min(training.values(), default=1)),
        small_classes={name: count for name, count in training.items() if count < MIN_PER_CLASS},
        layout=layout_problems(folder),
        unusable=[(each.file, each.reason) for each in folder.dropped],
        root=folder.root,
        dark=with_fault(DARK_KIND),
        overexposed=with_fault(BRIGHT_KIND),
        low_information=with_fault(FLAT_KIND),
        blurry=with_fault(SOFT_KIND),
        modes=dict(Counter(facts[i].mode for i in readable).most_common()),
    )
