"""While a command works, it says at what: stages with true numbers, and no time in which no phase is open."""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tlkit
from tlkit.api.recommend import measure as measuring
from tlkit.progress import Advance, SilentProgress, ignore

Make = Callable[..., Path]
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 8, "augment": "none"}
MAX_BLANK = 0.12  # share of the time in which no phase may be open; it is 0.01 to 0.06, and was 0.14 to 0.21 before


class Watching(SilentProgress):
    """Keeps stages and phases, and the time in which no phase was open."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int | None]] = []
        self.phases: list[str] = []
        self.open: list[str] = []
        self.start = self.last = time.perf_counter()
        self.blank = 0.0

    def stage(self, title: str, number: int, total: int | None) -> None:
        assert not self.open, f"{title} begins within {self.open}"
        self.stages.append((title, number, total))

    @contextmanager
    def phase(self, title: str, total: int | None) -> Iterator[Advance]:
        assert not self.open, f"{title} is opened within {self.open}, and terminals show one"
        self.blank += time.perf_counter() - self.last
        self.phases.append(title)
        self.open.append(title)
        yield ignore
        self.open.pop()
        self.last = time.perf_counter()

    def share_blank(self) -> float:
        now = time.perf_counter()
        return (self.blank + now - self.last) / (now - self.start)


SLOW = (  # calls that take seconds with many images or a large network
    "tlkit.backbones.copies.confirmed_copies",
    "tlkit.linear.head._solver",
    "tlkit.api.train.ood.fit_ood",
    "tlkit.backbones.build.build_backbone",
    "tlkit.finetune.step.Trainer.__init__",
    "tlkit.finetune.step.Trainer.step",
    "tlkit.finetune.step.Trainer.logits",
    "tlkit.api.train.saving.save_bundle",
    "tlkit.api.evaluate.measure",
)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> tuple[Watching, set[str]]:
    """A reporter, and which slow calls were made; one that is made while no phase is open fails the test."""
    show, called = Watching(), set()

    def watched(name: str) -> Callable[..., Any]:
        *path, last = name.split(".")
        place: Any = functools.reduce(getattr, path[1:], tlkit)
        call = getattr(place, last)

        def during(*arguments: Any, **named: Any) -> Any:
            assert show.open, f"{name} is called while no phase is open, after {show.phases[-1:]}"
            called.add(name)
            return call(*arguments, **named)

        return during

    for name in SLOW:
        for end in range(2, name.count(".") + 1):
            with contextlib.suppress(ImportError):
                importlib.import_module(".".join(name.split(".")[:end]))
        monkeypatch.setattr(name, watched(name))
    return show, called


@pytest.fixture
def images(make_folder: Make) -> Path:
    return make_folder({"a": 30, "b": 30})


@pytest.mark.parametrize("strategy", ["last-layers", "fine-tune"])
def test_training_always_says_what_it_does(
    watch: tuple[Watching, set[str]], images: Path, small: Path, tmp_path: Path, strategy: str
) -> None:
    show, called = watch
    output = tmp_path / "m.tlkit"
    tlkit.train(images, strategy=strategy, backbone=str(small), output=output, time_budget="1h", progress=show, **QUICK)
    assert [number for _, number, _ in show.stages] == [1, 2, 3, 4, 5]
    assert {total for _, _, total in show.stages} == {5}
    assert called == {*SLOW} - {"tlkit.api.evaluate.measure"}
    assert show.share_blank() < MAX_BLANK
    show.start, show.blank = show.last, 0.0
    tlkit.evaluate(images, output, progress=show)
    assert "tlkit.api.evaluate.measure" in called


def test_a_head_alone_has_fewer_stages(
    watch: tuple[Watching, set[str]], images: Path, small: Path, tmp_path: Path
) -> None:
    show, _ = watch
    tlkit.train(images, strategy="freeze", backbone=str(small), output=tmp_path / "m.tlkit", progress=show)
    titles = ["Reading the images", "Comparing frozen networks", "Solving the head", "Evaluating", "Saving"]
    assert show.stages == [(title, number, 5) for number, title in enumerate(titles, 1)]


@pytest.mark.parametrize("strategy", ["freeze", "last-layers"])
def test_with_auto_the_total_is_told_once_the_strategy_is_chosen(
    images: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    advise = measuring.advise
    monkeypatch.setattr(measuring, "advise", lambda *a, **k: replace(advise(*a, **k), strategy=strategy))
    show = Watching()
    tlkit.train(images, backbone=str(small), output=tmp_path / "m.tlkit", progress=show, **QUICK)
    total = 6 if strategy == "freeze" else 7
    assert [number for _, number, _ in show.stages] == list(range(1, total + 1))
    assert [its for _, _, its in show.stages] == [None, None, None, *[total] * (total - 3)]
    assert show.stages[2][0] == "Choosing the strategy"


def test_recommending_and_checking_always_say_what_they_do(watch: tuple[Watching, set[str]], images: Path) -> None:
    show, called = watch
    tlkit.recommend(images, image_size=64, progress=show)
    titles = ["Reading the images", "Comparing frozen networks", "Choosing the strategy"]
    assert show.stages == [(title, number, 3) for number, title in enumerate(titles, 1)]
    show.stages.clear()
    tlkit.check(images, progress=show)
    assert show.stages == []
    assert {"tlkit.backbones.copies.confirmed_copies", "tlkit.linear.head._solver"} <= called
