"""Options are declared once: bounds, choices, spellings and the command line follow from that."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tlkit
from tlkit.api.recommend.plan_file import shared_with_plan
from tlkit.api.train.options import TrainOptions
from tlkit.cli.declared import options
from tlkit.errors import TlkitError
from tlkit.plan.option import GROUPS, PLAN, declared

ALL = declared(TrainOptions)
OPEN = {"backbone", "boundary"}  # checked where the network is known


def refusal(**options: Any) -> TlkitError:
    with pytest.raises(TlkitError) as caught:
        TrainOptions.make("x", **options)
    return caught.value


def test_every_option_says_what_it_does_and_where_it_stands() -> None:
    assert len(ALL) == len(TrainOptions.__dataclass_fields__) - 1  # all but the images
    for its in ALL.values():
        assert its.option.group in GROUPS
        assert its.option.help.endswith(".")
        assert its.default is not None or its.option.if_none or its.kind in (float | None, str | None)


@pytest.mark.parametrize("name", [name for name, its in ALL.items() if its.option.choices and its.option.strict])
def test_a_choice_is_one_of_those_there_are(name: str) -> None:
    for choice in ALL[name].option.choices:
        assert getattr(TrainOptions("x", **{name: choice}), name) == choice
        ALL[name].check(choice)
    error = refusal(**{name: "nonsense"})
    assert error.message == f"unknown {ALL[name].flag} 'nonsense'"
    assert all(choice in str(error.hint) for choice in ALL[name].option.choices)
    near = ALL[name].option.choices[-1]
    assert f"did you mean '{near}'" in str(refusal(**{name: f"{near}s"}).hint)


BOUNDED = [name for name, its in ALL.items() if its.kind in (float, int, float | None, int | None)]


@pytest.mark.parametrize("name", [each for each in BOUNDED if each != "seed"])
@given(value=st.one_of(st.floats(-2, 2), st.sampled_from([float("nan"), float("inf"), -1.0, 0.0, 0.5, 1.0])))
def test_a_number_within_its_bounds_is_taken_and_no_other(name: str, value: float) -> None:
    its = ALL[name].option
    within = value == value and abs(value) != float("inf")
    within = within and (its.at_least is None or value >= its.at_least) and (its.above is None or value > its.above)
    within = within and (its.at_most is None or value <= its.at_most) and (its.below is None or value < its.below)
    if within:
        ALL[name].check(value)
        return
    with pytest.raises(TlkitError, match=f"^{ALL[name].flag} must be "):
        ALL[name].check(value)


@pytest.mark.parametrize("name", BOUNDED)
def test_every_number_is_bounded(name: str) -> None:
    with pytest.raises(TlkitError, match="must be"):
        ALL[name].check(-1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boundary": "stage3"}, "--boundary does not apply to --strategy auto"),
        ({"boundary": "stage3", "strategy": "fine-tune"}, "--boundary does not apply"),
        ({"val_split": 0.5, "test_split": 0.5}, "--test-split and --val-split must add up to less than 1"),
        ({"preprocessing": "tf"}, "--preprocessing requires --backbone FILE.keras"),
        ({"strategy": "fine-tune", "epochs": 0}, "--epochs 0 does not apply to --strategy fine-tune"),
        ({"strategy": "freeze", "mixed_precision": False}, "--mixed-precision requires a strategy that trains weights"),
        (
            {"strategy": "early-layers", "epochs": 0, "tensorboard": "t"},
            "--tensorboard requires a strategy that trains weights",
        ),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], message: str) -> None:
    assert message in refusal(**options).message


def test_values_may_be_written_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = TrainOptions.make(
        Path("images"), time_budget="1.5m", max_params="5M", max_latency="20", output=Path("out.tlkit"), weights="w.h5"
    )
    assert (made.time_budget, made.max_params, made.max_latency) == (90.0, 5e6, 20.0)
    assert (made.images, made.output) == (str(tmp_path / "images"), str(tmp_path / "out.tlkit"))
    assert made.weights == str(tmp_path / "w.h5")
    assert TrainOptions.make("x", time_budget=90).time_budget == 90
    assert TrainOptions.make("x", max_latency=20) == TrainOptions.make("x", max_latency="20ms")
    assert TrainOptions.make("x", backbone="net.keras").backbone == str(tmp_path / "net.keras")
    for wrong in ({"time_budget": "soon"}, {"max_params": "many"}, {"max_latency": "quick"}, {"time_budget": "0s"}):
        refusal(**wrong)


@pytest.mark.parametrize("text", ["5", "0.5", " 300 "])
def test_a_time_in_text_has_a_unit(text: str) -> None:
    """A number in Python stays seconds."""
    error, number = refusal(time_budget=text), text.strip()
    assert error.message == f"--time-budget requires a unit: '{text}' could be seconds, minutes or hours"
    assert error.hint == f"write {number}s, {number}m or {number}h"
    assert TrainOptions.make("x", time_budget=float(text)).time_budget == float(text)


def test_a_word_that_is_no_option_is_an_error_of_the_program() -> None:
    with pytest.raises(TypeError, match=r"train\(\) got an unexpected keyword argument 'epoch'"):
        tlkit.train("x", epoch=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'strategy'"):
        tlkit.recommend("x", strategy="freeze")


def test_options_survive_json() -> None:
    made = TrainOptions.make("x", strategy="fine-tune", epochs=2.5, time_budget="10m")
    assert TrainOptions.from_json(json.loads(json.dumps(made.to_json()))) == made
    with pytest.raises(TlkitError, match="set of options"):
        TrainOptions.from_json({"images": "x", "epoch": 3})


def test_the_command_line_and_the_functions_have_them_all() -> None:
    assert [each.name for each in options(TrainOptions)] == list(ALL)
    assert {each.name for each in options(TrainOptions, advisor=True)} < set(ALL)
    signature = inspect.signature(tlkit.train)
    assert [name for name in signature.parameters if name in ALL] == list(ALL)
    assert {"plan", "progress"} <= set(signature.parameters)
    for name, its in ALL.items():
        assert signature.parameters[name].default == its.default
        assert f"{name}: " in str(tlkit.train.__doc__)
    assert "pilot" in inspect.signature(tlkit.recommend).parameters
    assert "strategy" not in inspect.signature(tlkit.recommend).parameters


def test_what_a_plan_decides_and_holds_goes_both_ways_by_its_name() -> None:
    shared = set(shared_with_plan())
    assert {"strategy", "features", "boundary", "seed", "val_split", "drop_leaks", "unknown_rate"} <= shared
    assert shared.isdisjoint({"backbone", "weights", "preprocessing", "from_bundle", "epochs", "engine"})
    # the others that a plan decides are settled before it, or stand in it under another name
    decided = {name for name, its in ALL.items() if its.option.decided_by == PLAN}
    network = {"backbone", "weights", "preprocessing", "from_bundle", "image_size"}
    assert decided - shared - network == {"advisor", "pilot", "max_params", "max_latency"}
