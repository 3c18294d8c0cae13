"""Plans as files: what ``recommend --plan`` writes and ``train --plan`` carries out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tlkit.backbones import catalog
from tlkit.backbones.weights.loading import IMAGENET, RANDOM
from tlkit.errors import TlkitError
from tlkit.plan.plan import EARLY, FREEZE, LAST_LAYERS, Plan
from tlkit.report.page import write


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
    write(path, json.dumps(plan.to_json(), indent=2) + "\n")


def options_of(plan: Plan, backbone: str = catalog.DEFAULT) -> dict[str, Any]:
    """What a plan decides, as arguments of `tlkit.api.train.options.TrainOptions`.

    Args:
        plan: What to do.
        backbone: Where a backbone of the user's own is now; the default: where the plan says.

    Raises:
        TlkitError: The plan's weights are a file, whose place it does not know; or a backbone is named, and the plan's
            is catalogued, or not named, and its file is not there.
    """
    if plan.backbone_file is not None and plan.weights == Path(plan.backbone_file).name:
        own = {
            "backbone": _own_file(plan.backbone, plan.backbone_file, backbone),
            "backbone_sha256": plan.backbone_sha256,
            "preprocessing": plan.preprocessing,
            "weights": IMAGENET,
        }
        return {**_decided(plan), **own}
    if backbone != catalog.DEFAULT:
        raise TlkitError("--backbone is decided by --plan", "leave one of them out, or change the plan")
    if plan.weights not in (IMAGENET, RANDOM):
        raise TlkitError(f"the plan starts from the weights {plan.weights}", "give them with --weights, and no --plan")
    return _decided(plan)


def _own_file(name: str, known: str, given: str) -> str:
    if given != catalog.DEFAULT:
        return given
    if not Path(known).is_absolute() or not Path(known).is_file():
        raise TlkitError(f"the plan's backbone {name} is not there: '{known}'", "say with --backbone where it is now")
    return known


def _decided(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {
        "strategy": plan.strategy,
        "features": plan.features,
        "boundary": plan.boundary if plan.strategy in (EARLY, LAST_LAYERS) else None,
        "backbone": plan.backbone,
        "weights": plan.weights,
        "image_size": plan.input_size,
        "val_split": plan.val_split,
        "test_split": plan.test_split,
        "class_weights": plan.class_weights,
        "seed": plan.seed,
        "expected": plan.expected,
        "advice": plan.reasons,
    }
    if plan.recipe is not None and plan.strategy != FREEZE:
        found |= {
            "learning_rate": plan.recipe.learning_rate,
            "batch_size": plan.recipe.batch_size,
            "augment": plan.recipe.augment,
        }
    return found
