"""Stages of a command: what their numbers say is true, and they only rise."""

from __future__ import annotations

from tlkit.progress import SilentProgress, Stages

Told = list[tuple[str, int, int | None]]


class Watching(SilentProgress):
    """Keeps the stages."""

    def __init__(self) -> None:
        self.told: Told = []

    def stage(self, title: str, number: int, total: int | None) -> None:
        self.told.append((title, number, total))


def begun(stages: Stages, *titles: str) -> Told:
    show = Watching()
    for title in titles:
        stages.begin(title, show)
    return show.told


def test_stages_are_numbered_in_order() -> None:
    stages = Stages()
    stages.expect("read", "solve", "save")
    assert begun(stages, "read", "solve", "save") == [("read", 1, 3), ("solve", 2, 3), ("save", 3, 3)]


def test_the_total_is_told_once_it_is_certain() -> None:
    stages = Stages()
    stages.expect("read", "advise", "solve", "tune", "save", certain=False)
    assert begun(stages, "read", "advise") == [("read", 1, None), ("advise", 2, None)]
    stages.expect("solve", "save")
    assert begun(stages, "solve", "save") == [("solve", 3, 4), ("save", 4, 4)]


def test_a_stage_that_is_left_out_counts_as_done() -> None:
    stages = Stages()
    stages.expect("read", "tune", "save")
    assert begun(stages, "read", "save") == [("read", 1, 3), ("save", 3, 3)]


def test_a_stage_begins_once_and_one_that_nobody_expected_comes_next() -> None:
    stages = Stages()
    stages.expect("read", "save")
    assert begun(stages, "read", "read", "more", "save") == [("read", 1, 2), ("more", 2, 3), ("save", 3, 3)]
    assert begun(Stages(), "alone") == [("alone", 1, None)]
