"""The Python of docs/deploy.md, run as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Ran, Trained
from PIL import Image

import tlkit as api

SECTION = re.compile(r"^## (?P<title>.+?)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def snippets(title: str) -> list[str]:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (found,) = [PYTHON.findall(each["text"]) for each in SECTION.finditer(page) if each["title"] == title]
    assert found
    return found


@pytest.fixture(scope="module")
def place(tlkit: Callable[..., Ran], trained: Trained, unseen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``photo.jpg`` and, in ``phone``, the sample's bundle as the page says it is exported."""
    folder = tmp_path_factory.mktemp("deploy")
    Image.open(unseen / "birds-magpie.png").convert("RGB").save(folder / "photo.jpg", quality=95)
    ran = tlkit("export", "--model", trained.bundle, "--format", "litert", "--output", "phone", cwd=folder)
    assert ran.code == 0, ran.err
    return folder


def run(code: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(folder)
    capsys.readouterr()
    exec(compile(code, "docs/deploy.md", "exec"), {})
    return capsys.readouterr().out.splitlines()


def test_litert_alone_answers_like_predict(
    place: Path, trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = snippets("Python with LiteRT only")
    (line,) = run(code, place, capsys, monkeypatch)
    (wanted,) = api.predict(place / "photo.jpg", model=trained.bundle)
    label, probability = line.rsplit(" ", 1)
    assert label == wanted.label
    assert float(probability) == pytest.approx(wanted.probability, abs=0.001)


def test_mediapipe_names_the_class(
    place: Path, trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mediapipe")
    (code,) = snippets("Android with MediaPipe")
    lines = run(code, place, capsys, monkeypatch)
    (wanted,) = api.predict(place / "photo.jpg", model=trained.bundle)
    assert len(lines) == 3
    assert lines[0].rsplit(" ", 1)[0] == wanted.label
