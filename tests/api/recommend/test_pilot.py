"""Pilots look at training images alone, and leave nothing behind."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tlkit.advisor.advise import Advice, Candidate
from tlkit.advisor.expect import Expectation
from tlkit.advisor.pilot import Pilot
from tlkit.api.recommend import pilot as module
from tlkit.api.recommend.pilot import inner_dataset, is_worthwhile, run_pilot
from tlkit.api.train.dataset import Dataset, prepare, read_features
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.start import prepare_start
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.context import Context
from tlkit.images.folder import scan
from tlkit.progress import Advance, SilentProgress

Make = Callable[..., Path]


@pytest.fixture
def prepared(make_folder: Make) -> tuple[Dataset, Extractor]:
    root = make_folder({"train/a": 14, "train/b": 14, "val/a": 4, "val/b": 4, "test/a": 2, "test/b": 2})
    for number in (1, 2):
        copy = root / "train" / "a" / f"copy-{number}.png"
        copy.write_bytes((root / "train" / "a" / "0.png").read_bytes())
    folder, extractor = scan(root), open_extractor("efficientnet-lite0", input_size=32)
    found = read_features(folder, extractor, Context(), taps=[name for name, _ in extractor.taps])
    return prepare(folder, found, 0.2, 0, False), extractor


def test_nothing_but_training_images_and_copies_on_one_side(prepared: tuple[Dataset, Extractor]) -> None:
    data = prepared[0]
    inner = inner_dataset(data, 0)
    assert {file.split("/")[0] for file in inner.folder.files} == {"train"}
    assert len(inner.folder.files) == len(inner.rows) == len(inner.group_of) == 30
    assert inner.folder.counts("val") == {"a": 5, "b": 5}
    for index, file in enumerate(inner.folder.files):
        assert data.features.rows[inner.rows[index]] == data.features.rows[data.rows[data.folder.files.index(file)]]
    sides: dict[int, set[str]] = {}
    for group, split in zip(inner.group_of, inner.folder.splits, strict=True):
        sides.setdefault(group, set()).add(split)
    assert all(len(each) == 1 for each in sides.values())


def test_of_many_images_a_part_is_taken(prepared: tuple[Dataset, Extractor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRAINING", 12)
    assert len(inner_dataset(prepared[0], 0).folder.files) in (11, 12, 13)


def test_a_pilot_makes_a_few_steps(
    prepared: tuple[Dataset, Extractor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    request = TrainOptions(images=str(prepared[0].folder.root), image_size=32, learning_rate=1e-3)
    found = run_pilot(*prepared, prepare_start(request, Context()), False, Context())
    assert (found.images, found.steps) == (10, 40)
    assert found.error > 0
    assert found.frozen_accuracy >= 0.75  # the classes differ in tint
    assert 0 <= found.accuracy <= 1
    assert found.loss > 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_signal_ends_a_pilot_at_once(
    prepared: tuple[Dataset, Extractor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No state of it is worth waiting for."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as `tlkit.cli.signals` has it

    class Ended(SilentProgress):
        @contextmanager
        def phase(self, title: str, total: int | None) -> Iterator[Advance]:
            if title == "Pilot":
                os.kill(os.getpid(), signal.SIGTERM)
            yield lambda steps, status="": None

    request = TrainOptions(images=str(prepared[0].folder.root), image_size=32, learning_rate=1e-3)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_pilot(*prepared, prepare_start(request, Context()), False, Context(show=Ended()))
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert sorted(tmp_path.rglob("*")) == before


def test_shares_of_errors_are_never_infinite() -> None:
    assert Pilot(10, 5, 0.5, 1.0, 1.0, 0.0).log_share < -2
    assert Pilot(10, 5, 1.0, 0.0, 1.0, 0.0).log_share == 0


def test_a_gain_is_a_clear_fall_of_the_log_loss_without_many_more_errors() -> None:
    clear = Pilot(60, 50, 0.8, 0.6, 0.85, 0.5, error=0.04)
    assert clear.shows_gain
    assert not replace(clear, error=0.11).shows_gain  # within the noise
    assert not replace(clear, loss=0.58).shows_gain  # hardly lower
    assert replace(clear, accuracy=46 / 60).shows_gain  # as in choosing the network, the loss makes up for two mistakes
    assert not replace(clear, accuracy=45 / 60).shows_gain
    assert not replace(clear, images=10, accuracy=0.7).shows_gain


def test_what_was_judged_on_few_images_counts_less() -> None:
    gains = [Pilot(count, 5, 0.5, 1.0, 0.9, 0.5).gain for count in (10, 50, 250, 1000)]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > -0.4
    assert gains[-1] == pytest.approx(math.log(0.2), abs=0.06)


@pytest.mark.parametrize(
    ("limit", "seconds", "images", "worthwhile"),
    [
        (None, 100.0, 80, True),
        (None, 100.0, 40, False),
        (None, 1000.0, 80, False),
        (150.0, 100.0, 80, False),
        (300.0, 100.0, 80, True),
    ],
)
def test_there_is_a_pilot_where_it_may_say_something_in_time(
    limit: float | None, seconds: float, images: int, worthwhile: bool
) -> None:
    expected = Expectation(0.8, 0.7, 0.9)
    names = ("freeze", "early-layers", "last-layers", "fine-tune")
    candidates = tuple(Candidate(name, "last", expected, seconds, True) for name in names)
    advice = Advice("freeze", "last", None, "measured", candidates, (), (), "last-layers")
    assert is_worthwhile(advice, images, limit) == worthwhile
    assert not is_worthwhile(replace(advice, uncertain=None), images, limit)  # frozen is as good anyway
    clear = (replace(candidates[0], expected=Expectation(0.95, 0.9, 1.0)), *candidates[1:])
    assert not is_worthwhile(replace(advice, candidates=clear), images, limit)
