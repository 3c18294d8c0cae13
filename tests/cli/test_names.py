"""Names of files and folders that are no Unicode: escaped in the same plain way in all that is written."""

from __future__ import annotations

import csv
import html
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import PLAIN_FREEZE, Ran

CLASSES, FILE, ESCAPED = (b"caf\xe9, one", b"b\xe9"), b"\xff\xe2\x82\xac", "\\udcff€"


@pytest.fixture(scope="module")
def images(garden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform != "linux":
        pytest.skip("names are Unicode here")
    place = tmp_path_factory.mktemp("names")
    for name, source in zip(CLASSES, sorted(garden.iterdir()), strict=False):
        folder = place / "images" / os.fsdecode(name)
        folder.mkdir(parents=True)
        for number, file in enumerate(sorted(source.iterdir())[:8]):
            shutil.copy(file, folder / os.fsdecode(FILE + str(number).encode() + b".png"))
    (place / "images" / os.fsdecode(CLASSES[0]) / os.fsdecode(FILE + b"x.png")).write_bytes(b"no image")
    return place / "images"


def test_names_that_are_no_unicode_are_escaped_alike(tlkit: Callable[..., Ran], images: Path) -> None:
    place = images.parent

    def done(*arguments: object) -> Ran:
        ran = tlkit(*arguments, cwd=place)
        assert ran.code == 0, ran.err
        assert "&#" not in ran.out + ran.err
        return ran

    ran = done("train", "images", *PLAIN_FREEZE, "--image-size", "64", "-o", "m.tlkit", "--json")
    assert "report could not be made" not in ran.err
    assert ran.json["report"]
    done("evaluate", "images", "-m", "m.tlkit", "--csv", "e.csv", "--report", "e.html")
    done("check", "images", "--no-suspects", "--report", "c.csv")
    done("embed", "images", "-o", "v.csv")
    done("embed", "images", "-o", "v.npz")
    done("recommend", "images", "--advisor", "rule", "--plan", "p.json", "--report", "r.html")
    (place / "p.csv").write_text(done("predict", "images", "-m", "m.tlkit").out, encoding="utf-8")
    for name, column in (("e.csv", "file"), ("v.csv", "file"), ("p.csv", "file"), ("c.csv", "file")):
        text = (place / name).read_text(encoding="utf-8")
        assert "&#" not in text, name
        files = [row[column] for row in csv.DictReader(text.splitlines())]
        assert any(ESCAPED in file for file in files), name
        assert any("caf\\udce9, one/" in file for file in files), name
    assert any(ESCAPED in file for file in np.load(place / "v.npz")["file"])
    for page in (place / "e.html", place / "r.html", place / "m.tlkit" / "report.html"):
        text = page.read_text(encoding="utf-8")
        assert "&#5" not in text
        assert ESCAPED in html.unescape(text) or page.name != "e.html"
    rows = [json.loads(line) for line in done("predict", "images", "-m", "m.tlkit", "--json").out.splitlines()]
    assert all((place / row["file"]).exists() for row in rows)  # JSON has a way to write them, and gives them back
