"""Turn evidence into advice: predicted accuracies, the recommended strategy, and the reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tlkit.advisor.evidence import Evidence
from tlkit.advisor.expect import Expectation, expect
from tlkit.advisor.fitted import MARGIN
from tlkit.advisor.pilot import Pilot
from tlkit.advisor.rule import rule_of_thumb
from tlkit.advisor.similarity import Similarity
from tlkit.advisor.size import Size
from tlkit.plan.choices import EARLY, FINE_TUNE, FREEZE, LAST, LAST_LAYERS, MEASURED, RULE
from tlkit.words import duration, plural

STRATEGIES = (FREEZE, EARLY, LAST_LAYERS, FINE_TUNE)
PRICE = 0.002  # accuracy that a minute of training must gain, if there is no time limit
LONGEST = 600.0  # seconds beyond the features at most, if there is no time limit


@dataclass(frozen=True)
class Candidate:
    """A strategy with its predicted accuracy.

    Attributes:
        strategy: As in the Plan.
        features: "last" or "all".
        expected: Predicted accuracy with its interval; None if nothing could be measured.
        seconds: Estimated time on this machine once the features are computed.
        measured: Whether the accuracy was cross-validated directly rather than predicted.
    """

    strategy: str
    features: str
    expected: Expectation | None
    seconds: float
    measured: bool


@dataclass(frozen=True)
class Advice:
    """The recommended strategy and the reasons for it.

    Attributes:
        strategy: As in the Plan.
        features: "last" or "all".
        boundary: The stage to cut after, with "early-layers"; None: training chooses it.
        by: "measured" or "rule".
        candidates: All strategies, in the order of `STRATEGIES`.
        close: The strategies within the margin of the best one.
        reasons: One sentence each.
        uncertain: The strategy that would be recommended if it were certain to help; None: there is none.
    """

    strategy: str
    features: str
    boundary: str | None
    by: str
    candidates: tuple[Candidate, ...]
    close: tuple[str, ...]
    reasons: tuple[str, ...]
    uncertain: str | None = None

    @property
    def chosen(self) -> Candidate:
        """The recommended candidate."""
        return next(each for each in self.candidates if each.strategy == self.strategy)

    @property
    def expected(self) -> tuple[float, float, float] | None:
        """Predicted accuracy of the recommended strategy and the ends of its interval, 0..1."""
        its = self.chosen.expected
        return None if its is None else (round(its.accuracy, 4), round(its.low, 4), round(its.high, 4))


def is_unclear(advice: Advice) -> bool:
    """Return whether it is unclear if fine-tuning helps: its predicted interval includes the frozen accuracy."""
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
    longest: float = LONGEST,
    features: str = LAST,
    pilot: Pilot | None = None,
) -> Advice:
    """Recommend a strategy.

    Takes the fastest strategy whose predicted accuracy is at most `MARGIN` below the highest. Without a time limit,
    each minute has its price (`PRICE`), no training takes longer than ``longest``, and weights are trained only if that
    is clearly better than the frozen network: by the whole predicted interval, or by a pilot.

    Args:
        evidence: The measurements; None if a class has too few images for cross-validation.
        size: Size of the dataset.
        similarity: Similarity to ImageNet.
        seconds: Estimated time of each strategy on this machine.
        by: "measured", or "rule" for the two-by-two rule.
        limit: Time limit in seconds; slower strategies are not recommended, unless all are slower. None: no limit.
        longest: Seconds that training may take if there is no limit.
        features: Features of the frozen backbone's head, as in the Plan.
        pilot: Result of a pilot; None: there was none.
    """
    candidates = _candidates(evidence, seconds, features)
    facts = (
        f"size: {size.level} ({size.why})",
        f"similarity to ImageNet: {similarity.score:.2f}, {similarity.level}",
    )
    if by == RULE:
        strategy, reason = rule_of_thumb(size, similarity)
        its = next(each.features for each in candidates if each.strategy == strategy)
        return Advice(strategy, its, _boundary(strategy, evidence), RULE, candidates, (), (reason, *facts))
    if evidence is None:
        reason = "a class has too few images to measure anything, so only the head is trained"
        return Advice(FREEZE, features, None, MEASURED, candidates, (), (reason, *facts))
    most = longest if limit is None else limit
    within = [each for each in candidates if each.seconds <= most] or list(candidates[:1])
    price = PRICE / 60 if limit is None else 0.0
    best = max(_accuracy(each) - price * each.seconds for each in within)
    close = [each for each in within if _accuracy(each) - price * each.seconds >= best - MARGIN]
    wanted = min(close, key=lambda each: each.seconds)
    chosen, doubt = wanted, tuple[str, ...]()
    if not _is_worth_training(wanted, candidates[0], limit, pilot):
        chosen, close, doubt = candidates[0], [candidates[0]], (_doubt(wanted, candidates[0]),)
    piloted = () if pilot is None else (pilot.why,)
    return Advice(
        strategy=chosen.strategy,
        features=chosen.features,
        boundary=_boundary(chosen.strategy, evidence),
        by=MEASURED,
        candidates=candidates,
        close=tuple(each.strategy for each in close),
        reasons=(
            *_reasons(evidence, chosen, within, limit),
            *doubt,
            *piloted,
            *_beyond(chosen, candidates, most, limit),
            *facts,
        ),
        uncertain=wanted.strategy if doubt else None,
    )


def without_training(advice: Advice, lacking: str) -> Advice:
    """Recommend the frozen network, since weights cannot be trained on this machine, and say why.

    Args:
        advice: The recommendation for a machine on which they can.
        lacking: What is missing, as a clause.
    """
    if advice.strategy == FREEZE:
        return replace(advice, reasons=(*advice.reasons, f"other strategies are not possible here: {lacking}"))
    return replace(
        advice,
        strategy=FREEZE,
        features=advice.candidates[0].features,
        boundary=None,
        close=(FREEZE,),
        reasons=(f"{advice.strategy} would be recommended, but {lacking}", *advice.reasons),
    )


def _is_worth_training(wanted: Candidate, frozen: Candidate, limit: float | None, pilot: Pilot | None) -> bool:
    """Whether the evidence is enough to spend time on training weights; always for a frozen backbone."""
    if wanted.strategy == FREEZE:
        return True
    if pilot is not None:
        return pilot.shows_gain
    certain = wanted.expected is not None and wanted.expected.low > _accuracy(frozen)
    return certain or limit is not None


def _doubt(wanted: Candidate, frozen: Candidate) -> str:
    its, minutes = wanted.expected, duration(wanted.seconds)
    low, high = (100 * (each - _accuracy(frozen)) for each in ((its.low, its.high) if its else (0.0, 0.0)))
    return (
        f"{wanted.strategy} is uncertain: {low:+.0f} to {high:+.0f} percentage points for about {minutes}; "
        f"--strategy {wanted.strategy} or --time-budget tries it"
    )


def _beyond(chosen: Candidate, candidates: Sequence[Candidate], most: float, limit: float | None) -> tuple[str, ...]:
    """Say what longer training may gain."""
    slower = [each for each in candidates if each.seconds > most and _accuracy(each) > _accuracy(chosen) + MARGIN]
    if not slower:
        return ()
    best = max(slower, key=_accuracy)
    how = f"--strategy {best.strategy}" if limit is None else "a longer --time-budget"
    return (f"{best.strategy} may reach {_prediction(best)}, which needs {how}",)


def _boundary(strategy: str, evidence: Evidence | None) -> str | None:
    return evidence.early_stage if strategy == EARLY and evidence is not None else None


def _candidates(evidence: Evidence | None, seconds: Mapping[str, float], frozen_features: str) -> tuple[Candidate, ...]:
    found = expect(evidence) if evidence is not None else {}
    candidates = []
    for strategy in STRATEGIES:
        features = frozen_features if strategy == FREEZE else LAST
        expected = found.get(strategy)
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
        lines.append(f"highest predicted accuracy, {_prediction(chosen)}" + (f"; {_brief(second)}" if second else ""))
    else:
        lines.append(f"predicted accuracy {_prediction(chosen)}; {_brief(best)}, no better within the noise")
    lines.append(
        f"cross-validated accuracy on frozen features: {evidence.last:.1%} (last stage), {evidence.together:.1%} (all "
        f"stages), {evidence.early:.1%} ({evidence.early_stage} alone); nearest neighbours: {evidence.neighbours:.1%}; "
        f"{plural(evidence.images, 'image')}"
    )
    lines.append(
        f"learning curve: {evidence.quarter:.1%} with a quarter of {plural(evidence.images, 'image')}, "
        f"{evidence.half:.1%} with half of them"
    )
    if limit is not None:
        lines.append(f"only strategies that take at most {duration(limit)} were considered")
    return tuple(lines)


def _prediction(candidate: Candidate) -> str:
    """Accuracy, interval and time, such as "82.1% (53 to 93%), about 50 min"."""
    its = candidate.expected
    interval = f" ({100 * its.low:.0f} to {its.high:.0%})" if its else ""
    return f"{_accuracy(candidate):.1%}{interval}, about {duration(candidate.seconds)}"


def _brief(candidate: Candidate) -> str:
    """Strategy, accuracy and time, such as "freeze: 69.0%, 5 s"."""
    return f"{candidate.strategy}: {_accuracy(candidate):.1%}, {duration(candidate.seconds)}"
