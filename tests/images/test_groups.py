"""Groups of images: what --groups takes, and where groups are looked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit.errors import TlkitError
from tlkit.images.capture import read_capture
from tlkit.images.folder import ImageFolder
from tlkit.images.group_candidates import BEFORE_NUMBER, FIRST_TOKEN, TWO_TOKENS, group_candidates, is_plausible
from tlkit.images.group_spec import group_spec
from tlkit.images.groups import described, divided_groups, group_names, group_pairs_of, joined_groups, with_groups


def folder_of(files: list[str], root: Path = Path("/images"), splits: tuple[str, ...] = ()) -> ImageFolder:
    """A folder with these files, in which the first part of a path is the class."""
    depth = 1 if splits else 0
    names = [file.split("/")[depth] for file in files]
    classes = tuple(sorted(set(names)))
    labels = tuple(classes.index(name) for name in names)
    return ImageFolder(root, classes, tuple(files), labels, splits or ("",) * len(files))


SITES = [f"{kind}/site{site}/{i}.png" for kind in ("cat", "dog") for site in range(4) for i in range(6)]


def test_folders_inside_class_folders_are_groups() -> None:
    folder = with_groups(folder_of([*SITES, "cat/alone.png", "dog/site1/deep/er.png"]), "folder")
    assert set(folder.groups) == {"site0", "site1", "site2", "site3", ""}
    assert folder.groups[-1] == "site1"
    assert "4 groups" in described(folder, "folder")
    assert "; 1 image in none" in described(folder, "folder")
    assert folder.keep([0, 7]).groups == ("site0", "site1")


def test_a_pattern_names_groups_by_its_first_group_or_as_a_whole() -> None:
    folder = folder_of(["a/p1_x.png", "a/p2_x.png", "b/p1_y.png", "b/q.png"])
    assert group_names(folder, r"(p\d)_") == ["p1", "p2", "p1", ""]
    assert group_names(folder, r"p\d") == ["p1", "p2", "p1", ""]
    assert group_names(folder, r"p\d(_z)?") == [""] * 4
    assert group_pairs_of(["p1", "p2", "p1", ""]) == [(0, 0), (1, 1), (0, 2)]


@pytest.mark.parametrize(
    ("pattern", "file", "group"),
    [
        (FIRST_TOKEN, "cat/IMG12_frame0031.jpg", "IMG12"),
        (FIRST_TOKEN, "a_b/patient07_scan3.png", "patient07"),
        (FIRST_TOKEN, "x/P012-L-1.png", "P012"),
        (FIRST_TOKEN, "a_b/b001.jpg", ""),
        (FIRST_TOKEN, "x/clip7.0031.jpg", "clip7"),
        (TWO_TOKENS, "x/P012-L-1.png", "P012-L"),
        (TWO_TOKENS, "x/P012.png", ""),
        (BEFORE_NUMBER, "x2/patient07scan3.jpg", "patient07scan"),
        (BEFORE_NUMBER, "cat2/abc.jpg", ""),
        (BEFORE_NUMBER, "x/IMG12_frame0031.jp2", "IMG12_frame0031.jp"),
    ],
)
def test_patterns_for_usual_names(pattern: str, file: str, group: str) -> None:
    assert group_names(folder_of([file]), pattern) == [group]


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ("folders", "unknown --groups 'folders'", "did you mean 'folder'"),
        ("exif_date", "unknown --groups 'exif_date'", "did you mean 'exif-date'"),
        ("(site", "not a regular expression", "FILE.csv:COLUMN"),
        ("", "--groups is empty", "folder"),
        ("sites.csv", "does not name a column", "sites.csv:COLUMN"),
    ],
)
def test_values_that_mean_nothing_are_refused(value: str, message: str, hint: str) -> None:
    with pytest.raises(TlkitError, match=message.replace("(", r"\(")) as refused:
        group_spec(value)
    assert hint in str(refused.value.hint)


def test_the_path_of_a_table_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert group_spec("my sites.csv:site id") == f"{tmp_path / 'my sites.csv'}:site id"
    assert group_spec(r"(\w+):\d") == r"(\w+):\d"


@pytest.mark.parametrize(
    ("by", "message"), [("folder", "sub-folder"), ("exif-date", "EXIF"), ("xyz[0-9]", "matches no path")]
)
def test_groups_that_hold_no_image_are_refused(by: str, message: str, make_folder: Callable[..., Path]) -> None:
    folder = folder_of(["a/1.png", "b/1.png"], make_folder({"a": 2, "b": 2}))
    with pytest.raises(TlkitError, match=message):
        with_groups(folder, by)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".txt"])
def test_a_table_names_the_group_of_each_image(suffix: str, tmp_path: Path) -> None:
    folder = folder_of(["a/1.png", "a/2.png", "b/1.png", "b/3.png"], tmp_path / "images")
    rows = [("a/1.png", "p1"), (str(tmp_path / "images" / "b" / "1.png"), "p2"), ("3.png", "p1"), ("c/9.png", "p9")]
    table = tmp_path / f"patients{suffix}"
    if suffix == ".jsonl":
        table.write_text("\n".join(json.dumps({"path": file, "patient": group}) for file, group in rows))
    else:
        between = "," if suffix == ".csv" else "\t"
        lines = [between.join(["Image Path", "patient"]), *(between.join(row) for row in rows)]
        table.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    assert group_names(folder, f"{table}:patient") == ["p1", "", "p2", "p1"]


def test_paths_in_a_table_may_be_relative_to_the_table(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file_name,site\nimages/a/1.png,x\n./images/a/2.png,y\n")
    folder = folder_of(["a/1.png", "a/2.png", "b/1.png"], tmp_path / "images")
    assert group_names(folder, f"{table}:site") == ["x", "y", ""]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (None, "no such file", "FILE.csv:column"),
        ("file,other\na/1.png,x\n", "no column 'site'", "file, other"),
        ("who,site\na/1.png,x\n", "no column of image files", "file_name"),
        ("file,site\nz.png,x\n", "names no image", "1 row"),
        ("file,site\na/1.png,\n", "names no image", ""),
        ("file,site\na/1.png,x\na/1.png,y\n", "into two groups, x and y", "remove"),
        ("", "no rows in", ""),
        (b"file,site\n\xff\xfe\0,x", "not a table", "save it as CSV"),
        ('file,site\n"a/1.png,x\n', "line", "quotation marks"),
    ],
)
def test_bad_tables_are_told(text: str | bytes | None, message: str, hint: str, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    if text is not None:
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TlkitError, match=message) as refused:
        group_names(folder_of(["a/1.png", "b/1.png"], tmp_path), f"{table}:site")
    assert hint in str(refused.value.hint)


def photo(path: Path, day: str = "", camera: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if camera:
        exif[0x010F], exif[0x0110] = camera.split(" ", 1)
    if day:
        exif.get_ifd(0x8769)[0x9003] = f"{day.replace('-', ':')} 10:20:30"
    pixels = np.random.default_rng(hash(path.name) % 2**32).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)


def test_day_and_camera_are_read_from_exif_data(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", "2024-05-31", "Canon EOS 5D")
    assert read_capture(tmp_path / "a.jpg") == ("2024-05-31", "Canon EOS 5D")
    photo(tmp_path / "b.jpg", "0000-00-00")
    photo(tmp_path / "c.png")
    (tmp_path / "d.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:60])
    for name in ("b.jpg", "c.png", "d.jpg", "no.jpg"):
        assert read_capture(tmp_path / name) == ("", "")


def test_groups_in_exif_data_are_candidates(tmp_path: Path) -> None:
    files = [f"{kind}/{number:03}.jpg" for kind in ("cat", "dog") for number in range(24)]
    for place, file in enumerate(files):
        photo(tmp_path / file, f"2024-05-{1 + place % 24 // 4:02}", f"Maker M{place % 4}")
    found = {each.by: each.groups for each in group_candidates(folder_of(files, tmp_path))}
    assert list(found)[:2] == ["exif-date", "exif-camera"]
    assert found["exif-date"][:5] == ("2024-05-01",) * 4 + ("2024-05-02",)
    assert found["exif-camera"][:3] == ("Maker M0", "Maker M1", "Maker M2")


def test_candidates_are_looked_for_in_folders_and_names() -> None:
    assert [each.by for each in group_candidates(folder_of(SITES))] == ["folder", "names"]
    clips = [f"{kind}/clip{kind}{i // 6}_{i % 6:03}.png" for kind in ("cat", "dog") for i in range(24)]
    assert [each.by for each in group_candidates(folder_of(clips))] == [FIRST_TOKEN, "names"]
    assert group_candidates(folder_of(SITES[:30])) == []


@pytest.mark.parametrize(
    "groups",
    [
        [str(number) for number in range(24)],  # every image is one
        ["a"] * 12 + ["b"] * 12,  # so is every class
        [""] * 24,
        ["a"] * 20 + ["b", "b", "c", "c"],  # one is nearly all
        ["a", "a", "b", "b", "c", "c"] + [""] * 18,  # most images are alone
    ],
)
def test_some_groups_say_nothing(groups: list[str]) -> None:
    assert not is_plausible(groups, [0] * 12 + [1] * 12)


def test_names_of_one_camera_are_one_series() -> None:
    files = [f"{'cat' if number % 2 else 'dog'}/IMG_{number:04}.jpg" for number in range(80)]
    groups = dict(zip(sorted(files), group_names(folder_of(sorted(files)), "names"), strict=True))
    assert groups["dog/IMG_0000.jpg"] == groups["cat/IMG_0007.jpg"] != groups["cat/IMG_0041.jpg"]
    apart = folder_of([f"{kind}/{number:03}.png" for kind in ("cat", "dog") for number in range(40)])
    names = group_names(apart, "names")
    assert len(set(names)) == 20
    assert not set(names[:40]) & set(names[40:])


def test_groups_in_two_splits_are_named() -> None:
    files = ["train/cat/s1/1.png", "train/cat/s2/1.png", "val/cat/s1/2.png", "val/dog/s3/1.png", "train/dog/4.png"]
    folder = with_groups(folder_of(files, splits=("train", "train", "val", "val", "train")), "folder")
    assert folder.groups == ("s1", "s2", "s1", "s3", "")
    assert divided_groups(folder) == ("s1",)


def test_copies_join_groups_unless_few_would_be_left() -> None:
    names = [f"s{number // 2}" for number in range(60)] + ["", ""]
    copies = [(0, 2), (58, 60), (60, 61)]
    joined = joined_groups(names, copies, 62)
    assert joined[0] == joined[1] == joined[2] == joined[3] != joined[4]
    assert joined[58] == joined[59] == joined[60] == joined[61]
    alike = joined_groups(names, [(0, other) for other in range(2, 60, 2)], 62)
    assert max(alike.count(number) for number in alike) <= 6
    assert all(alike[number] == alike[number + 1] for number in range(0, 60, 2))
    assert joined_groups((), [(0, 1)], 3) == [0, 0, 2]
