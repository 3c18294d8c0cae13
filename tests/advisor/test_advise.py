from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.advisor import advise as module
from tlkit.advisor import expect as expecting
from tlkit.advisor.advise import STRATEGIES, advise, is_unclear, without_training
from tlkit.advisor.costs import estimate_seconds
from tlkit.advisor.evidence import Evidence
from tlkit.advisor.expect import error_of, expect, frozen_error, inputs_of
from tlkit.advisor.pilot import Pilot
from tlkit.advisor.rule import rule_of_thumb
from tlkit.advisor.similarity import Similarity, level_of
from tlkit.advisor.size import judge_size
from tlkit.plan.choices import EARLY, FINE_TUNE, FREEZE, LAST_LAYERS, MEASURED, RULE

Patch = pytest.MonkeyPatch
EVIDENCE = Evidence(
    images=200,
    classes=4,
    per_class=50.0,
    input_size=224,
    chance=0.25,
    head=0.82,
    head_images=200,
    last=0.80,
    together=0.82,
    early=0.75,
    early_stage="stage5",
    neighbours=0.7,
    half=0.74,
    quarter=0.66,
    noise=0.02,
    similarity=0.5,
    confidence=0.3,
    divergence=0.35,
)
SIZE = judge_size([50] * 4)
SECONDS = {FREEZE: 8.0, EARLY: 60.0, LAST_LAYERS: 40.0, FINE_TUNE: 200.0}


def similarity(score: float) -> Similarity:
    return Similarity(score, level_of(score), 0.3, {"top": 0.3}, (), 100)


def rules(**log_shares: float) -> dict[str, dict[str, float]]:
    """A fitted rule that leaves fixed shares of the errors; names with underscores."""
    return {name.replace("_", "-"): {"constant": value} for name, value in log_shares.items()}


@pytest.fixture
def fitted(monkeypatch: Patch) -> dict[str, dict[str, float]]:
    """A rule by which fine-tuning leaves half of the errors, the last layers a little more."""
    made = rules(early_layers=-0.1, last_layers=-0.685, fine_tune=-0.693)
    monkeypatch.setattr(module, "expect", lambda evidence: expect(evidence, made, dict.fromkeys(made, 0.2)))
    return made


def test_errors_are_the_heads_times_the_fitted_share() -> None:
    found = expect(EVIDENCE, rules(fine_tune=-0.693), {"fine-tune": 0.2})
    error = error_of(EVIDENCE.head, 200)
    assert found[FREEZE].accuracy == pytest.approx(1 - error)
    assert found["fine-tune"].accuracy == pytest.approx(1 - error / 2, abs=1e-3)


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 0.9, 1.0])
def test_few_images_are_believed_less(accuracy: float) -> None:
    apart = [abs(1 - accuracy - error_of(accuracy, count)) for count in (4, 40, 400, 10**6)]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 1e-5
    assert 0 < error_of(accuracy, 4) < 1
    assert 0.1 < error_of(1.0, 8) < 0.15  # no error on eight images is no promise


def test_inputs_are_zero_where_nothing_differs() -> None:
    flat = replace(EVIDENCE, images=100, head=0.8, head_images=100, neighbours=0.8, chance=0.8, similarity=1.0)
    found = inputs_of(flat)
    assert found.pop("constant") == 1.0
    assert all(value == pytest.approx(0.0) for value in found.values())
    assert inputs_of(replace(flat, chance=0.25))["relative"] == pytest.approx(math.log(0.25), abs=0.2)
    assert inputs_of(replace(flat, similarity=0.3))["dissimilarity"] == pytest.approx(0.7)
    assert inputs_of(replace(flat, neighbours=0.6))["neighbours"] > 0.5
    assert inputs_of(replace(flat, pilot=-0.4))["pilot"] == -0.4


def test_with_a_pilot_another_rule_holds(monkeypatch: Patch) -> None:
    plain, piloted = rules(fine_tune=-0.1), {"fine-tune": {"constant": 0.1, "pilot": 2.0}}
    for name, value in (("COEFFICIENTS", plain), ("PILOT_COEFFICIENTS", piloted), ("SPREAD", {}), ("PILOT_SPREAD", {})):
        monkeypatch.setattr(expecting.fitted, name, value)
    error = error_of(EVIDENCE.together, 200)
    for pilot, log_share in ((None, -0.1), (0.0, 0.1), (-0.5, -0.9)):
        found = expect(replace(EVIDENCE, pilot=pilot))
        assert 1 - found["fine-tune"].accuracy == pytest.approx(error * math.exp(log_share))


def test_it_is_unclear_whether_training_helps_if_the_frozen_accuracy_is_in_the_interval(monkeypatch: Patch) -> None:
    for share, is_it in ((-0.1, True), (0.3, True), (-2.0, False), (2.0, False)):
        made = rules(fine_tune=share)
        monkeypatch.setattr(module, "expect", lambda evidence, made=made: expect(evidence, made, {"fine-tune": 0.3}))
        assert is_unclear(advise(EVIDENCE, SIZE, similarity(0.5), SECONDS)) == is_it
        assert not is_unclear(advise(EVIDENCE, SIZE, similarity(0.5), SECONDS, by=RULE))
    assert not is_unclear(advise(None, SIZE, similarity(0.5), SECONDS))


