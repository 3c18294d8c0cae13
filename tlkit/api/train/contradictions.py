"""Options of ``train`` that contradict each other."""

from __future__ import annotations

from typing import Any

from tlkit.backbones import catalog
from tlkit.errors import TlkitError
from tlkit.plan.choices import EARLY, FREEZE, LAST_LAYERS
from tlkit.plan.option import declared


def refuse_contradictions(options: Any) -> None:
    """Refuse options that contradict each other.

    Args:
        options: A `tlkit.api.train.options.TrainOptions`, whose module imports this one.

    Raises:
        TlkitError: Two of them do.
    """
    if options.boundary is not None and options.strategy not in (EARLY, LAST_LAYERS):
        raise TlkitError(
            f"--boundary does not apply to --strategy {options.strategy}", f"it requires {EARLY} or {LAST_LAYERS}"
        )
    if options.test_split is not None and options.test_split + options.val_split >= 1:
        raise TlkitError(
            f"--test-split and --val-split must add up to less than 1, not {options.test_split + options.val_split:g}",
            "--test-split 0 holds out no test images",
        )
    if options.preprocessing is not None and not (options.backbone and catalog.is_file_name(options.backbone)):
        raise TlkitError("--preprocessing requires --backbone FILE.keras", "leave it out")
    if options.epochs == 0 and options.strategy not in (FREEZE, EARLY):
        raise TlkitError(
            f"--epochs 0 does not apply to --strategy {options.strategy}", f"--strategy {FREEZE} solves the head only"
        )
    if options.add or options.rename is not None:
        _refuse_beside_add(options)
    elif not options.tunes:
        _refuse_tuning(options)


def _refuse_tuning(options: Any) -> None:
    for name, its in declared(type(options)).items():
        value = getattr(options, name)
        if its.option.tuning and value != its.default and not (name == "epochs" and value == 0):
            hint = "--strategy fine-tune, last-layers or early-layers"
            raise TlkitError(f"{its.flag} requires a strategy that trains weights", hint)


def _refuse_beside_add(options: Any) -> None:
    """Refuse what the bundle that images are added to has decided already."""
    if not options.add:
        raise TlkitError("--rename requires --add", "tlkit train IMAGES --from BUNDLE --add --rename old=new")
    if options.from_bundle is None:
        raise TlkitError("--add requires --from", "tlkit train IMAGES --from BUNDLE --add")
    for name, its in declared(type(options)).items():
        decided = its.option.decided_by or its.option.tuning or name in ("advisor", "pilot", "time_budget")
        if decided and name not in ("from_bundle", "groups") and getattr(options, name) != its.default:
            raise TlkitError(
                f"{its.flag} does not apply to --add", "leave it out: the head is solved as the bundle's plan says"
            )
