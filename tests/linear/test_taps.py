"""Which stages the head takes its features from."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.errors import TlkitError
from tlkit.linear.head import best_grid_point, solve_head
from tlkit.linear.taps import Choice, check_boundary, choose_taps, early_stages, rows_of
from tlkit.plan.plan import Plan
from tlkit.progress import SilentProgress

TAPS = (("stage1", 2), ("stage2", 3), ("stage3", 3), ("stage4", 2), ("stage5", 2), ("top", 4))
LABELS = [0, 1, 2] * 30


def matrix(telling: str) -> np.ndarray:
    """Noise, but for one stage whose columns tell the classes."""
    rng = np.random.default_rng(0)
    blocks = []
    for name, width in TAPS:
        block = rng.normal(size=(len(LABELS), width))
        if name == telling:
            block[:, 0] += 6 * np.asarray(LABELS)
        blocks.append(block)
    return np.concatenate(blocks, axis=1).astype(np.float32)


def choose(telling: str = "stage3", **options: object) -> Choice:
    given = {"strategy": "early-layers", "features": "last", "boundary": None, **options}
    labels = given.pop("labels", LABELS)
    rows = matrix(telling)[: len(labels)]  # type: ignore[arg-type]
    groups = list(range(len(labels)))  # type: ignore[arg-type]
    return choose_taps(
        rows,
        TAPS,
        labels,
        groups,
        Plan("b", "imagenet", input_size=32, val_split=0.2, class_weights="none", seed=0, **given),  # type: ignore[arg-type]
        balanced=False,
        progress=SilentProgress(),
    )


@pytest.mark.parametrize("telling", ["stage2", "stage3", "stage4"])
def test_the_stage_that_tells_the_classes_is_found(telling: str) -> None:
    choice = choose(telling)
    assert choice.boundary == telling
    assert choice.taps == (telling,)
    losses = {stage: loss for stage, loss, _ in choice.measured}
    assert set(losses) == set(early_stages(TAPS)) == {"stage2", "stage3", "stage4"}
    assert losses[telling] == min(losses.values())


def test_several_stages_together() -> None:
    choice = choose(features="all")
    assert choice.taps[-1] == choice.boundary
    assert choice.taps == ("stage1", "stage2", "stage3", "stage4")[: len(choice.taps)]
    assert "stage3" in choice.taps


def test_a_boundary_that_was_given_is_taken_unmeasured() -> None:
    assert choose(boundary="stage1") == Choice(("stage1",), "stage1")
    assert choose(boundary="stage5", features="all").taps == ("stage1", "stage2", "stage3", "stage4", "stage5")


def test_freeze_takes_the_top_or_everything() -> None:
    assert choose(strategy="freeze") == Choice(("top",), None)
    assert choose(strategy="freeze", features="all").taps == tuple(name for name, _ in TAPS)


def test_without_folds_the_middle_is_taken() -> None:
    choice = choose(labels=[0, 1, 2])
    assert choice.boundary == early_stages(TAPS)[-1]
    assert choice.measured == ()


@pytest.mark.parametrize("count", range(2, 9))
def test_there_is_always_an_early_stage_and_never_the_top(count: int) -> None:
    """Also of networks with two stages, such as NASNet's."""
    taps = (*((f"stage{number}", 4) for number in range(1, count)), ("top", 8))
    stages = early_stages(taps)
    assert stages
    assert "top" not in stages


def test_what_cannot_be_a_boundary_is_said() -> None:
    check_boundary(None, "freeze")
    check_boundary("stage3", "early-layers", TAPS)
    with pytest.raises(TlkitError, match="--boundary does not apply to --strategy freeze"):
        check_boundary("stage3", "freeze")
    with pytest.raises(TlkitError, match="no stage 'stage9'") as caught:
        check_boundary("stage9", "early-layers", TAPS)
    assert caught.value.hint == "one of stage1, stage2, stage3, stage4, stage5"
    with pytest.raises(TlkitError, match="no stage 'top'"):
        check_boundary("top", "early-layers", TAPS)


def test_the_measure_is_that_of_the_head() -> None:
    rows = rows_of(matrix("stage3"), TAPS, ["stage3", "top"])
    assert rows.shape == (90, 7)
    point = best_grid_point(rows, LABELS, seed=3)
    head = solve_head(rows, LABELS, 3, seed=3)
    assert point == min(head.search, key=lambda each: each.log_loss)
