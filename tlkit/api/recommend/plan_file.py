"""Plan files, which ``recommend --plan`` writes and ``train --plan`` follows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from tlkit.api.train.keywords import refuse_unknown
from tlkit.api.train.options import TrainOptions
from tlkit.backbones.catalog import is_file_name
from tlkit.bounded import read_json, why_not_json
from tlkit.errors import TlkitError
from tlkit.files import write_new
from tlkit.images.group_spec import split_table
from tlkit.jsontext import json_text
from tlkit.plan.choices import EARLY, LAST_LAYERS, WEIGHTS
from tlkit.plan.option import PLAN, RECIPE, declared
from tlkit.plan.plan import Plan

MAX_PLAN = 4 << 20  # bytes


def read_plan(path: str | Path) -> Plan:
    """Read a plan from its file, or from a bundle's ``plan.json``.

    Raises:
        TlkitError: It cannot be read or is not a plan.
    """
    hint = "tlkit recommend IMAGES --plan FILE writes one"
    try:
        found = read_json(Path(path), MAX_PLAN)
    except (OSError, ValueError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else why_not_json(error)
        raise TlkitError(f"cannot read the plan {path}: {reason}", hint) from None
    if not isinstance(found, dict):
        raise TlkitError(f"not a plan: {path}", hint)
    try:
        return Plan.from_json(found)
    except TlkitError as error:
        raise TlkitError(f"cannot use the plan {path}: {error.message}", error.hint or hint) from error


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan to a new file.

    Raises:
        TlkitError: The file exists or cannot be written.
    """
    write_new(path, json_text(plan.to_json(), indent=2) + "\n")


def request_of(plan: Plan, images: str | os.PathLike[str], given: Mapping[str, Any]) -> TrainOptions:
    """Make the options that follow a plan.

    Args:
        plan: The plan.
        images: The folder.
        given: Options besides the plan: those that it does not decide, and the location of its backbone, its
            weights file or the bundle it started from.

    Raises:
        TypeError: There is no such option.
        TlkitError: The plan decides an option that is given, or something it needs is missing.
    """
    options = declared(TrainOptions)
    refuse_unknown("train", given, options)
    allowed = besides_plan(plan, given)
    for name in given:
        if name not in allowed:
            raise TlkitError(f"{options[name].flag} is decided by --plan", "leave one of them out, or change the plan")
    values: dict[str, Any] = {
        **{name: getattr(plan, name) for name in shared_with_plan()},
        **({} if plan.strategy in (EARLY, LAST_LAYERS) else {"boundary": None}),
        "image_size": plan.input_size,
        "groups": groups_of_plan(plan, given),
        **_network(plan, given),
        **({"epochs": 0} if plan.head_only else {}),
    }
    return TrainOptions.make(images, **{**given, **values})


def besides_plan(plan: Plan, names: Iterable[str]) -> list[str]:
    """Return those of some options that can be given with a plan: it does not decide them, or needs a location."""
    options, located_by = declared(TrainOptions), _located_by(plan)
    located = [located_by, *(["groups"] if plan.groups is not None and split_table(plan.groups) else [])]
    return [name for name in names if name in located or not _is_decided(options[name].option.decided_by, plan)]


def _is_decided(by: str, plan: Plan) -> bool:
    return by == PLAN or (by == RECIPE and (plan.recipe is not None or plan.complete))


def _located_by(plan: Plan) -> str | None:
    """The option that locates the network of a plan; None: it is in the catalogue."""
    if plan.from_bundle is not None:
        return "from_bundle"
    if plan.backbone_file is not None:
        return "backbone"
    return None if plan.weights in WEIGHTS else "weights"


def _network(plan: Plan, given: Mapping[str, Any]) -> dict[str, Any]:
    """Backbone, weights and preprocessing, from their location.

    Raises:
        TlkitError: No option gives that place.
    """
    located_by = _located_by(plan)
    if located_by is None:
        return {"backbone": plan.backbone, "weights": plan.weights}
    if located_by == "from_bundle":
        if located_by not in given:
            raise TlkitError(f"the plan starts from the bundle {plan.from_bundle}", "give its location with --from")
        return {located_by: given[located_by]}
    if located_by == "weights":
        if located_by not in given:
            raise TlkitError(f"the plan starts from the weights {plan.weights}", "give their location with --weights")
        return {"backbone": plan.backbone, located_by: given[located_by]}
    file = given.get("backbone", plan.backbone_file)
    if not is_file_name(str(file)):
        raise TlkitError(
            f"the plan's backbone {plan.backbone} is a file, not '{file}'", "say with --backbone where it is"
        )
    if "backbone" not in given and not (Path(file).is_absolute() and Path(file).is_file()):
        raise TlkitError(
            f"the plan's backbone {plan.backbone} is missing: '{file}'", "give its location with --backbone"
        )
    return {"backbone": file, "preprocessing": plan.preprocessing}


def groups_of_plan(plan: Plan, given: Mapping[str, Any]) -> str | None:
    """How images are grouped; a table is where it was, or where ``given`` says.

    Raises:
        TlkitError: The table is missing.
    """
    table = None if plan.groups is None else split_table(plan.groups)
    if table is None:
        return plan.groups
    file, column = table
    if "groups" in given:
        named = split_table(str(given["groups"]))
        if named is None or named[1] != column:
            raise TlkitError(f"the plan groups images by '{column}' of a table", f"--groups FILE.csv:{column}")
        return str(given["groups"])
    if not (Path(file).is_absolute() and Path(file).is_file()):
        raise TlkitError(
            f"the plan groups images by the table {file}, which is missing here",
            f"give its location with --groups {Path(file).name}:{column}",
        )
    return plan.groups


def shared_with_plan() -> list[str]:
    """Return the options that a Plan has under the same name, except those that say where its network is."""
    network = ("backbone", "weights", "preprocessing", "from_bundle")
    names = {each.name for each in fields(Plan)}
    return [
        name
        for name, its in declared(TrainOptions).items()
        if its.option.decided_by == PLAN and name in names and name not in network
    ]
