"""The page that training leaves: what it says, and that it says it in a browser without errors."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import Ran, Trained

from tlkit.evaluation.classes import figures
from tlkit.evaluation.metrics import exact, reliability
from tlkit.plan.plan import Plan
from tlkit.plan.recipe import make_recipe
from tlkit.report.sections import draw_sections
from tlkit.report.thumbnails import ExampleImage
from tlkit.report.training import TrainingStory, training_page

EVIL = "<script>alert(1)</script>"
PLAN = Plan("efficientnet-lite0", "imagenet", "freeze", 224, 0.2, "auto", 0, reasons=(EVIL,))
STORY = TrainingStory(
    name=EVIL,
    plan=PLAN,
    accuracies=("validation accuracy 80%",),
    evaluated_on="validation images",
    tuning=None,
    history=[{"step": 1, "c": 0.1, "cv_log_loss": 0.5}, {"step": 2, "c": 0.3, "cv_log_loss": 0.4}],
    calibration="confidence is as trained",
    promise=None,
    problems=(f"2 images could not be read: {EVIL}.jpg: truncated",),
    has_test=False,
    command="tlkit train x --plan x.tlkit/plan.json",
)
TUNED = {"steps": 30, "best_step": 20, "frozen_val_accuracy": 0.7}
LOOKS = [{"step": step, "val_accuracy": 0.7 + step / 200, "val_loss": 1 - step / 50} for step in (0, 10, 20, 30)]


def page(story: TrainingStory, hard: int | None = None) -> str:
    """Of 90 answers; images of the class ``hard`` are taken for class 0."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    values = rng.dirichlet(np.ones(3), 90)
    values[np.arange(90), labels] += 2
    if hard is not None:
        values[labels == hard] = [0.96, 0.02, 0.02]
    probabilities = exact(values)
    found = figures(probabilities, labels.tolist(), ["ant", "bee", EVIL]) | {"unknown_share": None}
    mistakes = (ExampleImage(f"{EVIL}.jpg", "", "bee", "ant", 0.96),) if hard is not None else ()
    return training_page(story, draw_sections(found, reliability(probabilities, labels), mistakes, ()))


def test_it_stands_alone_and_shows_names_as_text() -> None:
    text = page(STORY, hard=1)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 6
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    for drawing in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        ElementTree.fromstring(drawing)
    assert text.count("<svg") == 4
    assert STORY.command in text


def test_matplotlib_keeps_its_fonts_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    page(STORY)
    logging.getLogger("matplotlib.font_manager").warning("findfont: not found")
    assert not caplog.records


def test_what_to_do_next_follows_from_the_figures() -> None:
    hard = page(STORY, hard=1)
    assert "add images of bee: its recall is 0%" in hard
    assert "compare bee and ant, the most common mix-up" in hard
    assert "check the labels of the most confident mistakes" in hard
    assert "hold out test images" in hard
    easy = page(replace(STORY, has_test=True))
    for absent in ("add images of", "check the labels", "hold out test images", "most common mix-up"):
        assert absent not in easy


@pytest.mark.parametrize(("low", "said"), [(0.5, "within"), (0.999, "outside")])
def test_expected_against_reached(low: float, said: str) -> None:
    text = page(replace(STORY, plan=replace(PLAN, expected=(0.999, low, 1.0))), hard=1 if said == "outside" else None)
    assert f"100% (90% interval {100 * low:.0f} to 100%); the result is {said} the interval" in text
    assert ("below the prediction" in text) == (said == "outside")


def test_a_tuned_run_shows_its_curves_and_recipe() -> None:
    plan = replace(PLAN, strategy="fine-tune", recipe=make_recipe(100, learning_rate=1e-3))
    text = page(replace(STORY, plan=plan, tuning=TUNED, history=LOOKS))
    assert "Dotted: the best step" in text
    assert "learning rate 0.001" in text
    assert "Dotted" not in page(replace(STORY, plan=plan, tuning=TUNED, history=LOOKS[:1]))


def in_browser(file: Path, width: int, *, dump: bool = True) -> subprocess.CompletedProcess[str]:
    browser = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
    )
    if not browser:
        pytest.skip("no Chromium on this machine")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--window-size={width},900"]
    return subprocess.run(
        [browser, *options, *(["--dump-dom"] if dump else []), file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.mark.parametrize("width", [500, 1200])  # Chromium's windows are no narrower than 500 pixels
def test_a_browser_shows_it_without_errors_and_without_scrolling_sideways(
    trained: Trained, tmp_path: Path, width: int
) -> None:
    copy = tmp_path / "report.html"
    probe = (
        "<script>addEventListener('load', () => { document.title = 'wide ' + document.documentElement.scrollWidth"
        " + ' of ' + innerWidth + ', broken ' + [...document.images].filter(i => !i.naturalWidth).length; })</script>"
    )
    text = (trained.bundle / "report.html").read_text(encoding="utf-8").replace('loading="lazy"', "")
    copy.write_text(text.replace("</body>", f"{probe}</body>"), encoding="utf-8")
    ran = in_browser(copy, width)
    assert "CONSOLE" not in ran.stderr
    found = re.search(r"<title>wide (\d+) of (\d+), broken (\d+)</title>", ran.stdout)
    assert found is not None
    page_width, window, broken = map(int, found.groups())
    assert page_width <= window
    assert broken == 0


def test_the_sample_has_one(trained: Trained) -> None:
    text = (trained.bundle / "report.html").read_text(encoding="utf-8")
    assert "Classifier for garden" in text
    assert text.count("data:image/jpeg") >= 1
    assert "Grad-CAM" in text
    assert all(name in text for name in ("birds", "flowers", "fruit", "vegetables"))
    assert trained.result["report"].endswith("report.html")


def test_without_it_if_not_wanted(tlkit: Any, make_folder: Any, tmp_path: Path) -> None:
    folder = make_folder({"a": 4, "b": 4})
    ran: Ran = tlkit("train", folder, "--strategy", "freeze", "--no-report", "--image-size", 64, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["report"] is None
    assert not (tmp_path / "images.tlkit" / "report.html").exists()
