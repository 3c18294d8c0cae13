"""``predict --sort-into`` and ``undo``, as a user meets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran, Trained
from PIL import Image

import tlkit as api
from tlkit.errors import TlkitError

Tlkit = Callable[..., Ran]


def names(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_are_moved_into_folders_and_back(tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path) -> None:
    before = names(photos)
    rows = {row.file: row for row in api.predict(photos, trained.bundle, threshold=0.7)}
    command = ("predict", "photos", "--model", trained.bundle, "--sort-into", "sorted", "--threshold", 0.7)
    dry = tlkit(*command, "--dry-run", cwd=tmp_path)
    assert dry.code == 0, dry.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    ran = tlkit(*command, "--move", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "moved into sorted in " in ran.out
    assert "to take it back: tlkit undo sorted.journal.jsonl" in ran.out
    for file, row in rows.items():
        name = Path(file).name
        folder = "unreadable" if row.error else "unknown" if row.unknown else "review" if row.review else row.label
        assert (tmp_path / "sorted" / str(folder) / name).read_bytes() == before[name]
        assert f"photos/{name} -> sorted/{folder}/{name}" in dry.out
    assert list(photos.iterdir()) == []
    assert tlkit("undo", "sorted.journal.jsonl", "--dry-run", cwd=tmp_path).out == "9 files would be taken back\n"
    back = tlkit("undo", "sorted.journal.jsonl", cwd=tmp_path)
    assert back.code == 0, back.err
    assert back.out.startswith("9 files taken back, ")
    assert names(photos) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "sorted.journal.jsonl"]
    again = tlkit("undo", "sorted.journal.jsonl", cwd=tmp_path)
    assert (again.code, again.out) == (2, "")
    assert "error: sorted.journal.jsonl was taken back before" in again.err


@pytest.mark.parametrize("option", ["--copy", "--link"])
def test_the_images_stay_where_they_are(
    tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path, option: str
) -> None:
    before = names(photos)
    ran = tlkit("predict", photos, "--model", trained.bundle, "--sort-into", tmp_path / "s", option, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["action"] == option.removeprefix("--")
    assert ran.json["images"] == len(ran.json["files"]) == 9
    for each in ran.json["files"]:
        assert Path(each["to"]).read_bytes() == Path(each["file"]).read_bytes()
        assert Path(each["to"]).is_symlink() == (option == "--link")
    assert names(photos) == before
    back = tlkit("undo", ran.json["journal"], "--json").json
    assert (back["restored"], back["left"]) == (9, [])
    assert not (tmp_path / "s").exists()


def test_a_file_that_cannot_go_back_is_named(tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path) -> None:
    found = api.sort_into(photos / "birds-magpie.png", str(tmp_path / "s"), trained.bundle, action="move")
    assert found.journal is not None
    (photos / "birds-magpie.png").write_text("new")
    ran = tlkit("undo", found.journal)
    assert ran.code == 2
    assert "left where it is: " in ran.out
    assert "another file has its old name" in ran.out
    (photos / "birds-magpie.png").unlink()
    assert api.undo(str(found.journal)).restored == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sort-into", "photos/sorted"], "--sort-into is inside the image folder"),
        (["--sort-into", "none/sorted"], "no such folder: none"),
        (["--sort-into", "file.txt"], "not a folder: file.txt"),
        (["--sort-into", "s", "--copy", "--move"], "--copy, --move and --link contradict each other"),
        (["--sort-into", "s", "--output", "a.csv"], "--output does not apply to --sort-into"),
        (["--sort-into", "s", "--top", 3], "--top does not apply to --sort-into"),
        (["--sort-into", "s", "--resume"], "--resume requires --output"),
        (["--move"], "--move requires --sort-into"),
        (["--dry-run"], "--dry-run requires --sort-into"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(
    tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path, options: list[object], said: str
) -> None:
    (tmp_path / "file.txt").write_text("mine")
    before = names(tmp_path)
    ran = tlkit("predict", "photos", "--model", trained.bundle, *options, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert said in ran.err
    assert names(tmp_path) == before


def test_other_mistakes_are_said(tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(TlkitError, match="is in memory"):
        api.sort_into(Image.new("RGB", (64, 64)), tmp_path / "s", trained.bundle)
    with pytest.raises(TlkitError, match="unknown action 'shuffle'"):
        api.sort_into(photos, tmp_path / "s", trained.bundle, action="shuffle")
    for journal in (photos / "broken.jpg", photos, tmp_path / "none.jsonl", "x" * 300):
        ran = tlkit("undo", journal)
        assert (ran.code, ran.out) == (2, "")
        assert "error: " in ran.err
