"""What the advisor's rule was fitted to: all its numbers. Written by benchmarks/advisor_fit.py."""

LEAST_ERROR = 0.005  # below which errors are not told apart
MARGIN = 0.005  # accuracy that a cheaper strategy may be expected to lack and still be advised
QUANTILE = 1.645  # of the normal distribution, for 90% intervals
SPREAD: dict[str, float] = {}
COEFFICIENTS: dict[str, dict[str, float]] = {}
