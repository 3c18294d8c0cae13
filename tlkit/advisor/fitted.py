"""What the advisor's rule was fitted to: all its numbers. Written by benchmarks/advisor_fit.py."""

PRIOR_PICTURES, PRIOR_ERROR = 5.0, 0.3  # thought measured beside the real ones
MARGIN = 0.005  # accuracy that a cheaper strategy may be expected to lack and still be advised
QUANTILE = 1.645  # of the normal distribution, for 90% intervals
# by strategy: deviation of the logarithm of the error from what is expected
SPREAD = {"freeze": 0.132, "freeze-all": 0.205, "early-layers": 0.141, "last-layers": 0.426, "fine-tune": 0.611}
# by strategy and input (`tlkit.advisor.expect.inputs_of`): logarithm of the share of errors left
COEFFICIENTS: dict[str, dict[str, float]] = {
    "early-layers": {"constant": -0.0095, "relative": 0.0007, "pictures": -0.0024, "dissimilarity": -0.0914},
    "last-layers": {"constant": -0.1595, "relative": -0.0026, "pictures": -0.0723, "dissimilarity": -0.2943},
    "fine-tune": {"constant": -0.1241, "relative": 0.1165, "pictures": -0.1574, "dissimilarity": -0.4155},
}
# both with a pilot
PILOT_SPREAD = {"freeze": 0.123, "freeze-all": 0.222, "early-layers": 0.1, "last-layers": 0.473, "fine-tune": 0.682}
PILOT_COEFFICIENTS: dict[str, dict[str, float]] = {
    "early-layers": {"constant": -0.0095, "relative": 0.0007, "pictures": -0.0024, "dissimilarity": -0.0914},
    "last-layers": {
        "constant": -0.0178,
        "relative": -0.0026,
        "pictures": -0.0723,
        "dissimilarity": -0.2943,
        "pilot": 1.0,
    },
    "fine-tune": {"constant": 0.0115, "relative": 0.1165, "pictures": -0.1574, "dissimilarity": -0.4155, "pilot": 1.0},
}
