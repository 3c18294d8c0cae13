"""The Plan: every decision about a training run, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from tlkit.plan.choices import CLASS_WEIGHTS, FEATURES, FREEZE, LAST, STRATEGIES, UNKNOWN_RATE
from tlkit.plan.fields import checked
from tlkit.plan.option import unknown_choice
from tlkit.plan.recipe import Recipe


@dataclass(frozen=True)
class Flips:
    """The effect of mirroring images on the accuracy of probes.

    Attributes:
        harmless: Whether images may be mirrored.
        images: Number of images tested; 0: there were too few to measure anything.
        plain: Accuracy on the original images, 0..1.
        mirrored: Accuracy on the same images mirrored, 0..1.
    """

    harmless: bool
    images: int
    plain: float
    mirrored: float


@dataclass(frozen=True)
class Plan:
    """Every decision about a run, with reasons. Running the complete plan of a bundle gives the same result again.

    Attributes:
        backbone: Name of the backbone: in the catalogue, or of the user's own.
        weights: "imagenet", "none", or the name of the file or bundle that the weights come from.
        strategy: One of `STRATEGIES`. "freeze" keeps all backbone weights and fits a softmax head on the pooled
            features. "last-layers" starts from that and also trains the stages after ``boundary``; "fine-tune" also
            trains all stages. "early-layers" keeps only the stages up to ``boundary``, drops the later layers, and
            trains the stages kept.
        input_size: Side of the square input in pixels.
        val_split: Share of each class held out for validation; unused if the folder has its own split.
        class_weights: "auto" or "none".
        seed: Random seed.
        features: Input of the head: "last", the pooled output of the last stage kept, or "all", of all stages kept.
        boundary: With "early-layers" the last stage kept; with "last-layers" the last frozen stage.
        taps: Names of the pooled blocks that the head takes, from input to output.
        recipe: How weights are trained; None: they are not, or it is not decided yet.
        reasons: Reasons for the decisions, one sentence each.
        expected: Accuracy predicted by the advisor, 0..1, and the bounds of its 90% interval; None: no prediction.
        test_split: Share held out for testing if the folder has no test images; None: depends on their number.
        backbone_file: The ``.keras`` file of the user's own backbone; in a bundle only its name.
        backbone_sha256: SHA-256 of that file in hex.
        preprocessing: Preprocessing of RGB pixels 0..255 for that backbone.
        from_bundle: Name of the bundle that training started from; None: none.
        weights_sha256: SHA-256, in hex, of weights from a file or a bundle.
        drop_leaks: Whether training images with a copy in the folder's own val/ or test/ are left out.
        unknown_rate: Share of images of known classes that `predict` may call unknown, 0..0.5.
        head_only: Whether only the head is fitted, although the strategy can train weights.
        flips: Effect of mirroring; None: not measured.
        frozen_features: Input of the head of the frozen network that fine-tuning must beat, "last" or "all".
        refit: Whether the head of a frozen network is solved once more on all images, after it was measured.
        complete: Whether all decisions are made, because the plan was run.
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
    frozen_features: str = LAST
    refit: bool = False
    complete: bool = False

    @property
    def tunes(self) -> bool:
        """Whether backbone weights are trained, not only the head."""
        return self.strategy != FREEZE and not self.head_only

    def because(self, *reasons: str) -> Plan:
        """Return the plan with more reasons, each once; a complete plan keeps its own."""
        new = [reason for reason in reasons if reason not in self.reasons]
        return self if self.complete else replace(self, reasons=(*self.reasons, *new))

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dump``."""
        expected = None if self.expected is None else list(self.expected)
        return {**asdict(self), "taps": list(self.taps), "reasons": list(self.reasons), "expected": expected}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """Rebuild a plan from the result of `to_json`.

        Raises:
            TlkitError: A field is missing or unknown, or a value is not one of the choices.
        """
        checked(cls, data, "plan")
        for name, choices in (
            ("strategy", STRATEGIES),
            ("features", FEATURES),
            ("frozen_features", FEATURES),
            ("class_weights", CLASS_WEIGHTS),
        ):
            if name in data and data[name] not in choices:
                raise unknown_choice(f"{name} in the plan:", str(data[name]), choices)
        names = ("taps", "reasons", "expected")
        lists: dict[str, Any] = {name: tuple(data[name]) for name in names if data.get(name) is not None}
        recipe = Recipe.from_json(data["recipe"]) if data.get("recipe") else None
        flips = Flips(**checked(Flips, data["flips"], "plan")) if data.get("flips") else None
        return cls(**(data | lists | {"recipe": recipe, "flips": flips}))
