"""Which predictions a promise is made from: images that the network was not trained on, one of each group."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tlkit.api.train.held_out import HELD, Measured, measured
from tlkit.api.train.result import promised
from tlkit.context import Context


@dataclass
class Images:
    """As much of a dataset as is needed."""

    splits: list[str]
    group_of: list[int]
    grouping: Any = None
    folder: Any = field(init=False)

    def __post_init__(self) -> None:
        self.folder = SimpleNamespace(labels=[0] * len(self.splits))

    def of(self, split: str) -> list[int]:
        return [index for index, its in enumerate(self.splits) if its == split]

    def count(self, split: str) -> int:
        return self.splits.count(split)


def found_in(probabilities: dict[str, Any], images: Any, *, selected: bool = False) -> Measured:
    plan: Any = SimpleNamespace(seed=0)
    return measured(probabilities, images, plan, None, selected=selected, context=Context())


def rows(*sure: float) -> np.ndarray:
    return np.array([[each, 1 - each] for each in sure], np.float32)


def test_validation_and_test_images_count() -> None:
    images: Any = Images(["train", "val", "test", "val"], [0, 1, 2, 3])
    found = found_in({"val": rows(0.9, 0.2), "test": rows(0.7)}, images)
    assert found.held_out is not None
    assert found.source == HELD
    np.testing.assert_allclose(found.held_out.doubts, [0.1, 0.2, 0.3], atol=1e-6)
    assert found.held_out.right.tolist() == [True, False, True]


def test_images_that_selected_the_network_do_not_count() -> None:
    images: Any = Images(["val", "test"], [0, 1])
    found = found_in({"val": rows(0.9), "test": rows(0.7)}, images, selected=True)
    assert found.held_out is not None
    np.testing.assert_allclose(found.held_out.doubts, [0.3], atol=1e-6)
    alone: Any = Images(["val"], [0])
    none = found_in({"val": rows(0.9)}, alone, selected=True)
    assert none.held_out is None
    assert none.to_json() is None
    its: Any = SimpleNamespace(measured=none, ood=None)
    said = promised(its, ["a", "b"])
    assert said is not None
    assert said.line == (
        "no promise of precision: the validation images also selected the network; hold out test images with "
        "--test-split, or run tlkit evaluate --precision on new ones"
    )


def test_one_image_of_a_group_counts() -> None:
    """Ten copies of an image are one draw, not ten."""
    images: Any = Images(["val"] * 12, [7] * 10 + [8, 9])
    found = found_in({"val": rows(*[0.9] * 10, 0.8, 0.7)}, images)
    assert found.held_out is not None
    np.testing.assert_allclose(found.held_out.doubts, [0.1, 0.2, 0.3], atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "differs", "promises"), [(False, True, False), (True, True, True), (False, False, True)]
)
def test_groups_that_were_not_named_prevent_a_promise(asked: bool, differs: bool, promises: bool) -> None:
    """Held-out images of a site that is in training are easier than those of a new one."""
    images: Any = Images(["val"], [0], SimpleNamespace(asked=asked, differs=differs))
    found = found_in({"val": rows(0.9)}, images)
    assert (found.held_out is not None) == promises
    assert ("--groups" in found.why) != promises
