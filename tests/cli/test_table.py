"""Every command that takes images takes a table of them."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import PLAIN_FREEZE, Ran, Trained

import tlkit as package
from tlkit.api.train.options import TrainOptions
from tlkit.files import file_hash
from tlkit.images.folder import scan

Tlkit = Callable[..., Ran]
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def table(garden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's images with their classes, every second one for testing; one is lost, one has two labels."""
    folder = scan(garden)
    path = tmp_path_factory.mktemp("tables") / "my plants.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Image Name", "plant", "part"])
        for number, (name, label) in enumerate(zip(folder.files, folder.labels, strict=True)):
            writer.writerow([name, folder.classes[label], "test" if number % 2 else "train"])
        writer.writerow(["lost.jpg", folder.classes[0], "test"])
        writer.writerow([folder.files[0], "weed", "train"])
    return path


@pytest.fixture
def options(garden: Path) -> list[object]:
    return ["--root", garden, "--label-column", "plant", "--split-column", "part"]


def test_check_names_the_rows_that_cannot_be_used(
    tlkit: Tlkit, table: Path, garden: Path, options: list[object]
) -> None:
    ran = tlkit("check", table, *options, "--no-suspects", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["images"] == len(scan(garden).files) - 1
    assert {each["file"]: each["error"] for each in ran.json["unusable"]} == {
        "lost.jpg": "no such file",
        scan(garden).files[0]: f"2 labels: {scan(garden).classes[0]}, weed",
    }
    shown = tlkit("check", table, *options, "--no-suspects")
    assert "2 images of the table cannot be used" in shown.out
    assert "lost.jpg  no such file" in shown.out
    assert tlkit("check", table, *options, "--no-suspects", "--strict").code == 2


def test_train_follows_the_table(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"all": 9, "more": 9})
    rows = [
        {"file": f"{place}/{number}.png", "kind": kind, "set": ("train", "train", "val")[number % 3]}
        for place, kind in (("all", "0"), ("more", "1"))
        for number in range(9)
    ]
    rows += [rows[0], {"file": "all/gone.png", "kind": "1", "set": "train"}]
    place = tmp_path / "tables" / "kinds.jsonl"
    place.parent.mkdir()
    place.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    given = ["--root", root.name, "--label-column", "kind"]
    ran = tlkit("train", "tables/kinds.jsonl", *given, *PLAIN_FREEZE, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["model"] == str(tmp_path / "kinds.tlkit")
    assert ran.json["classes"] == ["0", "1"]
    assert ran.json["images"] == {"train": 12, "val": 6, "test": 0, "skipped": 1}
    assert ran.json["skipped"] == [{"file": "all/gone.png", "error": "no such file"}]
    assert "note: labels from column 'kind' of kinds.jsonl, files from 'file', splits from 'set'" in ran.err
    assert "note: 1 repeated row of kinds.jsonl counted once" in ran.err
    page = (tmp_path / "kinds.tlkit" / "report.html").read_text()
    again = f"tlkit train {place} --root {root} --label-column kind --plan {tmp_path}/kinds.tlkit/plan.json"
    assert again in page
    repeated = tlkit(*shlex.split(again)[1:], "--json", cwd=tmp_path)
    assert repeated.code == 0, repeated.err
    assert repeated.json["model"] == str(tmp_path / "kinds-2.tlkit")
    assert repeated.json["metrics"] == ran.json["metrics"]


def test_groups_of_the_table_stay_whole(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 12, "b": 12})
    site = {f"{label}/{number}.png": f"{label}{number % 4}" for label in "ab" for number in range(12)}
    rows = "".join(f"{file},{file[0]},{name}\n" for file, name in site.items())
    (root / "l.csv").write_text("file,label,site\n" + rows)
    ran = tlkit("train", root / "l.csv", "--group-column", "site", *PLAIN_FREEZE, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    split = json.loads((tmp_path / "l.tlkit" / "tlkit.json").read_text())["split"]
    sides: dict[str, set[str]] = {}
    for file, name in site.items():
        sides.setdefault(name, set()).add(split[file_hash(root / file)])
    assert {side for its in sides.values() for side in its} == {"train", "val"}
    assert all(len(its) == 1 for its in sides.values()), sides


def test_a_class_whose_files_are_all_missing_is_an_error(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 4})
    rows = "".join(f"a/{number}.png,{label}\n" for number, label in enumerate("aabb"))
    (root / "l.csv").write_text(f"file,label\n{rows}x.png,c\ny.png,c\n")
    ran = tlkit("train", root / "l.csv", cwd=tmp_path)
    assert ran.code == 2
    assert "class 'c' has 0 usable images, but at least 2 are required" in ran.err
    assert "2 images could not be used, such as x.png: no such file" in ran.err


