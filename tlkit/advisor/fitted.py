"""What the advisor's rule was fitted to: all its numbers. Written by benchmarks/advisor_fit.py."""

PRIOR_PICTURES, PRIOR_ERROR = 5.0, 0.3  # thought measured beside the real ones
MARGIN = 0.01  # accuracy that a cheaper strategy may be expected to lack and still be advised
QUANTILE = 1.645  # of the normal distribution, for 90% intervals
# by strategy: deviation of the logarithm of the error from what is expected
SPREAD = {"freeze": 0.1, "freeze-all": 0.1, "early-layers": 0.197, "last-layers": 0.274, "fine-tune": 0.543}
# by strategy and input (`tlkit.advisor.expect.inputs_of`): logarithm of the share of errors left
COEFFICIENTS: dict[str, dict[str, float]] = {
    "early-layers": {"constant": -0.0656, "error": -0.004, "pictures": 0.007, "dissimilarity": -0.0442},
    "last-layers": {"constant": -0.0118, "error": 0.152, "pictures": -0.045, "dissimilarity": -0.1973},
    "fine-tune": {"constant": 0.0676, "error": 0.2638, "pictures": -0.119, "dissimilarity": -0.3078},
}
