"""``tlkit review``: a page that is used by keyboard alone, decisions that survive, and what becomes of them."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chromium
import pytest
from conftest import Ran, Trained

import tlkit as package
from tlkit.api.review_state import Decision, Decisions, replayed
from tlkit.images.labelled import labelled_images

pytest.importorskip("starlette", reason="requires the extra 'serve'")
pytest.importorskip("uvicorn", reason="requires the extra 'serve'")
pytest.importorskip("prometheus_client", reason="requires the extra 'serve'")
PLANTED = 10
Tlkit = Callable[..., Ran]
with_chromium = pytest.mark.skipif(chromium.found() is None, reason="no Chromium is installed")


@pytest.fixture
def mislabelled(garden: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The sample with ten images in a wrong class; their files with the right class."""
    root = tmp_path / "photos"
    shutil.copytree(garden, root)
    names = sorted(each.name for each in root.iterdir())
    right = {}
    for number in range(PLANTED):
        name = names[number % len(names)]
        file = sorted((garden / name).iterdir())[number]
        wrong = names[(number + 1) % len(names)]
        (root / name / file.name).rename(root / wrong / f"planted-{file.name}")
        right[f"{wrong}/planted-{file.name}"] = name
    return root, right


@contextmanager
def reviewing(images: Path, model: Path, folder: Path, **options: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """A review in a thread; its address, and what it returned once it has ended."""
    ready, result = threading.Event(), {}

    def started(url: str) -> None:
        result["url"] = url
        ready.set()

    def run() -> None:
        try:
            result["applied"] = package.review(
                images,
                model,
                decisions=folder / "decisions.jsonl",
                **{"output": folder / "labels.csv", **options},
                browser=False,
                started=started,
            )
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(120)
    yield result["url"], result
    thread.join(20)
    assert not thread.is_alive(), "the page ends the review"


@pytest.fixture(scope="module")
def tab() -> Iterator[chromium.Chromium]:
    with chromium.Chromium() as opened:
        yield opened


def press(tab: chromium.Chromium, key: str) -> None:
    text = {"text": key} if len(key) == 1 else {}
    tab.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
    tab.call("Input.dispatchKeyEvent", type="keyUp", key=key)


def open_page(tab: chromium.Chromium, url: str) -> None:
    tab.open("about:blank")
    tab.open(url)
    tab.wait_for("state?.items.length && document.getElementById('image').naturalWidth > 0")


def violations(tab: chromium.Chromium) -> list[tuple[str, str]]:
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        return []
    tab.evaluate((Path(spec.origin).parent / "axe.min.js").read_text())
    found = tab.evaluate("axe.run().then((its) => its.violations)")
    return [(each["id"], each["impact"]) for each in found]


@with_chromium
def test_ten_labels_by_keyboard_alone_applied_and_undone(
    tab: chromium.Chromium, trained: Trained, mislabelled: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    images, right = mislabelled
    before = {file.relative_to(images).as_posix() for file in images.rglob("*.png")}
    with reviewing(images, trained.bundle, tmp_path, every=True) as (url, result):
        open_page(tab, url)
        classes = tab.evaluate("state.classes")
        shown = tab.evaluate("state.items.map((item) => item.file)")
        assert len(set(right) & set(shown[: PLANTED + 2])) >= PLANTED - 2, "most of them come first"
        shown = shown[: 1 + max(map(shown.index, right))]
        for scheme in ("light", "dark"):
            tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            assert violations(tab) == []
        press(tab, "e")
        tab.wait_for("document.getElementById('seen').naturalWidth > 0")
        for file in shown:
            press(tab, str(classes.index(right[file]) + 1) if file in right else "s")
        changed = f"document.getElementById('counts').textContent.startsWith('{PLANTED} to relabel, 0 to exclude')"
        tab.wait_for(changed)
        press(tab, "x")
        tab.wait_for("document.getElementById('counts').textContent.includes(' 1 to exclude')")
        press(tab, "u")
        tab.wait_for(changed)
        assert not (tmp_path / "labels.csv").exists()
        tab.open("about:blank")  # a closed tab loses nothing
        open_page(tab, url)
        tab.wait_for(changed)
        press(tab, "a")
        tab.wait_for("document.getElementById('status').textContent.startsWith('Applied: 10 relabelled')")
        table = labelled_images(tmp_path / "labels.csv")
        told = {
            path.relative_to(images).as_posix(): table.classes[label]
            for path, label in zip(table.paths, table.labels, strict=True)
        }
        assert set(told) == before
        assert {file: told[file] for file in right} == right
        press(tab, "u")
        tab.wait_for("document.getElementById('status').textContent.startsWith('Taken back')")
        assert not (tmp_path / "labels.csv").exists()
        press(tab, "a")
        tab.wait_for("state.applied")
        press(tab, "d")
        tab.wait_for("document.getElementById('status').textContent.startsWith('The review has ended')")
        assert {each for each in tab.requests() if each.startswith("http") and "//127.0.0.1:" not in each} == set()
        assert not [each for each in tab.events if each["method"] == "Runtime.exceptionThrown"]
    assert result["applied"].relabelled == PLANTED
    assert {file.relative_to(images).as_posix() for file in images.rglob("*.png")} == before


def decided(path: Path, images: Path, **labels: str) -> Path:
    """A file of decisions; "" excludes."""
    with Decisions(path, images.name) as made:
        for file, label in labels.items():
            made.add(Decision(f"{file.replace('__', '/')}.png", "label" if label else "exclude", label))
    return path


def test_decisions_are_applied_without_a_page_and_moved_files_come_back(
    tlkit: Tlkit, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    images = make_folder({"a": 3, "b": 3})
    before = {file: file.read_bytes() for file in images.rglob("*.png")}
    notes = decided(tmp_path / "d.jsonl", images, a__0="b", b__1="", b__2="b")
    ran = tlkit("review", images, "--decisions", notes, "--apply", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json | {"output": ""} == {
        "relabelled": 1,
        "excluded": 1,
        "kept": 4,
        "conflicts": [],
        "output": "",
        "journals": [],
        "stayed": [],
    }
    with (tmp_path / ran.json["output"]).open() as file:
        assert [tuple(row.values()) for row in csv.DictReader(file)] == [
            ("images/a/0.png", "b"),
            ("images/a/1.png", "a"),
            ("images/a/2.png", "a"),
            ("images/b/0.png", "b"),
            ("images/b/2.png", "b"),
        ]
    assert tlkit("check", tmp_path / ran.json["output"], "--no-suspects", "--json").json["classes"] == {"a": 2, "b": 3}
    moved = tlkit("review", images, "--decisions", notes, "--apply", "--move", "--json", cwd=tmp_path)
    assert moved.code == 0, moved.err
    assert sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.png")) == [
        *("images-excluded/b/1.png", "images/a/1.png", "images/a/2.png"),
        *("images/b/0-2.png", "images/b/0.png", "images/b/2.png"),
    ]
    for journal in moved.json["journals"]:
        assert tlkit("undo", journal).code == 0
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.png")} == before


def test_another_persons_work_is_merged_and_conflicts_are_named(
    tlkit: Tlkit, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    images = make_folder({"a": 3, "b": 3})
    notes = decided(tmp_path / "mine.jsonl", images, a__0="b", a__1="")
    other = decided(tmp_path / "theirs.jsonl", images, a__0="a", b__0="a", a__1="")
    options = ("--decisions", notes, "--with", other, "--apply", "--json")
    ran = tlkit("review", images, *options, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["conflicts"] == ["a/0.png"]
    assert (ran.json["relabelled"], ran.json["excluded"]) == (1, 1)
    assert "conflict: a/0.png: here says b, theirs.jsonl says a" in ran.err
    again = tlkit("review", images, *options, cwd=tmp_path)
    assert "theirs.jsonl was merged before" in again.err
    with Decisions(notes, "images") as made:
        made.add(Decision("a/0.png", "label", "b"))
    assert tlkit("review", images, *options, cwd=tmp_path).json["conflicts"] == []
    table = tmp_path / "images-labels.csv"
    third = tlkit("review", images, "--decisions", "new.jsonl", "--with", table, "--apply", "--json", cwd=tmp_path)
    assert (third.json["relabelled"], third.json["excluded"]) == (1, 1), third.err


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path: Path) -> None:
    notes = decided(tmp_path / "d.jsonl", tmp_path, a__0="b", a__1="b")
    whole = notes.read_bytes()
    notes.write_bytes(whole[:-7])
    assert [each.file for each in replayed(notes)[1]] == ["a/0.png"]
    with Decisions(notes, tmp_path.name) as made:
        made.add(Decision("a/2.png", "exclude"))
        assert made.undo() == Decision("a/2.png", "exclude")
        made.add(Decision("a/2.png", "skip"))
    assert [(each.file, each.what) for each in replayed(notes)[1]] == [("a/0.png", "label"), ("a/2.png", "skip")]


def test_mistakes_are_one_line(tlkit: Tlkit, make_folder: Callable[..., Path], tmp_path: Path) -> None:
    images = make_folder({"a": 2, "b": 2})
    (tmp_path / "x.jsonl").write_text("[]\n")
    (tmp_path / "t.csv").write_text("file,label\nimages/a/0.png,a\nimages/b/0.png,b\n")
    decided(tmp_path / "other.jsonl", tmp_path / "elsewhere", a__0="b")
    (tmp_path / "taken.csv").write_text("mine")
    for arguments, message in (
        (["nothing"], "no such folder"),
        ([images, "--decisions", "x.jsonl"], "not a file of decisions: x.jsonl"),
        ([images, "--decisions", "other.jsonl"], "other.jsonl has decisions on other images: elsewhere"),
        ([images, "--decisions", images / "d.jsonl"], "inside the image folder"),
        ([images, "--output", "taken.csv"], "output exists: taken.csv"),
        ([images, "--output", images / "l.csv"], "inside the image folder"),
        ([images, "--with", "none.csv"], "no such file: none.csv"),
        ([images, "--move", "--output", "l.csv"], "--output does not apply to --move"),
        (["t.csv", "--move"], "--move requires class folders"),
        ([images, "--model", "none.tlkit"], "no such bundle: none.tlkit"),
    ):
        ran = tlkit("review", *arguments, "--apply", "--no-browser", cwd=tmp_path)
        assert ran.code == 2, (arguments, ran)
        assert message in ran.err, ran.err
        assert "Traceback" not in ran.err


def test_who_does_not_know_the_token_sees_nothing(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("httpx2", reason="requires httpx2")
    from starlette.testclient import TestClient

    from tlkit.images.folder import scan
    from tlkit.serve.options import ServeOptions
    from tlkit.serve.review_page import Review
    from tlkit.serve.review_server import make_app

    folder = scan(make_folder({"a": 2, "b": 2}))
    with Decisions(tmp_path / "d.jsonl", "images") as made:
        app = make_app(Review(folder, [], made, tmp_path / "l.csv", None), ServeOptions(token="a" * 32))
        client = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
        assert client.get("/").status_code == 200
        for path in ("/items", "/image?file=a/0.png"):
            assert client.get(path).status_code == 401
        for path in ("/decide", "/undo", "/apply", "/done"):
            assert client.post(path, content=b"{}").status_code == 401
        client.headers["Authorization"] = f"Bearer {'a' * 32}"
        assert client.get("/items").json()["classes"] == ["a", "b"]
        assert client.get("/image", params={"file": "a/0.png"}).headers["content-type"] == "image/jpeg"
        for file in ("../conftest.py", os.fspath(Path(__file__)), "a/none.png", ""):
            assert client.get("/image", params={"file": file}).status_code == 404
        for body in (
            b"",
            b"[]",
            b"{}",
            b'{"file": 1}',
            json.dumps({"file": "a/0.png", "what": "label", "label": "c"}).encode(),
        ):
            assert client.post("/decide", content=body).status_code in (400, 422)
        assert client.post("/decide", content=b"x" * 100_000).status_code == 413
        assert not (tmp_path / "d.jsonl").exists()
        assert client.post("/decide", json={"file": "a/0.png", "what": "label", "label": "b"}).status_code == 200
        assert client.post("/apply").json()["relabelled"] == 1
        assert client.post("/apply").status_code == 422
        assert client.post("/undo").status_code == 200
        assert not (tmp_path / "l.csv").exists()
