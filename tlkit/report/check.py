"""The page of ``check --report``: what was found, with the images side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.report.page import render
from tlkit.report.thumbnails import thumbnail
from tlkit.version import VERSION
from tlkit.words import plural

if TYPE_CHECKING:
    from tlkit.images.checked import Checked, Finding

MAX_ROWS = 40  # rows with images for each kind of problem; further ones are only named
MAX_COPIES = 6  # images of one group
MAX_NAMED = 500  # rows of a kind that are named at all
SHOWN = {
    *("leaks", "conflicts", "duplicates", "near_duplicates", "suspects"),
    *("dark", "overexposed", "blurry", "low_information", "extreme", "tiny"),
}
"""Kinds of problems that are seen in the images."""


@dataclass(frozen=True)
class Shown:
    """One row of a problem.

    Attributes:
        images: (file, data URI) of the images side by side; the URI is empty if the image cannot be read.
        detail: What is wrong with it.
    """

    images: tuple[tuple[str, str], ...]
    detail: str


def check_page(result: Checked, name: str) -> str:
    """Render the page.

    Args:
        result: What was found; its root says where the files are.
        name: Name of the images' folder.
    """
    groups = {group[0]: group for group in result.copies}
    kinds = []
    for finding in result.findings():
        rows = [_shown(finding, row, groups, result.root) for row in finding.rows[:MAX_ROWS]]
        named = finding.rows[MAX_ROWS:MAX_NAMED]
        kinds.append((finding, rows, named, max(0, len(finding.rows) - MAX_NAMED)))
    counted = f"{plural(result.images, 'file')} in {plural(len(result.classes), 'class', 'classes')}"
    count = len(kinds)
    verdict = f"{plural(count, 'kind')} of problems, worst first" if count else "No problems found"
    return render(
        "check.html", name=name, counted=counted, verdict=verdict, kinds=kinds, by=result.suspects_by, version=VERSION
    )


def _shown(finding: Finding, row: tuple[str, str], groups: dict[str, list[str]], root: Path | None) -> Shown:
    file, detail = row
    if root is None or finding.kind not in SHOWN:
        return Shown(((file, ""),), detail)
    files = groups.get(file, [file])[:MAX_COPIES] if detail.startswith("copies: ") else [file]
    return Shown(tuple((each, thumbnail(root / each)) for each in files), detail)
