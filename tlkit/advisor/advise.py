"""From evidence to advice: expected accuracies side by side, a choice, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tlkit.advisor.evidence import Evidence
from tlkit.advisor.expect import FROZEN_ALL, Expectation, expect
from tlkit.advisor.fitted import MARGIN
from tlkit.advisor.rule import rule_of_thumb
from tlkit.advisor.similarity import Similarity
from tlkit.advisor.size import Size
from tlkit.plan.choices import ALL, EARLY, FINE_TUNE, FREEZE, LAST, LAST_LAYERS, MEASURED, RULE

STRATEGIES = (FREEZE, EARLY, LAST_LAYERS, FINE_TUNE)


@dataclass(frozen=True)
class Candidate:
    """What is expected of a strategy.

    Attributes:
        strategy: As in the Plan.
        features: "last" or "all".
        expected: Accuracy with its interval; None where nothing could be measured.
        seconds: Time it will take on this machine, from the images' features on.
        measured: Whether the accuracy was cross-validated as such, rather than predicted from what was.
    """

    strategy: str
    features: str
    expected: Expectation | None
    seconds: float
    measured: bool


@dataclass(frozen=True)
class Advice:
    """What to do, and why.

    Attributes:
        strategy: As in the Plan.
        features: "last" or "all".
        boundary: The stage to cut after, with "early-layers"; None: whatever training finds.
        by: "measured" or "rule".
        candidates: All strategies, in the order of `STRATEGIES`.
        close: Those that may as well be the best: within the margin of it.
        reasons: One sentence each.
    """

    strategy: str
    features: str
    boundary: str | None
    by: str
    candidates: tuple[Candidate, ...]
    close: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def chosen(self) -> Candidate:
        """The candidate that is advised."""
        return next(each for each in self.candidates if each.strategy == self.strategy)

    @property
    def expected(self) -> tuple[float, float, float] | None:
        """Accuracy expected of what is advised, with its interval's ends, 0..1."""
        its = self.chosen.expected
        return None if its is None else (round(its.accuracy, 4), round(its.low, 4), round(its.high, 4))


def is_open(advice: Advice) -> bool:
    """Whether training weights may as well help as not: the frozen network's accuracy is within what is expected."""
    found = {each.strategy: each.expected for each in advice.candidates}
    frozen, trained = found[FREEZE], [each for name, each in found.items() if name != FREEZE and each is not None]
    if advice.by != MEASURED or frozen is None or not trained:
        return False
    best = max(trained, key=lambda each: each.accuracy)
    return best.low <= frozen.accuracy <= best.high


def advise(
    evidence: Evidence | None,
    size: Size,
    similarity: Similarity,
    seconds: Mapping[str, float],
    *,
    by: str = MEASURED,
    limit: float | None = None,
    more: Sequence[str] = (),
) -> Advice:
    """Choose a strategy.

    The one with the highest expected accuracy is taken, or a cheaper one that is expected to be at most `MARGIN` worse.

    Args:
        evidence: What was measured; None where a class has too few images for cross-validation.
        size: Of the data set.
        similarity: To ImageNet.
        seconds: What each strategy takes on this machine.
        by: "measured", or "rule": the two-by-two rule.
        limit: Seconds there are; strategies that take longer are not advised, unless all do.
        more: Further reasons.
    """
    candidates = _candidates(evidence, seconds)
    facts = (
        f"size: {size.level} ({size.why})",
        f"similarity to ImageNet: {similarity.score:.2f}, {similarity.level}",
    )
    if by == RULE:
        strategy, reason = rule_of_thumb(size, similarity)
        features = next(each.features for each in candidates if each.strategy == strategy)
        return Advice(strategy, features, _boundary(strategy, evidence), RULE, candidates, (), (reason, *facts))
    if evidence is None:
        reason = "a class has too few images to measure anything, so nothing but the head is trained"
        return Advice(FREEZE, LAST, None, MEASURED, candidates, (), (reason, *facts))
    within = [each for each in candidates if limit is None or each.seconds <= limit] or list(candidates[:1])
    best = max(_accuracy(each) for each in within)
    close = [each for each in within if _accuracy(each) >= best - MARGIN]
    chosen = min(close, key=lambda each: each.seconds)
    return Advice(
        strategy=chosen.strategy,
        features=chosen.features,
        boundary=_boundary(chosen.strategy, evidence),
        by=MEASURED,
        candidates=candidates,
        close=tuple(each.strategy for each in close),
        reasons=(*_reasons(evidence, chosen, within, limit), *more, *facts),
    )


def _boundary(strategy: str, evidence: Evidence | None) -> str | None:
    return evidence.early_stage if strategy == EARLY and evidence is not None else None


def _candidates(evidence: Evidence | None, seconds: Mapping[str, float]) -> tuple[Candidate, ...]:
    found = expect(evidence) if evidence is not None else {}
    together = FROZEN_ALL in found and found[FROZEN_ALL].accuracy > found[FREEZE].accuracy
    candidates = []
    for strategy in STRATEGIES:
        everything = strategy == FREEZE and together
        expected = found.get(FROZEN_ALL if everything else strategy)
        features = ALL if everything else LAST
        candidates.append(Candidate(strategy, features, expected, seconds[strategy], strategy == FREEZE))
    return tuple(candidates)


def _accuracy(candidate: Candidate) -> float:
    return candidate.expected.accuracy if candidate.expected else 0.0


def _reasons(evidence: Evidence, chosen: Candidate, within: list[Candidate], limit: float | None) -> tuple[str, ...]:
    best = max(within, key=_accuracy)
    lines = []
    if chosen is best:
        others = [each for each in within if each is not best and each.expected is not None]
        second = max(others, key=_accuracy) if others else None
        lines.append(
            f"{chosen.strategy} is expected to be right on {_accuracy(chosen):.1%} of new images"
            + (f", {second.strategy} on {_accuracy(second):.1%}" if second else "")
        )
    else:
        lines.append(
            f"{chosen.strategy} is expected to be right on {_accuracy(chosen):.1%} of new images; {best.strategy} "
            f"might reach {_accuracy(best):.1%}, which is within the noise, and takes {_times(best, chosen)} as long"
        )
    lines.append(
        f"cross-validated heads on frozen features are right on {evidence.last:.1%} with the last stage's, "
        f"{evidence.together:.1%} with all stages', {evidence.early:.1%} with {evidence.early_stage}'s alone; nearest "
        f"neighbours on {evidence.neighbours:.1%}"
    )
    lines.append(f"with half of the images {evidence.half:.1%}, with a quarter {evidence.quarter:.1%}")
    if limit is not None:
        lines.append(f"only what takes at most {limit:.0f} s was considered")
    return tuple(lines)


def _times(one: Candidate, other: Candidate) -> str:
    return f"{one.seconds / max(1.0, other.seconds):.0f} times"