def test_of_equally_good_strategies_the_one_that_takes_least_time_here(fitted: dict[str, dict[str, float]]) -> None:
    fitted["early-layers"]["constant"] = -0.69
    assert advise(EVIDENCE, SIZE, similarity(0.5), SECONDS).strategy == LAST_LAYERS
    assert advise(EVIDENCE, SIZE, similarity(0.5), SECONDS | {EARLY: 30.0}).strategy == EARLY


@given(
    last=st.floats(0, 1),
    together=st.floats(0, 1),
    early=st.floats(0, 1),
    half=st.floats(0, 1),
    noise=st.floats(0, 0.5),
    images=st.integers(2, 10**6),
    classes=st.integers(2, 1000),
    share=st.floats(-3, 3),
)
def test_expectations_are_shares_within_their_intervals(
    last: float, together: float, early: float, half: float, noise: float, images: int, classes: int, share: float
) -> None:
    evidence = replace(
        EVIDENCE, last=last, together=together, early=early, half=half, noise=noise, images=images, classes=classes
    )
    for its in expect(evidence, rules(fine_tune=share), {"fine-tune": 0.3}).values():
        assert 0 <= its.low <= its.accuracy <= its.high <= 1


def test_without_a_fitted_rule_only_what_was_cross_validated_is_known() -> None:
    found = expect(EVIDENCE, {}, {})
    assert {name: its.accuracy for name, its in found.items()} == {FREEZE: 1 - error_of(0.82, 200)}
    assert found[FREEZE].low == pytest.approx(0.82 - expecting.QUANTILE * 0.02, abs=0.01)


def test_a_constant_corrects_the_frozen_network_and_what_starts_from_it() -> None:
    made = {FREEZE: {"constant": math.log(0.8)}, "fine-tune": {"constant": math.log(0.5)}}
    found = expect(EVIDENCE, made, {})
    error = 0.8 * error_of(0.82, 200)
    assert found[FREEZE].accuracy == pytest.approx(1 - error)
    assert found["fine-tune"].accuracy == pytest.approx(1 - error / 2)


def test_a_head_measured_on_some_images_is_scaled_to_all_by_the_learning_curve() -> None:
    some = replace(EVIDENCE, head_images=100)
    assert frozen_error(some) < error_of(0.82, 100)
    flat = replace(some, quarter=some.last)
    assert frozen_error(flat) == pytest.approx(error_of(0.82, 100))
    falling = replace(some, quarter=0.9)  # a curve that falls is noise
    assert frozen_error(falling) == pytest.approx(error_of(0.82, 100))
    steep = replace(some, last=1.0, quarter=0.0)
    assert frozen_error(steep) == pytest.approx(error_of(0.82, 100) * 2**expecting.STEEPEST)


def test_the_best_expected_strategy_is_advised_unless_a_cheaper_one_is_as_good(
    fitted: dict[str, dict[str, float]],
) -> None:
    advice = advise(EVIDENCE, SIZE, similarity(0.5), SECONDS)
    assert advice.strategy == LAST_LAYERS  # within the margin of fine-tune, and a fifth of its time
    assert advice.close == (LAST_LAYERS, FINE_TUNE)
    assert advice.by == MEASURED
    assert advice.reasons[0].startswith("predicted accuracy 90.8% (")
    assert advice.reasons[0].endswith("%), about 40 s; fine-tune: 90.9%, 3 min, no better within the noise")
    fitted["last-layers"]["constant"] = -0.5
    advice = advise(EVIDENCE, SIZE, similarity(0.5), SECONDS)
    assert (advice.strategy, advice.close) == (FINE_TUNE, (FINE_TUNE,))
    assert advice.expected is not None
    accuracy, low, high = advice.expected
    assert accuracy == pytest.approx(0.909, abs=1e-3)
    assert low < accuracy < high
    assert tuple(each.strategy for each in advice.candidates) == STRATEGIES


def test_a_frozen_backbone_keeps_the_features_that_were_chosen(fitted: dict[str, dict[str, float]]) -> None:
    for name in ("early-layers", "last-layers", "fine-tune"):
        fitted[name]["constant"] = 1.0
    everything = advise(EVIDENCE, SIZE, similarity(0.5), SECONDS, features="all")
    last = advise(EVIDENCE, SIZE, similarity(0.5), SECONDS)
    assert (everything.strategy, everything.features) == (FREEZE, "all")
    assert (last.strategy, last.features, last.boundary) == (FREEZE, "last", None)
    assert everything.expected == last.expected  # that of the head that was chosen


