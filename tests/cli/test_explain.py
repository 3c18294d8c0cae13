"""``tlkit explain`` as a user runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran, Trained
from PIL import Image

from tlkit.api.explain import explain
from tlkit.errors import TlkitError
from tlkit.progress import Advance, SilentProgress

Tlkit = Callable[..., Ran]


def test_drawings_of_every_image_and_a_sheet(
    tlkit: Tlkit, trained: Trained, garden: Path, unseen: Path, tmp_path: Path
) -> None:
    before = sorted(unseen.rglob("*"))
    (tmp_path / "no.jpg").write_text("no image")
    ran = tlkit("explain", unseen, "no.jpg", "-m", trained.bundle, "--feature-maps", "stage2", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    rows = ran.json
    assert len(rows) == 9
    assert (rows[-1]["overlay"], rows[-1]["label"]) == (None, None)
    assert rows[-1]["error"]
    predicted = tlkit("predict", unseen, "-m", trained.bundle, "--json").lines
    for row, said in zip(rows, predicted, strict=False):
        assert (row["file"], row["label"]) == (said["file"], said["label"])
        with Image.open(row["overlay"]) as drawn, Image.open(row["file"]) as image:
            assert drawn.size == image.size
        assert Path(row["maps"]).is_file()
    assert (tmp_path / "explained" / "contact-sheet.png").is_file()
    assert sorted(unseen.rglob("*")) == before
    assert {row["truth"] for row in rows} == {None}
    one = tlkit("explain", unseen / "birds-magpie.png", "-m", trained.bundle, "--class", "fruit", cwd=tmp_path)
    assert one.code == 0, one.err
    assert "fruit " in one.out
    known = tlkit("explain", garden / "fruit", "-m", trained.bundle, "--json", "-o", "known", cwd=tmp_path)
    assert {row["truth"] for row in known.json} == {"fruit"}
    assert (tmp_path / "explained-2" / "0001-birds-magpie.png").is_file()


def test_two_at_once_never_mix_in_one_folder(
    trained: Trained, unseen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both look for a name while there is none, then draw; with a name of one's own, the second is refused."""
    monkeypatch.chdir(tmp_path)
    both = threading.Barrier(2)

    class Waiting(SilentProgress):
        @contextmanager
        def phase(self, title: str, total: int | None) -> Iterator[Advance]:
            if title == "Explaining":
                both.wait(60)
            yield lambda steps, status="": None

    def work(images: list[Path], output: str | None) -> list[Any] | TlkitError:
        try:
            return explain(images, trained.bundle, output=output, progress=Waiting())
        except TlkitError as error:
            return error

    files = sorted(unseen.glob("*.png"))
    parts = files[:2], files[2:4]
    for output in (None, "drawings"):
        with ThreadPoolExecutor(2) as pool:
            ended = list(pool.map(work, parts, (output, output)))
        rows = [found for found in ended if isinstance(found, list)]
        folders = [{row.overlay.parent for row in found} for found in rows]
        assert all(len(folder) == 1 for folder in folders)
        assert len(set.union(*folders)) == len(rows) == (2 if output is None else 1)
        for found, (folder,) in zip(rows, folders, strict=True):
            names = {row.overlay.name for row in found} | {"contact-sheet.png"}
            assert {path.name for path in folder.iterdir()} == names
        assert ["output exists" in each.message for each in ended if isinstance(each, TlkitError)] == [True] * (
            output is not None
        )


def test_what_cannot_be_explained(tlkit: Tlkit, trained: Trained, unseen: Path, tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_text("no image")
    (tmp_path / "there").mkdir()
    before = sorted(tmp_path.rglob("*"))
    cases = {
        (unseen, "--class", "cars"): "has no class 'cars'",
        (unseen, "--feature-maps", "stage99"): "has no stage 'stage99'",
        (unseen, "-o", "there"): "output exists",
        (unseen, "-o", "gone/x"): "no such folder",
        ("no.jpg",): "no readable image",
        ("there",): "no images in",
    }
    for arguments, reason in cases.items():
        ran = tlkit("explain", *arguments, "-m", trained.bundle, cwd=tmp_path)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert reason in ran.err
        assert "Traceback" not in ran.err
    assert sorted(tmp_path.rglob("*")) == before
