"""The Plan: everything that was decided about a training run, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from tlkit.plan.choices import CLASS_WEIGHTS, FEATURES, FREEZE, LAST, STRATEGIES, UNKNOWN_RATE
from tlkit.plan.fields import checked
from tlkit.plan.option import unknown_choice
from tlkit.plan.recipe import Recipe


@dataclass(frozen=True)
class Flips:
    """What mirroring does to the answers of probes.

    Attributes:
        harmless: Whether images may be mirrored.
        images: How many were looked at; 0: too few, so nothing was measured.
        plain: Accuracy on the plain images, 0..1.
        mirrored: Accuracy on the same images, mirrored.
    """

    harmless: bool
    images: int
    plain: float
    mirrored: float


@dataclass(frozen=True)
class Plan:
    """What is done, and why. A complete plan, as a bundle holds it, does exactly the same again.

    Attributes:
        backbone: Name in the catalogue, or of the user's own one.
        weights: "imagenet", "none", or the name of the file or bundle they come from.
        strategy: One of `STRATEGIES`. "freeze" keeps every backbone weight and solves a softmax head on the
            pooled features. "last-layers" starts from that and trains the stages above ``boundary`` too, "fine-tune"
            all of them. "early-layers" keeps the stages up to ``boundary`` alone, drops the later layers, and trains
            what is kept.
        input_size: Side of the square input in pixels.
        val_split: Share of each class kept out of training; unused where the folder has its own split.
        class_weights: "auto" or "none".
        seed: Of every random choice.
        features: "last": the head takes the pooled output of the last stage kept; "all": those of all stages kept.
        boundary: With "early-layers", the last stage kept; with "last-layers", the last one that stays as it is.
        taps: Names of the pooled blocks that the head takes, from input to output.
        recipe: How weights were tuned; None: they were not, or that is not decided yet.
        reasons: Why these values, one sentence each.
        expected: Accuracy that the advisor predicted, 0..1, and the ends of its 90% interval; None: it was not asked.
        test_split: Share kept as test images where the folder has none of its own; None: by their number.
        backbone_file: Of a backbone that is the user's own, the ``.keras`` file; in a bundle its name alone.
        backbone_sha256: Its SHA-256 in hex.
        preprocessing: What is done to RGB 0..255 ahead of it.
        from_bundle: Name of the bundle whose network it started from; None: none.
        weights_sha256: Of the weights where they come from a file or a bundle, in hex.
        drop_leaks: Whether training images with a copy in the folder's own val/ or test/ were left out.
        unknown_rate: Share of images of known classes that `predict` may call unknown, 0..0.5.
        head_only: Whether the head alone was solved, although the strategy can train weights.
        flips: What mirroring does; None: nobody looked.
        complete: Whether nothing is left to be decided: the plan was carried out.
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
    from_bundle: str | None = None
    weights_sha256: str | None = None
    drop_leaks: bool = False
    unknown_rate: float = UNKNOWN_RATE
    head_only: bool = False
    flips: Flips | None = None
    complete: bool = False

    @property
    def tunes(self) -> bool:
        """Whether weights are trained, beyond the head that is solved."""
        return self.strategy != FREEZE and not self.head_only

    def because(self, *reasons: str) -> Plan:
        """The plan with more reasons; a complete one keeps those it was made with."""
        return self if self.complete else replace(self, reasons=(*self.reasons, *reasons))

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dump``."""
        expected = None if self.expected is None else list(self.expected)
        return {**asdict(self), "taps": list(self.taps), "reasons": list(self.reasons), "expected": expected}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """Rebuild what `to_json` gave.

        Raises:
            TlkitError: Fields are missing or unknown, or a name is.
        """
        checked(cls, data, "plan")
        for name, choices in (("strategy", STRATEGIES), ("features", FEATURES), ("class_weights", CLASS_WEIGHTS)):
            if name in data and data[name] not in choices:
                raise unknown_choice(f"{name} in the plan:", str(data[name]), choices)
        names = ("taps", "reasons", "expected")
        lists: dict[str, Any] = {name: tuple(data[name]) for name in names if data.get(name) is not None}
        recipe = Recipe.from_json(data["recipe"]) if data.get("recipe") else None
        flips = Flips(**checked(Flips, data["flips"], "plan")) if data.get("flips") else None
        return cls(**(data | lists | {"recipe": recipe, "flips": flips}))
