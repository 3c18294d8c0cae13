"""The page of ``tlkit serve`` in a real browser."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chromium
import pytest
from conftest import COMMAND, Trained
from PIL import Image

import tlkit

pytest.importorskip("starlette", reason="requires the extra 'serve'")
pytest.importorskip("uvicorn", reason="requires the extra 'serve'")
pytestmark = pytest.mark.skipif(chromium.found() is None, reason="no Chromium is installed")
TOKEN = "a-token-of-thirty-two-characters"


@contextmanager
def running(*arguments: object, **variables: str) -> Iterator[str]:
    """Run the installed ``tlkit serve``; the address of its page."""
    command = [str(COMMAND), "serve", *map(str, arguments), "--port", "0", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **variables}
    )
    assert process.stdout is not None
    try:
        with process.stdout:
            yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def address(trained: Trained) -> Iterator[str]:
    with running(trained.bundle) as url:
        yield url


@pytest.fixture(scope="module")
def tab() -> Iterator[chromium.Chromium]:
    with chromium.Chromium() as opened:
        yield opened


@pytest.fixture
def page(tab: chromium.Chromium, address: str) -> chromium.Chromium:
    tab.open(address)
    wait(tab, "Ready.")
    return tab


def wait(tab: chromium.Chromium, status: str) -> None:
    tab.wait_for(f"document.getElementById('status').textContent.startsWith({json.dumps(status)})")


def results(tab: chromium.Chromium) -> list[str]:
    """The text of every result, in the order in which the images were given."""
    found: list[str] = tab.evaluate("[...document.querySelectorAll('.result')].reverse().map((each) => each.innerText)")
    return found


def test_one_image_gets_the_label_of_predict(page: chromium.Chromium, trained: Trained, unseen: Path) -> None:
    file = unseen / "birds-magpie.png"
    (row,) = tlkit.predict(file, trained.bundle)
    page.choose("#files", [file])
    wait(page, f"{file.name}: {row.label}, {row.probability:.1%}")
    (text,) = results(page)
    assert text.startswith(f"{row.label} ({row.probability:.1%})")
    page.wait_for("document.querySelector('.result canvas').width > 0")
    page.evaluate("document.querySelector('.why').click()")
    page.wait_for("document.querySelector('.seen')?.naturalWidth")
    assert "birds" in page.evaluate("document.querySelector('.seen').alt")
    foreign = {each for each in page.requests() if each.startswith("http") and "//127.0.0.1:" not in each}
    assert not foreign
    assert not [each for each in page.events if each["method"] == "Runtime.exceptionThrown"]


def test_many_at_once_and_a_file_that_is_no_image(page: chromium.Chromium, trained: Trained, tmp_path: Path) -> None:
    files = []
    for number in range(20):
        files.append(tmp_path / f"={number}.png")
        Image.new("RGB", (64, 48), (number * 12, 80, 255 - number * 12)).save(files[-1])
    (tmp_path / "note.jpg").write_text("no image")
    page.choose("#files", [*files, tmp_path / "note.jpg"])
    wait(page, "Done: 21 images.")
    rows = tlkit.predict(files, trained.bundle)
    for row, text in zip(rows, results(page), strict=False):
        assert text.startswith(f"{row.label} ({row.probability:.1%})\n\n{Path(row.file).name}")
        assert ("Unknown?" in text) == row.unknown
    assert results(page)[-1].startswith("No result\n\nnote.jpg\n\nThe image cannot be read: ")
    saved = list(csv.DictReader(io.StringIO(page.evaluate("csv()"))))
    assert [each["label"] for each in saved] == [*(row.label for row in rows), ""]
    assert saved[0]["file"] == "'=0.png", "no cell is a formula"
    assert saved[-1]["error"].startswith("The image cannot be read: ")
    page.evaluate("document.getElementById('clear').click()")
    assert results(page) == []


def test_images_can_be_dropped(page: chromium.Chromium, unseen: Path) -> None:
    page.evaluate(
        """
        (async () => {
          const canvas = new OffscreenCanvas(64, 64);
          canvas.getContext("2d").fillRect(8, 8, 30, 30);
          const transfer = new DataTransfer();
          transfer.items.add(new File([await canvas.convertToBlob()], "<img src=x onerror=alert(1)>.png"));
          dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
        })()
        """
    )
    wait(page, "<img src=x onerror=alert(1)>.png: ")
    assert page.evaluate("document.querySelectorAll('.result img').length") == 0
    page.evaluate("dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer(), cancelable: true }))")
    wait(page, "Only image files can be dropped here")


def test_the_page_asks_for_the_token(tab: chromium.Chromium, trained: Trained, unseen: Path) -> None:
    with running(trained.bundle, TLKIT_TOKEN=TOKEN) as url:
        tab.open(url)
        tab.wait_for("!document.getElementById('login').hidden")
        send = "document.getElementById('token').value = {}; document.getElementById('login').requestSubmit()"
        tab.evaluate(send.format("'wrong'"))
        wait(tab, "The token is wrong.")
        tab.evaluate(send.format(json.dumps(TOKEN)))
        wait(tab, "Ready.")
        tab.choose("#files", [unseen / "birds-magpie.png"])
        wait(tab, "birds-magpie.png: birds")
        tab.evaluate("document.getElementById('logout').click()")
        tab.wait_for("!document.getElementById('login')?.hidden && !document.querySelector('.result')")


def test_several_bundles_can_be_chosen(tab: chromium.Chromium, trained: Trained, unseen: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tlkit"
    shutil.copytree(trained.bundle, other)
    with running(trained.bundle, other) as url:
        tab.open(url)
        wait(tab, "Ready.")
        tab.evaluate(
            "const s = document.getElementById('model'); s.value = 'other'; s.dispatchEvent(new Event('change'))"
        )
        assert tab.evaluate("document.title") == "other"
        tab.choose("#files", [unseen / "birds-magpie.png"])
        wait(tab, "birds-magpie.png: birds")
        assert any("model=other" in each for each in tab.requests())


@pytest.mark.skipif(importlib.util.find_spec("axe_core_python") is None, reason="requires axe-core-python")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screen_readers_and_keyboards_can_use_it(page: chromium.Chromium, unseen: Path, scheme: str) -> None:
    spec = importlib.util.find_spec("axe_core_python")
    assert spec is not None
    assert spec.origin is not None
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.choose("#files", [unseen / "birds-magpie.png"])
    wait(page, "birds-magpie.png: birds")
    page.evaluate((Path(spec.origin).parent / "axe.min.js").read_text())
    found: list[dict[str, Any]] = page.evaluate("axe.run().then((its) => its.violations)")
    assert [(each["id"], each["impact"]) for each in found] == []
