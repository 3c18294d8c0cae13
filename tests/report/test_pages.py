from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tlkit.errors import TlkitError
from tlkit.files import ImagePlaces, check_free, write_new
from tlkit.report.advice import advice_page
from tlkit.report.page import render
from tlkit.report.plots import ACCENT, FAINT, interval_bars
from tlkit.words import duration

NASTY = '<script>alert("x")</script> & co'


def advice(known: bool = True) -> dict[str, Any]:
    """What `tlkit recommend --json` prints, as far as the page needs it."""
    figures = (0.9, 0.85, 0.94) if known else (None, None, None)
    rows = [
        {
            "strategy": name,
            **dict(zip(("accuracy", "low", "high"), figures, strict=True)),
            "seconds": 5000.0,
            "measured": name == "freeze",
        }
        for name in ("freeze", "fine-tune")
    ]
    return {
        "strategy": "fine-tune",
        "backbone": "efficientnet-lite0",
        "expected": rows,
        "frozen": [
            {
                "backbone": NASTY,
                "input_size": 288,
                "features": "all",
                "cost": 1.65,
                "images": 80,
                "accuracy": 0.8,
                "log_loss": 0.5,
                "chosen": True,
            }
        ],
        "groups": None,
        "reasons": [f"because of {NASTY}", "size: small"],
        "measured": {"images": 120, "quarter": 0.7, "half": 0.8, "last": 0.85, "chance": 0.3} if known else None,
        "more_pictures": {"why": f"begin with {NASTY}", "accuracy": 0.88} if known else None,
        "similarity": {"score": 0.4, "level": "in between", "evidence": ["reminds of lemons"]},
        "dataset": {"images": 120, "classes": 4},
    }


class Elements(HTMLParser):
    """Every element's name and attributes, and whether all that were opened are closed."""

    VOID = ("meta", "br", "img", "link", "use", "path")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("known", [True, False])
def test_the_page_is_whole_self_contained_and_escaped(known: bool) -> None:
    page = advice_page(advice(known), NASTY, "tlkit train 'a b'")
    elements = Elements(page)
    assert elements.open == []
    names = [name for name, _ in elements.found]
    assert "script" not in names
    assert names.count("svg") == (2 if known else 0)
    assert page.count("&lt;script&gt;") >= 3
    for _, attributes in elements.found:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"@import|url\((?!#)", page)
    assert "tlkit train &#39;a b&#39;" in page
    assert ("90.0%" in page) == known
    assert ("unknown" in page) != known


def test_drawings_on_a_page_share_no_id_and_refer_to_their_own() -> None:
    drawings = [str(interval_bars(["a", "b"], [0.5, share], [0.4, 0.1], [0.6, 0.9], 0)) for share in (0.2, 0.3)]
    ids = [re.findall(r' id="([^"]*)"', each) for each in drawings]
    assert len(set(ids[0] + ids[1])) == len(ids[0] + ids[1]) > 0
    for drawing, its in zip(drawings, ids, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', drawing)) == set(its)


def test_plots_take_the_pages_colours_and_do_not_change() -> None:
    one, two = (advice_page(advice(), "name", "command") for _ in range(2))
    assert one == two
    assert "currentColor" in one
    assert "#010203" not in one


@pytest.mark.parametrize("chosen", [0, 1])
def test_one_bar_is_in_colour(chosen: int) -> None:
    drawn = interval_bars(["first", "second"], [0.5, 0.9], [0.4, 0.8], [0.6, 1.0], chosen=chosen)
    found = re.findall(f"fill: ({ACCENT}|{FAINT})", drawn)
    assert found == [ACCENT if i == chosen else FAINT for i in range(2)]
    assert drawn.index(">first<") < drawn.index(">second<")


def test_a_missing_value_is_an_error_not_a_gap() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render("advice.html", name="x")


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_reports_never_overwrite_nor_lie_among_the_images(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "a").mkdir(parents=True)
    there = tmp_path / "there.html"
    there.write_text("mine")
    check_free(tmp_path / "new.html", ImagePlaces((images,)))
    for path, message in (
        (there, "exists"),
        (tmp_path / "no" / "x.html", "no such folder"),
        (images / "a" / "x.html", "inside the image folder"),
    ):
        with pytest.raises(TlkitError, match=message):
            check_free(path, ImagePlaces((images,)))
    with pytest.raises(TlkitError, match="cannot write"):
        write_new(there, "other")
    assert there.read_text() == "mine"
    write_new(tmp_path / "new.html", "\ud800 odd")
    assert "odd" in (tmp_path / "new.html").read_text()
