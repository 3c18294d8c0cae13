"""The Plan: everything that decides a training run, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

from tlkit.errors import TlkitError
from tlkit.plan.fields import checked
from tlkit.plan.recipe import Recipe

AUTO = "auto"  # whatever the advisor says
FREEZE, LAST_LAYERS, FINE_TUNE, EARLY = "freeze", "last-layers", "fine-tune", "early-layers"
STRATEGIES = (FREEZE, LAST_LAYERS, FINE_TUNE, EARLY)
LAST, ALL = "last", "all"
FEATURES = (LAST, ALL)


@dataclass(frozen=True)
class Plan:
    """What will be done, and why.

    Attributes:
        backbone: Name in the catalogue, or of the user's own one.
        weights: "imagenet", "none" or the file they come from.
        strategy: One of `STRATEGIES`. "freeze" keeps every backbone weight and solves a softmax head on the
            pooled features. "last-layers" starts from that and trains the stages above ``boundary`` too, "fine-tune"
            all of them. "early-layers" keeps the stages up to ``boundary`` alone, drops the later layers, and trains
            what is kept.
        input_size: Side of the square input in pixels.
        val_split: Share of each class kept out of training; unused where the folder has its own split.
        test_split: Share kept as test images where the folder has none of its own; None: by their number.
        class_weights: "auto" or "none".
        seed: Of every random choice.
        features: "last": the head takes the pooled output of the last stage kept; "all": those of all stages kept.
        boundary: With "early-layers", the last stage kept; with "last-layers", the last one that stays as it is.
        taps: Names of the pooled blocks that the head takes, from input to output.
        recipe: How weights were tuned; None: they were not.
        reasons: Why these values, one sentence each.
        expected: Accuracy that the advisor expects, 0..1, and the ends of its 90% interval; None: it was not asked.
        backbone_file: Of a backbone that is the user's own, the ``.keras`` file; in a bundle its name alone.
        backbone_sha256: Its SHA-256 in hex.
        preprocessing: What is done to RGB 0..255 ahead of it.
    """

    backbone: str
    weights: str
    strategy: str
    input_size: int
    val_split: float
    class_weights: str
    seed: int
    features: str = LAST
    boundary: str | None = None
    taps: tuple[str, ...] = ("top",)
    recipe: Recipe | None = None
    reasons: tuple[str, ...] = ()
    expected: tuple[float, float, float] | None = None
    test_split: float | None = None
    backbone_file: str | None = None
    backbone_sha256: str | None = None
    preprocessing: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dump``."""
        expected = None if self.expected is None else list(self.expected)
        return {**asdict(self), "taps": list(self.taps), "reasons": list(self.reasons), "expected": expected}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """Rebuild what `to_json` gave.

        Raises:
            TlkitError: Fields are missing or unknown.
        """
        checked(cls, data, "plan")
        names = ("taps", "reasons", "expected")
        lists: dict[str, Any] = {name: tuple(data[name]) for name in names if data.get(name) is not None}
        recipe = Recipe.from_json(data["recipe"]) if data.get("recipe") else None
        return cls(**(data | lists | {"recipe": recipe}))


def check_features(name: str) -> str:
    """``name`` if it says which features a head takes.

    Raises:
        TlkitError: It does not.
    """
    if name not in FEATURES:
        raise TlkitError(f"unknown --features '{name}'", f"one of {', '.join(FEATURES)}")
    return name


def check_strategy(name: str) -> str:
    """``name`` if it is a strategy, or "auto".

    Raises:
        TlkitError: It is not; the hint names the nearest and all there are.
    """
    if name in (AUTO, *STRATEGIES):
        return name
    near = get_close_matches(name.lower(), (AUTO, *STRATEGIES), n=1)
    there = f"one of {', '.join((AUTO, *STRATEGIES))}"
    raise TlkitError(f"unknown strategy '{name}'", f"did you mean '{near[0]}'? {there}" if near else there)
