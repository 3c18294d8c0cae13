"""What the advisor's rule was fitted to: all its numbers. Written by benchmarks/advisor_fit.py."""

PRIOR_PICTURES, PRIOR_ERROR = 5.0, 0.3  # thought measured beside the real ones
MARGIN = 0.01  # accuracy that a cheaper strategy may be expected to lack and still be advised
QUANTILE = 1.645  # of the normal distribution, for 90% intervals
# by strategy: deviation of the logarithm of the error from what is expected
SPREAD = {"freeze": 0.1, "freeze-all": 0.1, "early-layers": 0.134, "last-layers": 0.351, "fine-tune": 0.634}
# by strategy and input (`tlkit.advisor.expect.inputs_of`): logarithm of the share of errors left
COEFFICIENTS: dict[str, dict[str, float]] = {
    "early-layers": {"constant": -0.0326, "relative": 0.0179, "pictures": 0.0015},
    "last-layers": {"constant": -0.1287, "relative": 0.1231, "pictures": -0.0734},
    "fine-tune": {"constant": -0.0903, "relative": 0.2692, "pictures": -0.1374},
}
# both with a pilot
PILOT_SPREAD = {"freeze": 0.1, "freeze-all": 0.1, "early-layers": 0.1, "last-layers": 0.813, "fine-tune": 1.409}
PILOT_COEFFICIENTS: dict[str, dict[str, float]] = {
    "early-layers": {"constant": -0.0326, "relative": 0.0179, "pictures": 0.0015, "pilot": 0.0},
    "last-layers": {"constant": -0.1423, "relative": 0.1231, "pictures": -0.0734, "pilot": 0.4283},
    "fine-tune": {"constant": -0.0749, "relative": 0.2692, "pictures": -0.1374, "pilot": 0.7702},
}
