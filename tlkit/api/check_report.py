"""Every finding of a check as CSV."""

from __future__ import annotations

from tlkit.csvtext import line
from tlkit.images.check import Checked


def report_text(result: Checked, *, raw: bool = False) -> str:
    """Return a line for each image of each finding.

    Args:
        result: What was found.
        raw: Whether cells that begin like a formula stay as they are.
    """
    rows = [
        (name, finding.kind, detail)
        for finding in result.findings()
        for name, detail in finding.rows or [("", finding.message)]
    ]
    return "".join(line(row, raw=raw) for row in [("file", "problem", "detail"), *rows])
