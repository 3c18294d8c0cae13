"""Choosing between frozen networks: low log loss, at a price for each further pass."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tlkit.advisor.frozen_choice import PRICE, FrozenCandidate, best_networks, choose_frozen, reason

BASE = FrozenCandidate("lite0", 224, "last", 1.0, 200, 0.80, 0.60)
SLOW = FrozenCandidate("lite2", 260, "all", 2.3, 200, 0.85, 0.50)


def test_a_clearly_better_network_is_worth_its_time() -> None:
    assert choose_frozen([BASE, SLOW]) == SLOW


def test_within_the_price_the_faster_network_is_taken() -> None:
    close = replace(SLOW, log_loss=BASE.log_loss / (1 + PRICE * 1.3) + 1e-6)
    assert choose_frozen([close, BASE]) == BASE
    assert choose_frozen([replace(close, log_loss=close.log_loss - 1e-3), BASE]).network == SLOW.network


def test_on_a_tie_the_features_of_the_last_stage_are_taken() -> None:
    assert choose_frozen([replace(BASE, features="all"), BASE]) == BASE


def test_a_candidate_that_was_given_up_early_is_not_chosen() -> None:
    lucky = replace(SLOW, images=80, log_loss=0.1)
    assert choose_frozen([BASE, lucky]) == BASE


def test_the_best_networks_are_named_once_each() -> None:
    found = best_networks([BASE, replace(BASE, features="all", log_loss=0.55), SLOW], 2)
    assert found == [SLOW.network, BASE.network]


def test_the_reason_says_what_it_was_compared_with() -> None:
    assert reason(BASE, [BASE]).startswith("lite0 at 224 px with the features of the last stage: log loss 0.600")
    better = reason(SLOW, [BASE, SLOW])
    assert "lite2 at 260 px with the features of all stages is the best of the 2" in better
    assert "0.600, 80.0%" in better
    slower = replace(SLOW, log_loss=0.595)
    assert "as good within the noise as slower ones" in reason(BASE, [BASE, slower])


@given(st.lists(st.tuples(st.floats(0.01, 3), st.floats(0.5, 10)), min_size=1, max_size=8))
def test_no_cheaper_candidate_has_a_lower_loss_than_the_chosen(pairs: list[tuple[float, float]]) -> None:
    found = [FrozenCandidate(f"n{i}", 224, "last", cost, 50, 0.5, loss) for i, (loss, cost) in enumerate(pairs)]
    chosen = choose_frozen(found)
    assert not any(each.cost < chosen.cost and each.log_loss < chosen.log_loss for each in found)