def test_a_bundle_is_not_written_among_the_images(tlkit: Tlkit, make_folder: Make) -> None:
    root = make_folder({"a": 4})
    (root / "a" / "l.csv").write_text("file,label\n0.png,x\n1.png,x\n2.png,y\n3.png,y\n")
    ran = tlkit("train", "l.csv", *PLAIN_FREEZE, cwd=root / "a")
    assert ran.code == 2
    assert "the bundle would lie among the images" in ran.err


def test_evaluate_takes_a_part_of_the_table(
    tlkit: Tlkit, trained: Trained, table: Path, options: list[object], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    ran = tlkit("evaluate", table, *options, "--model", trained.bundle, "--json", "--report", page)
    assert ran.code == 0, ran.err
    assert ran.json["split"] == "test"
    assert ran.json["skipped"] == [{"file": "lost.jpg", "error": "no such file"}]
    command = re.search(r"tlkit evaluate [^<]*", page.read_text())
    assert command
    assert shlex.split(command[0].replace("&#39;", "'"))[:3] == ["tlkit", "evaluate", str(table)]
    assert "--label-column plant --split-column part" in command[0]
    train = tlkit("evaluate", table, *options, "--model", trained.bundle, "--json", "--split", "train")
    # the class that only a contradicting row has is no class
    assert train.json["unknown_classes"] == {}
    missing = tlkit("evaluate", table, *options, "--model", trained.bundle, "--split", "val")
    assert missing.code == 2
    assert "has no images in split 'val'" in missing.err


def test_predict_explain_and_embed_take_its_files(tlkit: Tlkit, trained: Trained, garden: Path, tmp_path: Path) -> None:
    files = scan(garden).files[:3]
    path = tmp_path / "some.csv"
    path.write_text("note,path\n" + "".join(f"x,{file}\n" for file in [*files, "lost.jpg", files[0]]))
    given = [path, "--root", garden, "--model", trained.bundle]
    ran = tlkit("predict", *given, "--json")
    assert ran.code == 0, ran.err
    assert [each["file"] for each in ran.lines] == [str(garden / file) for file in [*files, "lost.jpg"]]
    assert [each["error"] is None for each in ran.lines] == [True, True, True, False]
    drawn = tlkit("explain", *given, "--output", tmp_path / "drawn", "--json")
    assert drawn.code == 0, drawn.err
    assert [each["label"] for each in drawn.json] == [each["label"] for each in ran.lines]
    done = tlkit("embed", *given, "--output", tmp_path / "v.npz", "--json")
    assert done.json["images"] == 3
    rows = package.predict([path], trained.bundle, root=garden)
    assert [row.label for row in rows] == [each["label"] for each in ran.lines]
    vectors = [row.vector for row in package.embed([path], model=trained.bundle, file_column="path", root=str(garden))]
    assert np.array_equal(
        np.load(tmp_path / "v.npz")["vector"], np.stack([each for each in vectors if each is not None])
    )


def test_notes_among_images_are_a_row_of_their_own(
    tlkit: Tlkit, trained: Trained, garden: Path, tmp_path: Path
) -> None:
    image, notes = garden / scan(garden).files[0], tmp_path / "notes.csv"
    notes.write_text("taken,by\nMay,me\n")
    ran = tlkit("predict", image, notes, "--model", trained.bundle, "--json")
    assert ran.code == 0, ran.err
    assert [each["error"] is None for each in ran.lines] == [True, False]
    assert tlkit("predict", notes, "--model", trained.bundle).code == 2


@pytest.mark.parametrize("command", ["train", "recommend", "check", "evaluate", "predict", "explain", "embed"])
def test_options_of_tables_without_a_table_are_refused(
    tlkit: Tlkit, trained: Trained, garden: Path, tmp_path: Path, command: str
) -> None:
    more = {"embed": ["-o", tmp_path / "v.csv"]}.get(command, [])
    model = ["--model", trained.bundle] if command in ("evaluate", "predict", "explain") else []
    ran = tlkit(command, garden, "--file-column", "path", *more, *model, cwd=tmp_path)
    assert ran.code == 2
    assert ran.err.splitlines()[-2].startswith("error: --file-column requires a table"), ran.err
    assert list(tmp_path.iterdir()) == []


def test_options_of_tables_are_kept_with_a_run() -> None:
    asked = TrainOptions.make("l.csv", label_column="kind", group_column="site", root=Path("there"))
    assert TrainOptions.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    assert asked.table_words()[:2] == ["--root", str(Path("there").absolute())]


def test_an_unknown_keyword_is_a_type_error(garden: Path) -> None:
    for call in (package.check, package.evaluate, package.predict, package.explain, package.embed):
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour_column'"):
            list(call([garden] if call not in (package.check, package.evaluate) else garden, colour_column="x"))  # type: ignore[arg-type]
