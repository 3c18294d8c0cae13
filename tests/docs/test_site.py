"""The site: built without warnings, whole without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

# what a browser loads by itself: not links that a reader follows
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|icon|preload)["']?[^>]*\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the site needs pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", ROOT / "mkdocs.yml", "-d", folder],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = [page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")]
    missing = [page for page in pages if not _made(site, page).is_file()]
    assert missing == []
    assert (site / "index.html").is_file()


def _made(site: Path, page: Path) -> Path:
    return site / (page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html"))


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    found = {page.name: LOADED.findall(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    assert {name: loaded for name, loaded in found.items() if loaded} == {}
    styles = [re.findall(r"url\([\"']?https?:|@import", sheet.read_text()) for sheet in site.rglob("*.css")]
    assert not any(styles)


def test_links_between_pages_lead_to_files(site: Path) -> None:
    wrong = []
    for page in site.rglob("*.html"):
        for link in re.findall(r'<a\b[^>]*\bhref="([^"#?:]+)(?:#[^"]*)?"', page.read_text(encoding="utf-8")):
            if page.name != "404.html" and not (page.parent / link).is_file():
                wrong.append((page.name, link))
    assert wrong == []


def test_what_would_be_loaded_is_found() -> None:
    assert LOADED.search('<script src="https://example.org/x.js"></script>')
    assert LOADED.search('<link rel="stylesheet" href="https://example.org/x.css">')
    assert not LOADED.search('<a href="https://example.org/">')
