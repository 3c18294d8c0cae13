"""The page of an evaluation: what it shows, and that nothing a user named becomes markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tlkit.evaluation.classes import figures
from tlkit.evaluation.examples import most_doubtful, worst_mistakes
from tlkit.evaluation.metrics import exact, reliability
from tlkit.report.evaluation import evaluation_page
from tlkit.report.sections import draw_sections
from tlkit.report.thumbnails import SIDE, ExampleImage, thumbnail

EVIL = "<script>alert(1)</script>"


def found(
    names: tuple[str, ...], trained: int = 0, skipped: bool = False
) -> tuple[dict[str, Any], np.ndarray, list[int]]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(names), 90).tolist()
    values = rng.dirichlet(np.ones(len(names)), 90)
    values[np.arange(90), labels] += 0.5
    probabilities = exact(values)
    document = {
        **figures(probabilities, labels, names),
        "model": "m.tlkit",
        "split": "all",
        "unknown_share": 0.05,
        "used_in_training": {"train": trained, "val": 0, "test": 0},
        "promise": None,
        "background": None,
        "warnings": [f"{trained} images used in training"] if trained else [],
        "skipped": [{"file": f"{EVIL}.jpg", "error": "truncated"}] if skipped else [],
    }
    return document, probabilities, labels


def page(names: tuple[str, ...], shown: tuple[ExampleImage, ...] = (), **options: Any) -> str:
    document, probabilities, labels = found(names, **options)
    sections = draw_sections(document, reliability(probabilities, labels), shown, shown[:1], located=bool(shown))
    return evaluation_page(document, sections, "set", "tlkit evaluate set")


@pytest.mark.parametrize("classes", [2, 12, 200])
def test_it_stands_alone_and_its_drawings_are_well_formed(classes: int) -> None:
    text = page(tuple(f"class {number}" for number in range(classes)))
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "@import" not in text
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == (3 if classes <= 60 else 1)
    for drawing in drawings:
        ElementTree.fromstring(drawing)
    assert all(f"class {number}</td>" in text for number in range(classes))
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_names_are_shown_as_text() -> None:
    shown = (ExampleImage(f"{EVIL}.jpg", "", EVIL, "b$x_1$", 0.9),)
    text = page((EVIL, "b$x_1$", "ok"), shown, skipped=True)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 5
    assert "b$x_1$" in text


def test_the_verdict_does_not_promise_what_was_learnt_by_heart() -> None:
    assert "Right on about" in page(("a", "b"))
    learnt = page(("a", "b"), trained=40)
    assert "40 images used in training" in learnt
    assert "Right on" not in learnt
    assert "evaluate on images that were not used in training" in learnt


def test_it_ends_in_something_to_do() -> None:
    assert re.search(r"Do now:.*<li>", page(("a", "b")), flags=re.DOTALL)


def test_which_images_are_shown() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.55, 0.45], [1.0, 0.0]])
    assert worst_mistakes(probabilities, [1, 0, 0, 0, 0], 5) == [0, 2, 1]
    assert worst_mistakes(probabilities, [1, 0, 0, 0, 0], 1) == [0]
    assert most_doubtful(probabilities, [1, 0, 0, 0, 0], 5) == [3]  # the last is right beyond doubt
    assert most_doubtful(probabilities, [1, 0, 0, 0, 0], 5, max_margin=1.0) == [3, 4]
    assert worst_mistakes(probabilities, [0, 1, 1, 0, 0], 5) == []


def test_thumbnails_are_small_upright_and_none_where_unreadable(tmp_path: Path) -> None:
    import base64
    import io

    wide = tmp_path / "wide.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (800, 400), (200, 30, 30)).save(wide, exif=exif)
    uri = thumbnail(wide)
    assert uri.startswith("data:image/jpeg;base64,")
    small = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert small.size == (SIDE // 2, SIDE)
    Image.new("RGB", (800, 400), (120, 120, 120)).save(wide, exif=exif)
    both = thumbnail(wide, np.array([[0.0, 1.0]]))  # the right one shows where
    pair = np.asarray(Image.open(io.BytesIO(base64.b64decode(both.split(",")[1])))).astype(int)
    assert pair.shape == (SIDE, SIDE, 3)
    assert abs(pair[:, : SIDE // 2 - 4] - 120).max() < 12
    assert abs(pair[SIDE // 2, SIDE // 2 + 4] - pair[SIDE // 2, -4]).max() > 30
    (tmp_path / "no.jpg").write_text("no image")
    assert thumbnail(tmp_path / "no.jpg") == ""
    assert thumbnail(tmp_path / "gone.jpg") == ""
