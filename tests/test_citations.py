"""Every script and document that is cited is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CITED = re.compile(r"\b(?:benchmarks|docs)/[\w./-]*?\w\.(?:py|md|jsonl|png)\b")
CITING = [
    *ROOT.glob("*.md"),
    *(file for folder in ("tlkit", "docs", "benchmarks") for file in (ROOT / folder).rglob("*.py")),
    *(file for folder in ("docs", "benchmarks") for file in (ROOT / folder).rglob("*.md")),
]


@pytest.mark.parametrize("file", CITING, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_what_is_cited_is_there(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert [cited for cited in sorted(set(CITED.findall(text))) if not (ROOT / cited).is_file()] == []


def test_citations_are_found() -> None:
    """Or the test above would hold of anything."""
    cited = {each for file in CITING for each in CITED.findall(file.read_text(encoding="utf-8"))}
    assert len(cited) > 10
