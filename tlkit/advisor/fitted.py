"""What the advisor's rule was fitted to: all its numbers. Written by benchmarks/advisor_fit.py."""

PRIOR_PICTURES, PRIOR_ERROR = 5.0, 0.3  # pictures that are thought measured beside the real ones, and their error
MARGIN = 0.005  # accuracy that a cheaper strategy may be expected to lack and still be advised
QUANTILE = 1.645  # of the normal distribution, for 90% intervals
SPREAD: dict[str, float] = {}
COEFFICIENTS: dict[str, dict[str, float]] = {}
