"""The Plan: every decision about a training run, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from tlkit.plan.choices import (
    CLASS_WEIGHTS,
    FEATURES,
    FREEZE,
    LAST,
    MAX_UNKNOWN_RATE,
    PREPROCESSING,
    STRATEGIES,
    UNKNOWN_RATE,
)
from tlkit.plan.fields import record_of
from tlkit.plan.option import unknown_choice
from tlkit.plan.recipe import Recipe
from tlkit.schema import Count, Length, Name, OneOf, Seed, Sentence, Share, Side, Within


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
    images: Count
    plain: Share
    mirrored: Share


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
        groups: How images are grouped, as ``--groups`` takes it; a table is named by its path, in a bundle by its name
            alone. None: only copies are.
        unknown_rate: Share of images of known classes that `predict` may call unknown, 0..0.5.
        head_only: Whether only the head is fitted, although the strategy can train weights.
        flips: Effect of mirroring; None: not measured.
        frozen_features: Input of the head of the frozen network that fine-tuning must beat, "last" or "all".
        refit: Whether the head of a frozen network is solved once more on all images, after it was measured.
        complete: Whether all decisions are made, because the plan was run.
    """

    backbone: Name
    weights: Name
    strategy: Annotated[str, OneOf(STRATEGIES)]
    input_size: Side
    val_split: Share
    class_weights: Annotated[str, OneOf(CLASS_WEIGHTS)]
    seed: Seed
    features: Annotated[str, OneOf(FEATURES)] = LAST
    boundary: Name | None = None
    taps: Annotated[tuple[Name, ...], Length(1, 1000)] = ("top",)
    recipe: Recipe | None = None
    reasons: Annotated[tuple[Sentence, ...], Length(0, 1000)] = ()
    expected: tuple[Share, Share, Share] | None = None
    test_split: Share | None = None
    backbone_file: Name | None = None
    backbone_sha256: Name | None = None
    preprocessing: Annotated[str, OneOf(tuple(PREPROCESSING))] | None = None
    from_bundle: Name | None = None
    weights_sha256: Name | None = None
    drop_leaks: bool = False
    groups: Sentence | None = None
    unknown_rate: Annotated[float, Within(0, MAX_UNKNOWN_RATE)] = UNKNOWN_RATE
    head_only: bool = False
    flips: Flips | None = None
    frozen_features: Annotated[str, OneOf(FEATURES)] = LAST
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
            TlkitError: A field is missing or unknown, has another type, or is out of bounds.
        """
        for name, choices in (
            ("strategy", STRATEGIES),
            ("features", FEATURES),
            ("frozen_features", FEATURES),
            ("class_weights", CLASS_WEIGHTS),
        ):
            value = data.get(name) if isinstance(data, dict) else None
            if isinstance(value, str) and value not in choices:
                raise unknown_choice(f"{name} in the plan:", value[:60], choices)
        if isinstance(data, dict) and isinstance(data.get("recipe"), dict):
            data = data | {"recipe": Recipe.from_json(data["recipe"])}
        return record_of(cls, data, "plan")
