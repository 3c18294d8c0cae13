"""Plans as files: what ``recommend --plan`` writes and ``train --plan`` carries out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlkit.api.train.keywords import refuse_unknown
from tlkit.api.train.options import TrainOptions
from tlkit.errors import TlkitError
from tlkit.files import write_new
from tlkit.jsontext import json_text
from tlkit.plan.choices import EARLY, LAST_LAYERS, WEIGHTS
from tlkit.plan.option import PLAN, RECIPE, declared
from tlkit.plan.plan import Plan


def read_plan(path: str | Path) -> Plan:
    """A plan from its file; also from a bundle's ``plan.json``.

    Raises:
        TlkitError: It cannot be read or is no plan.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise TlkitError(
            f"cannot read the plan {path}: {reason}", "tlkit recommend IMAGES --plan FILE writes one"
        ) from None
    if not isinstance(found, dict):
        raise TlkitError(f"no plan: {path}", "tlkit recommend IMAGES --plan FILE writes one")
    return Plan.from_json(found)


def write_plan(path: Path, plan: Plan) -> None:
    """Write a new file.

    Raises:
        TlkitError: It is there already, or cannot be written.
    """
    write_new(path, json_text(plan.to_json(), indent=2) + "\n")


def request_of(plan: Plan, images: str | os.PathLike[str], given: Mapping[str, Any]) -> TrainOptions:
    """The request that carries out a plan.

    Args:
        plan: What to do.
        images: The folder.
        given: Options beside it: those that it leaves open, and where a backbone, a weights file or the bundle it
            started from is now.

    Raises:
        TypeError: There is no such option.
        TlkitError: One is decided by the plan, or something it needs is not there.
    """
    options = declared(TrainOptions)
    refuse_unknown("train", given, options)
    whereabouts = _whereabouts(plan)
    decided = [name for name, its in options.items() if _is_decided(its.option.decided_by, plan)]
    for name in given:
        if name in decided and name != whereabouts:
            raise TlkitError(f"{options[name].flag} is decided by --plan", "leave one of them out, or change the plan")
    values: dict[str, Any] = {
        "strategy": plan.strategy,
        "features": plan.features,
        "boundary": plan.boundary if plan.strategy in (EARLY, LAST_LAYERS) else None,
        "image_size": plan.input_size,
        "val_split": plan.val_split,
        "test_split": plan.test_split,
        "class_weights": plan.class_weights,
        "drop_leaks": plan.drop_leaks,
        "unknown_rate": plan.unknown_rate,
        "seed": plan.seed,
        **_network(plan, given),
        **({"epochs": 0} if plan.head_only else {}),
    }
    return TrainOptions.make(images, **{**given, **values})


def _is_decided(by: str, plan: Plan) -> bool:
    return by == PLAN or (by == RECIPE and (plan.recipe is not None or plan.complete))


def _whereabouts(plan: Plan) -> str | None:
    """The option that says where the network of a plan is now; None: it is catalogued."""
    if plan.from_bundle is not None:
        return "from_bundle"
    if plan.backbone_file is not None:
        return "backbone"
    return None if plan.weights in WEIGHTS else "weights"


def _network(plan: Plan, given: Mapping[str, Any]) -> dict[str, Any]:
    """Backbone, weights and preprocessing, from where they are now.

    Raises:
        TlkitError: Nobody says where that is.
    """
    where = _whereabouts(plan)
    if where is None:
        return {"backbone": plan.backbone, "weights": plan.weights}
    if where == "from_bundle":
        if where not in given:
            raise TlkitError(f"the plan starts from the bundle {plan.from_bundle}", "say with --from where it is now")
        return {where: given[where]}
    if where == "weights":
        if where not in given:
            raise TlkitError(
                f"the plan starts from the weights {plan.weights}", "say with --weights where they are now"
            )
        return {"backbone": plan.backbone, where: given[where]}
    file = given.get("backbone", plan.backbone_file)
    if "backbone" not in given and not (Path(file).is_absolute() and Path(file).is_file()):
        raise TlkitError(
            f"the plan's backbone {plan.backbone} is not there: '{file}'", "say with --backbone where it is now"
        )
    return {"backbone": file, "preprocessing": plan.preprocessing}
