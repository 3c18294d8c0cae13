from __future__ import annotations

import numpy as np

from tlkit.advisor.backbone_choice import Candidate, choose_backbone


def candidate(name: str, params: int, right: int, of: int = 200, shift: int = 0) -> Candidate:
    """One that is right on so many images, from ``shift`` on."""
    answers = np.zeros(of, dtype=bool)
    answers[np.arange(shift, shift + right) % of] = True
    return Candidate(name, params, 0.01, right / of, answers)


def test_the_clearly_most_accurate_is_taken_however_large() -> None:
    chosen, why = choose_backbone([candidate("small", 1_000_000, 150), candidate("large", 9_000_000, 170)])
    assert chosen.name == "large"
    assert "most accurate" in why
    assert "75.0%" in why
    assert "9.0M" in why


def test_a_smaller_one_that_is_as_good_within_the_noise_is_taken() -> None:
    """The same difference as above, but on other images: 60 won, 40 lost are two standard errors, 55 to 45 one."""
    large, small = candidate("large", 9_000_000, 110), candidate("small", 1_000_000, 108, shift=60)
    chosen, why = choose_backbone([small, large])
    assert chosen.name == "small"
    assert "as good within the noise" in why


def test_of_equals_the_smallest_and_the_order_does_not_matter() -> None:
    field = [candidate("b", 2, 100), candidate("a", 2, 100), candidate("c", 3, 100)]
    assert {choose_backbone(order)[0].name for order in (field, field[::-1])} == {"a"}


def test_one_alone_is_taken_and_that_is_said() -> None:
    chosen, why = choose_backbone([candidate("only", 5, 10)])
    assert chosen.name == "only"
    assert "only backbone" in why
