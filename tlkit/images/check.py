"""Find the problems of a data set from the facts of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tlkit.images.duplicates import Pair, exact_copies, group_pairs, groups_of
from tlkit.images.facts import Facts
from tlkit.images.folder import IMBALANCE, TRAIN, ImageFolder
from tlkit.images.grouping import Grouping
from tlkit.images.groups import divided_groups
from tlkit.images.layout import layout_problems
from tlkit.images.layout_faults import LayoutProblem