def test_what_is_uncertain_is_not_advised_unless_a_pilot_shows_a_gain(fitted: dict[str, dict[str, float]]) -> None:
    for name in fitted:
        fitted[name]["constant"] = -0.1  # the interval reaches below the frozen network
    frozen = advise(EVIDENCE, SIZE, similarity(0.5), SECONDS)
    assert (frozen.strategy, frozen.close) == (FREEZE, (FREEZE,))
    assert any("is uncertain: -" in reason and "--time-budget tries it" in reason for reason in frozen.reasons)
    gain = Pilot(60, 50, 0.8, 0.6, 0.85, 0.5)
    assert advise(EVIDENCE, SIZE, similarity(0.5), SECONDS, pilot=gain).strategy != FREEZE
    assert advise(EVIDENCE, SIZE, similarity(0.5), SECONDS, pilot=replace(gain, loss=0.6)).strategy == FREEZE
    # who gives time wants it used
    assert advise(EVIDENCE, SIZE, similarity(0.5), SECONDS, limit=300.0).strategy != FREEZE


def test_minutes_have_a_price_and_a_limit(fitted: dict[str, dict[str, float]]) -> None:
    fitted["last-layers"]["constant"] = fitted["early-layers"]["constant"] = 0.5
    assert advise(EVIDENCE, SIZE, similarity(0.5), SECONDS).strategy == FINE_TUNE
    slow = advise(EVIDENCE, SIZE, similarity(0.5), SECONDS | {FINE_TUNE: 1200.0})
    assert slow.strategy == FREEZE
    assert any(reason.startswith("fine-tune may reach 90.9%") for reason in slow.reasons)
    fitted["last-layers"]["constant"] = -0.4  # one point below fine-tune for each three points above frozen
    gap = {FINE_TUNE: 590.0, LAST_LAYERS: 20.0}
    better = advise(EVIDENCE, SIZE, similarity(0.5), SECONDS | gap)
    assert better.strategy == FINE_TUNE
    fitted["last-layers"]["constant"] = -0.6
    assert advise(EVIDENCE, SIZE, similarity(0.5), SECONDS | gap).strategy == LAST_LAYERS


def test_early_layers_are_cut_where_the_probes_were_best(fitted: dict[str, dict[str, float]]) -> None:
    fitted["early-layers"]["constant"] = -1.0
    advice = advise(EVIDENCE, SIZE, similarity(0.5), SECONDS)
    assert (advice.strategy, advice.boundary) == (EARLY, "stage5")


def test_what_takes_too_long_is_not_advised(fitted: dict[str, dict[str, float]]) -> None:
    del fitted
    assert advise(EVIDENCE, SIZE, similarity(0.5), SECONDS, limit=50.0).strategy == LAST_LAYERS
    assert advise(EVIDENCE, SIZE, similarity(0.5), SECONDS, limit=20.0).strategy == FREEZE
    assert advise(EVIDENCE, SIZE, similarity(0.5), SECONDS, limit=1.0).strategy == FREEZE


def test_nothing_measured_gives_advice_without_numbers() -> None:
    advice = advise(None, SIZE, similarity(0.5), SECONDS)
    assert (advice.strategy, advice.expected) == (FREEZE, None)
    assert all(each.expected is None for each in advice.candidates)
    assert "too few images" in advice.reasons[0]


@pytest.mark.parametrize(
    ("per_class", "score", "strategy"),
    [
        (20, 0.9, FREEZE),
        (20, 0.1, EARLY),
        (20, 0.4, EARLY),
        (800, 0.9, FINE_TUNE),
        (800, 0.1, FINE_TUNE),
        (800, 0.4, LAST_LAYERS),
    ],
)
def test_the_two_by_two_rule(per_class: int, score: float, strategy: str) -> None:
    size = judge_size([per_class] * 10)
    assert rule_of_thumb(size, similarity(score))[0] == strategy
    for evidence in (EVIDENCE, None):
        advice = advise(evidence, size, similarity(score), SECONDS, by=RULE)
        assert (advice.strategy, advice.by) == (strategy, RULE)
        assert "two-by-two" in advice.reasons[0]


def test_times_grow_with_images_and_shrink_with_speed() -> None:
    few, many = (estimate_seconds(count, 5, 1744, 100.0) for count in (100, 10000))
    fast = estimate_seconds(100, 5, 1744, 1000.0)
    for strategy in STRATEGIES:
        assert 0 < fast[strategy] <= few[strategy] < many[strategy]
    assert few[FREEZE] < few[LAST_LAYERS] < few[FINE_TUNE]


def test_where_weights_cannot_be_trained_the_frozen_network_is_recommended_and_why(fitted: object) -> None:
    advice = advise(EVIDENCE, SIZE, similarity(0.5), SECONDS, limit=1000.0)
    assert advice.strategy != FREEZE
    kept = without_training(advice, "a library is missing")
    assert (kept.strategy, kept.boundary, kept.close) == (FREEZE, None, (FREEZE,))
    assert kept.features == advice.candidates[0].features
    assert kept.reasons == (f"{advice.strategy} would be recommended, but a library is missing", *advice.reasons)
    assert kept.expected == without_training(kept, "x").expected  # of the frozen network


def test_advice_to_freeze_stays_as_it_is() -> None:
    advice = advise(None, SIZE, similarity(0.5), SECONDS)
    kept = without_training(advice, "a library is missing")
    assert (kept.strategy, kept.reasons[:-1]) == (FREEZE, advice.reasons)
    assert kept.reasons[-1] == "other strategies are not possible here: a library is missing"
