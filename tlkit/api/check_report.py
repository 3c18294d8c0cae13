"""Every finding of a check as CSV, or as a page with the images."""

from __future__ import annotations

from pathlib import Path

from tlkit.csvtext import line
from tlkit.images.check import Checked

PAGES = (".html", ".htm")


def check_report_name(path: Path) -> None:
    """Refuse a report that cannot be made here, before any work.

    Raises:
        TlkitError: It is a page, and what pages are made with is missing.
    """
    if path.suffix.lower() in PAGES:
        from tlkit.report.page import require_template

        require_template("--report FILE.html")


def report_text(result: Checked, path: Path, *, raw: bool = False) -> str:
    """Return the report: a page if its name ends in .html, else a line of CSV for each image of each finding.

    Args:
        result: What was found.
        path: Where it will be written.
        raw: Whether cells that begin like a formula stay as they are.
    """
    if path.suffix.lower() in PAGES:
        from tlkit.report.check import check_page

        return check_page(result, path.stem if result.root is None else result.root.name)
    rows = [
        (name, finding.kind, detail)
        for finding in result.findings()
        for name, detail in finding.rows or [("", finding.message)]
    ]
    return "".join(line(row, raw=raw) for row in [("file", "problem", "detail"), *rows])
