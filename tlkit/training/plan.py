"""The Plan: everything that decides a training run, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

from tlkit.errors import TlkitError

STRATEGIES = ("freeze",)


@dataclass(frozen=True)
class Plan:
    """What will be done, and why.

    Attributes:
        backbone: Name in the catalogue.
        weights: "imagenet", "none" or the file they come from.
        strategy: One of `STRATEGIES`. "freeze" keeps every backbone weight and solves a softmax head on the
            pooled top features.
        input_size: Side of the square input in pixels.
        val_split: Share of each class kept out of training; unused where the folder has its own split.
        class_weights: "auto" or "none".
        seed: Of every random choice.
        reasons: Why these values, one sentence each.
    """

    backbone: str
    weights: str
    strategy: str
    input_size: int
    val_split: float
    class_weights: str
    seed: int
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dump``."""
        return {**asdict(self), "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """Rebuild what `to_json` gave.

        Raises:
            TlkitError: Fields are missing or unknown.
        """
        known = {field.name for field in fields(cls)}
        if set(data) != known:
            wrong = ", ".join(sorted(known ^ set(data)))
            raise TlkitError(f"not a plan of this version: {wrong}")
        return cls(**{**data, "reasons": tuple(data["reasons"])})


def check_strategy(name: str) -> str:
    """``name`` if it is a strategy.

    Raises:
        TlkitError: It is not; the hint names the nearest and all there are.
    """
    if name in STRATEGIES:
        return name
    near = get_close_matches(name.lower(), STRATEGIES, n=1)
    there = f"strategies of this version: {', '.join(STRATEGIES)}"
    raise TlkitError(f"unknown strategy '{name}'", f"did you mean '{near[0]}'? {there}" if near else there)
