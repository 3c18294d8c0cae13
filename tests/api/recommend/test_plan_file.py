"""Plans as files, and the requests that carry them out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tlkit.api.recommend.plan_file import read_plan, request_of, write_plan
from tlkit.errors import TlkitError
from tlkit.plan.plan import Flips, Plan
from tlkit.plan.recipe import make_recipe

PLAN = Plan(
    backbone="efficientnet-lite0",
    weights="imagenet",
    strategy="early-layers",
    input_size=128,
    val_split=0.3,
    class_weights="none",
    seed=5,
    boundary="stage4",
    reasons=("because",),
    expected=(0.9, 0.8, 0.95),
)
WITH_RECIPE = replace(PLAN, recipe=make_recipe(50, learning_rate=1e-3))


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        WITH_RECIPE,
        replace(PLAN, expected=None, reasons=()),
        replace(PLAN, flips=Flips(True, 40, 0.9, 0.8), drop_leaks=True, head_only=True, complete=True),
        replace(PLAN, from_bundle="b.tlkit", weights="b.tlkit", weights_sha256="12", unknown_rate=0.01),
    ],
)
def test_a_plan_survives_its_file(tmp_path: Path, plan: Plan) -> None:
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json") == plan


def test_a_plan_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text("mine")
    with pytest.raises(TlkitError, match="cannot write"):
        write_plan(file, PLAN)
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        '{"a": 1}',
        json.dumps({**PLAN.to_json(), "more": 1}),
        json.dumps({**PLAN.to_json(), "strategy": "auto"}),
        json.dumps({**PLAN.to_json(), "flips": {"harmless": True}}),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(TlkitError, match="plan"):
        read_plan(tmp_path / "plan.json")


def test_a_plan_decides_the_request() -> None:
    plan = replace(PLAN, drop_leaks=True, unknown_rate=0.2, test_split=0.0)
    request = request_of(plan, "x", {"workers": 1})
    assert (request.strategy, request.boundary, request.image_size) == ("early-layers", "stage4", 128)
    assert (request.val_split, request.class_weights, request.seed) == (0.3, "none", 5)
    assert (request.drop_leaks, request.unknown_rate, request.test_split) == (True, 0.2, 0.0)
    assert (request.learning_rate, request.workers) == (None, 1)
    assert request_of(replace(PLAN, head_only=True), "x", {}).epochs == 0


def test_a_boundary_goes_with_the_strategies_that_have_one() -> None:
    assert request_of(replace(PLAN, strategy="freeze"), "x", {}).boundary is None


@pytest.mark.parametrize(
    ("plan", "given", "flag"),
    [
        (PLAN, {"strategy": "freeze"}, "--strategy"),
        (PLAN, {"seed": 5}, "--seed"),
        (PLAN, {"backbone": "vgg16"}, "--backbone"),
        (PLAN, {"from_bundle": "b.tlkit"}, "--from"),
        (PLAN, {"drop_leaks": True}, "--drop-leaks"),
        (WITH_RECIPE, {"learning_rate": 1e-3}, "--learning-rate"),
        (WITH_RECIPE, {"epochs": 3}, "--epochs"),
        (replace(PLAN, strategy="freeze", complete=True), {"augment": "none"}, "--augment"),
    ],
)
def test_what_a_plan_decides_cannot_be_given_beside_it(plan: Plan, given: dict[str, Any], flag: str) -> None:
    with pytest.raises(TlkitError, match=f"{flag} is decided by --plan"):
        request_of(plan, "x", given)


def test_a_recipe_that_is_open_can_be_asked_for() -> None:
    assert request_of(PLAN, "x", {"learning_rate": 1e-4, "epochs": 2}).learning_rate == 1e-4


@pytest.mark.parametrize(
    ("plan", "option"),
    [
        (replace(PLAN, weights="mine.h5", weights_sha256="1"), "weights"),
        (replace(PLAN, weights="b.tlkit", from_bundle="b.tlkit"), "from_bundle"),
        (replace(PLAN, weights="net.keras", backbone_file="net.keras", preprocessing="tf"), "backbone"),
    ],
)
def test_where_the_network_is_now_must_be_said(plan: Plan, option: str, tmp_path: Path) -> None:
    flag = {"weights": "--weights", "from_bundle": "--from", "backbone": "--backbone"}[option]
    with pytest.raises(TlkitError) as caught:
        request_of(plan, "x", {})
    assert flag in str(caught.value.hint)
    there = tmp_path / "there.keras"
    assert getattr(request_of(plan, "x", {option: there}), option) == str(there)
