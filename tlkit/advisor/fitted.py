"""What the advisor's rule was fitted to: all its numbers. Written by benchmarks/advisor_fit.py."""

PRIOR_IMAGES, PRIOR_ERROR = 5.0, 0.3  # thought measured beside the real ones
MARGIN = 0.005  # accuracy that a cheaper strategy may be expected to lack and still be advised
QUANTILE = 1.645  # of the normal distribution, for 90% intervals
# by strategy: deviation of the logarithm of the error from what is expected
SPREAD = {"freeze": 0.127, "freeze-all": 0.194, "early-layers": 0.292, "last-layers": 0.402, "fine-tune": 0.571}
# by strategy and input (`tlkit.advisor.expect.inputs_of`): logarithm of the share of errors left
COEFFICIENTS: dict[str, dict[str, float]] = {
    "early-layers": {"constant": -0.1267, "relative": -0.1124, "images": -0.0455, "dissimilarity": -0.1236},
    "last-layers": {"constant": -0.1503, "relative": -0.0082, "images": -0.0707, "dissimilarity": -0.2972},
    "fine-tune": {"constant": -0.0867, "relative": 0.1265, "images": -0.1459, "dissimilarity": -0.4548},
}
# both with a pilot
PILOT_SPREAD = {"freeze": 0.1, "freeze-all": 0.156, "early-layers": 0.347, "last-layers": 0.465, "fine-tune": 0.676}
PILOT_COEFFICIENTS: dict[str, dict[str, float]] = {
    "early-layers": {"constant": -0.1267, "relative": -0.1124, "images": -0.0455, "dissimilarity": -0.1236},
    "last-layers": {
        "constant": -0.0397,
        "relative": -0.0082,
        "images": -0.0707,
        "dissimilarity": -0.2972,
        "pilot": 0.6426,
    },
    "fine-tune": {
        "constant": 0.0325,
        "relative": 0.1265,
        "images": -0.1459,
        "dissimilarity": -0.4548,
        "pilot": 0.6426,
    },
}
