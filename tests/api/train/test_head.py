"""Which features are held in memory for the heads of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tlkit.api.train.head import needed_taps
from tlkit.plan.plan import Plan
from tlkit.plan.recipe import Recipe

TAPS = tuple((name, 8) for name in ("stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "top"))
PLAN = Plan("a-net", "imagenet", "last-layers", 64, 0.2, "auto", 0, recipe=Recipe(10, 8, 1e-3))


@pytest.mark.parametrize(
    ("changes", "every"),
    [
        ({"frozen_features": "all"}, True),  # a resumed run once compared tuned weights with a poorer frozen head
        ({"features": "all"}, True),
        ({"strategy": "early-layers"}, True),
        ({"strategy": "auto"}, True),
        ({}, False),
        ({"strategy": "freeze", "frozen_features": "all"}, False),
    ],
)
def test_all_features_that_a_head_may_take_are_there(changes: dict[str, str], every: bool) -> None:
    found = needed_taps(replace(PLAN, **changes), TAPS)
    assert found[-1] == "top"
    assert (found == [name for name, _ in TAPS]) == every
