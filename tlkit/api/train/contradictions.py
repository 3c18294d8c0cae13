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
    if not options.tunes:
        _refuse_tuning(options)


def _refuse_tuning(options: Any) -> None:
    for name, its in declared(type(options)).items():
        value = getattr(options, name)
        if its.option.tuning and value != its.default and not (name == "epochs" and value == 0):
            hint = "--strategy fine-tune, last-layers or early-layers"
            raise TlkitError(f"{its.flag} requires a strategy that trains weights", hint)
