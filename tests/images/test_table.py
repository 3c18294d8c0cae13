"""Tables of files and labels as people have them: every usual spelling is understood, the rest refused in one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlkit.csvtext import line
from tlkit.errors import TlkitError
from tlkit.images.folder import TEST, TRAIN, VAL, ImageFolder
from tlkit.images.labelled import data_name, labelled_images
from tlkit.images.layout import class_doubts
from tlkit.images.table.columns import Columns
from tlkit.images.table.read import table_files
from tlkit.images.table.text import open_table

Place = Callable[..., Path]
LABELS = {"a1.jpg": "cat", "a2.jpg": "cat", "b1.jpg": "dog", "b2.jpg": "dog"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """``place("labels.csv", text)``: a table in a folder with four empty files, a1, a2, b1 and b2."""
    for name in LABELS:
        (tmp_path / name).touch()

    def write(name: str, text: str | bytes, *files: str) -> Path:
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def labels_of(folder: ImageFolder) -> dict[str, str]:
    return {file: folder.classes[label] for file, label in zip(folder.files, folder.labels, strict=True)}


def refused(path: Path, columns: Columns | None = None) -> str:
    with pytest.raises(TlkitError) as caught:
        labelled_images(path, columns)
    return f"{caught.value.message} | {caught.value.hint}"


ROWS = "".join(f"{file},{label}\n" for file, label in LABELS.items())
PLAIN = "file_name,label\n" + ROWS


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\n\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", ",  "),
        PLAIN.replace(",cat", ', "cat"'),
        "sep=;\n" + PLAIN.replace(",", ";"),
        "sep=;\r\n" + PLAIN.replace(",", ";"),
        "\n".join(f'"{line.replace(",", chr(34) + "," + chr(34))}"' for line in PLAIN.splitlines()),
        PLAIN.replace("file_name,label", " File Name ,LABEL"),
        PLAIN.replace("file_name,label", "image-path,Species"),
        PLAIN.replace("file_name,label", "photo,kind of animal"),
        "".join(f"{line},0.5;1\n" for line in PLAIN.replace("label", "label,score").splitlines()),
        ROWS,
        "".join(f"{label},{file}\n" for file, label in LABELS.items()),
        PLAIN.replace(".jpg", ""),
        PLAIN.replace(".jpg", ".JPG"),
        PLAIN.replace("a1", "./a1").replace("a2", ".\\a2"),
        PLAIN + ",,,\n",
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
    ],
)
def test_all_spellings_of_one_table(place: Place, text: str | bytes) -> None:
    folder = labelled_images(place("labels.csv", text))
    assert labels_of(folder) == LABELS
    assert folder.dropped == ()
    assert folder.groups == ()
    assert not folder.has_splits


def test_tsv_and_json(place: Place) -> None:
    rows = [{"file_name": file, "label": label} for file, label in LABELS.items()]
    for name, text in (
        ("labels.tsv", PLAIN.replace(",", "\t")),
        ("labels.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows)),
        ("labels.ndjson", "\r\n\r\n".join(map(json.dumps, rows))),
        ("labels.json", json.dumps(rows, indent=1)),
        ("LABELS.CSV", PLAIN),
        ("labels.txt", PLAIN.replace(",", "\t").encode("utf-16")),
        ("labels.txt", ROWS.replace(",", " ")),
    ):
        assert labels_of(labelled_images(place(name, text))) == LABELS, name


def test_text_that_is_not_utf_8_is_read_and_said(place: Place) -> None:
    folder = labelled_images(place("labels.csv", PLAIN.replace("cat", "garçon").encode("cp1252")))
    assert folder.classes == ("dog", "garçon")
    assert any("not UTF-8" in remark for remark in folder.remarks)


def test_labels_keep_their_text(place: Place) -> None:
    text = "file,label\na1.jpg,1\na2.jpg,01\nb1.jpg,1.0\nb2.jpg,10\n"
    assert labelled_images(place("labels.csv", text)).classes == ("01", "1", "1.0", "10")
    lines = '{"file": "a1.jpg", "label": 2}\n{"file": "b1.jpg", "label": 10}\n{"file": "b2.jpg", "label": 1.50}\n'
    assert labelled_images(place("labels.jsonl", lines)).classes == ("1.50", "2", "10")


def test_columns_are_named(place: Place) -> None:
    text = "id,genus,species,part,site\n" + "".join(
        f"{file},{label[0]},{label},{part},s{number % 2}\n"
        for number, ((file, label), part) in enumerate(
            zip(LABELS.items(), ["train", "test", "train", "Val"], strict=True)
        )
    )
    path = place("labels.csv", text)
    folder = labelled_images(path, Columns("GENUS", "id", "part", "site"))
    assert folder.classes == ("c", "d")
    assert dict(zip(folder.files, folder.splits, strict=True)) == dict(
        zip(LABELS, [TRAIN, TEST, TRAIN, VAL], strict=True)
    )
    assert dict(zip(folder.files, folder.groups, strict=True)) == dict(zip(LABELS, ["s0", "s1"] * 2, strict=True))
    assert labelled_images(path).splits == ("",) * 4
    assert "no column 'genu' (--label-column) | did you mean 'genus'?" in refused(path, Columns(label="genu"))
    assert "its columns are id, genus, species, part, site" in refused(path, Columns(group="patient"))
    assert "cannot be used for two things" in refused(path, Columns(label="genus", group="genus"))
    assert "'s0' in column 'site' is not a split" in refused(path, Columns(split="site"))


def test_splits_and_groups_are_found_or_refused_on_demand(place: Place) -> None:
    text = "file,label,split,group\na1.jpg,cat,train,x\na2.jpg,cat,valid,y\nb1.jpg,dog,train,x\nb2.jpg,dog,TEST,\n"
    path = place("labels.csv", text)
    folder = labelled_images(path)
    assert dict(zip(folder.files, folder.splits, strict=True)) == dict(
        zip(LABELS, [TRAIN, VAL, TRAIN, TEST], strict=True)
    )
    assert dict(zip(folder.files, folder.groups, strict=True)) == dict(zip(LABELS, ["x", "y", "x", ""], strict=True))
    plain = labelled_images(path, Columns(split="none", group="none"))
    assert not plain.has_splits
    assert plain.groups == ()


def test_a_column_that_says_yes_or_no_is_a_split(place: Place) -> None:
    path = place("labels.csv", "name,label,is_valid\na1.jpg,cat,False\na2.jpg,cat,True\nb1.jpg,dog,0\nb2.jpg,dog,1\n")
    folder = labelled_images(path)
    assert dict(zip(folder.files, folder.splits, strict=True)) == dict(zip(LABELS, [TRAIN, VAL] * 2, strict=True))


def test_one_column_a_class(place: Place) -> None:
    path = place("truth.csv", "image,MEL,NV,BCC\na1,1.0,0.0,0.0\na2,0,1,0\nb1,0,1,0\nb2,0,0,0\n")
    folder = labelled_images(path)
    assert labels_of(folder) == {"a1.jpg": "MEL", "a2.jpg": "NV", "b1.jpg": "NV"}
    assert [(each.file, each.reason) for each in folder.dropped] == [("b2", "no label")]
    several = place("several.csv", "image,MEL,NV,BCC\na1,1,1,0\na2,1,1,0\nb1,0,1,0\nb2,1,0,1\n")
    assert "most rows of" in refused(several)


def test_bad_rows_cost_themselves_only(place: Place) -> None:
    text = (
        "file,label,split\na1.jpg,cat,train\na1.jpg,cat,train\na2.jpg,cat,train\nb1.jpg,dog,train\nb2.jpg,dog,train\n"
        "lost.jpg,cat,train\nc.jpg,cat,train\nc.jpg,dog,train\nd.jpg,,train\n,dog,train\ne.jpg,dog,\n"
        "f.jpg,cat,train\nf.jpg,cat,test\ng,h.jpg,dog,train\ntwo,cat,train\n"
    )
    path = place("labels.csv", text, "c.jpg", "d.jpg", "e.jpg", "f.jpg", "two.jpg", "two.png")
    folder = labelled_images(path)
    assert labels_of(folder) == LABELS
    assert {(each.file, each.reason, each.label) for each in folder.dropped} == {
        ("lost.jpg", "no such file", "cat"),
        ("c.jpg", "2 labels: cat, dog", "cat"),
        ("d.jpg", "no label", ""),
        ("line 11", "no file name", "dog"),
        ("e.jpg", "no split", "dog"),
        ("f.jpg", "2 splits: train, test", "cat"),
        ("line 15", "has 4 cells instead of 3", ""),
        ("two", "more than one such file: two.jpg, two.png", "cat"),
    }
    assert "1 repeated row of labels.csv counted once" in folder.remarks


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("labels.csv", "", "no rows in"),
        ("labels.csv", "file,label\n", "no rows in"),
        ("labels.csv", "file,label\nx.jpg,cat\n", "none of the files in"),
        ("labels.csv", "file,label\na1.jpg,\na2.jpg,\n", "no usable row in"),
        ("labels.csv", "file,label\na1.jpg,cat\na2.jpg,cat\n", "only one label ('cat')"),
        ("labels.csv", "file,colour,shape\na1.jpg,red,round\n", "which column holds the labels? its columns are file,"),
        ("labels.csv", "file,class,species\na1.jpg,Aves,x\nb1.jpg,Aves,y\n", "'class' and 'species' differ"),
        ("labels.csv", "a,b\nx,y\n", "which column holds the files? its columns are a, b"),
        ("labels.csv", "a1.jpg,cat,3\na2.jpg,dog,3\n", "it has no line of names, so they are numbered"),
        ("labels.csv", 'file,label\n"a1.jpg,cat\na2.jpg,dog\n', "unexpected end of data"),
        ("labels.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not text"),
        ("labels.csv", "file,label,label\na1.jpg,cat,dog\n", "2 columns named 'label'"),
        ("labels.jsonl", '{"file": "a1.jpg", "label": "cat"}\n{"file": \n', "line 2, is not JSON"),
        ("labels.jsonl", "[1, 2]\n", "line 1, is not a JSON object"),
        ("labels.json", '{"images": []}', "is not a JSON list of objects"),
        ("labels.xlsx", b"PK", "not a table that can be read"),
        ("notes.txt", "Taken in May.\nBy me.\n", "which column holds the files?"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_one_line(place: Place, name: str, text: str, said: str) -> None:
    assert said in refused(place(name, text))


def test_columns_that_say_the_same_are_no_question(place: Place) -> None:
    text = "file,class_id,class_name\na1.jpg,0,cat\na2.jpg,0,cat\nb1.jpg,1,dog\nb2.jpg,1,dog\n"
    assert labels_of(labelled_images(place("labels.csv", text))) == LABELS


def test_labels_that_differ_in_case_are_one_class_and_in_doubt(place: Place) -> None:
    folder = labelled_images(place("labels.csv", PLAIN.replace("b1.jpg,dog", "b1.jpg,Cat") + "\nb1.jpg,cat\n"))
    assert folder.counts() == {"cat": 3, "dog": 1}
    assert class_doubts(folder) == ["labels 'cat' and 'Cat' are taken for one class, 'cat'"]
    assert "1 repeated row of labels.csv counted once" in folder.remarks


def test_a_column_of_free_text_is_no_label(place: Place) -> None:
    files = [f"{number}.jpg" for number in range(30)]
    rows = "".join(f"{file},cat number {file}\n" for file in files)
    assert "30 different labels for 30 images" in refused(place("labels.csv", "file,label\n" + rows, *files))


def test_where_files_are(place: Place, tmp_path: Path) -> None:
    far = place("far/labels.csv", PLAIN.replace("a1.jpg", str(tmp_path / "a1.jpg")))
    folder = labelled_images(far, Columns(root=tmp_path))
    assert labels_of(folder) == LABELS
    assert folder.root == tmp_path
    text = "file,label\n" + "".join(f"{tmp_path / file},{label}\n" for file, label in LABELS.items())
    elsewhere = labelled_images(place("far/labels.csv", text))
    assert {path.name: path.is_file() for path in elsewhere.paths} == dict.fromkeys(LABELS, True)
    hint = refused(place("far/labels.csv", PLAIN))
    assert f"did you mean --root {tmp_path}?" in hint
    assert "--root: no such folder" in refused(far, Columns(root=tmp_path / "none"))
    assert "(2 labels: a, b) | None" in refused(place("t.csv", "file,label\na1.jpg,a\na1.jpg,b\n"))
    names = [f"train/{name}" for name in ("x.jpg", "y.jpg")]
    assert f"did you mean --root {tmp_path / 'train'}?" in refused(place("t.csv", "id,breed\nx,a\ny,b\n", *names))


def test_a_folder_with_metadata_names_its_own_labels(place: Place, tmp_path: Path) -> None:
    table = place("metadata.csv", PLAIN)
    folder = labelled_images(tmp_path)
    assert labels_of(folder) == LABELS
    assert folder.source == tmp_path
    assert data_name(table) == data_name(tmp_path) == tmp_path.name
    table.unlink()
    line = '{"file_name": "%s.jpg", "label": "%s"}\n'
    for split, name in (("train", "x"), ("Test", "y")):
        text = "".join(line % (f"{name}{label}", label) for label in "ab")
        place(f"{split}/metadata.jsonl", text, f"{split}/{name}a.jpg", f"{split}/{name}b.jpg")
    folder = labelled_images(tmp_path)
    assert dict(zip(folder.files, folder.splits, strict=True)) == {
        "train/xa.jpg": TRAIN,
        "train/xb.jpg": TRAIN,
        "Test/ya.jpg": TEST,
        "Test/yb.jpg": TEST,
    }


def test_a_table_of_something_else_beside_class_folders_is_passed_over_and_that_is_said(make_folder: Place) -> None:
    root = make_folder({"cat": 2, "dog": 2})
    (root / "metadata.csv").write_text("camera,lens\nX,50\n")
    folder = labelled_images(root)
    assert folder.classes == ("cat", "dog")
    assert folder.table is None
    assert "labels from the class folders; " in folder.remarks[0]
    # captions, which are no classes
    (root / "metadata.csv").write_text("file_name,text\ncat/0.png,a cat\ncat/1.png,one more\ndog/0.png,no cat\n")
    for count in (0, 1, 2):
        assert labelled_images(root, min_classes=count).classes == ("cat", "dog")
    with pytest.raises(TlkitError, match="has no column 'species'"):
        labelled_images(root, Columns(label="species"))


def test_options_of_tables_require_one(make_folder: Place, tmp_path: Path) -> None:
    root = make_folder({"cat": 2, "dog": 2})
    for columns, option in (
        (Columns(label="x"), "--label-column"),
        (Columns(file="x"), "--file-column"),
        (Columns(split="none"), "--split-column"),
        (Columns(group="x"), "--group-column"),
        (Columns(root=tmp_path), "--root"),
    ):
        assert f"{option} requires a table" in refused(root, columns)
    (root / "dog").rename(tmp_path / "dog")
    (root / "labels.csv").write_text(PLAIN)
    assert f"to take the labels from a table: {root / 'labels.csv'}" in refused(root)
    assert "no such file" in refused(tmp_path / "none.csv")
    assert "from a table: " in labelled_images(root, min_classes=0).remarks[0]


def test_the_order_of_rows_changes_nothing(place: Place) -> None:
    one = labelled_images(place("labels.csv", PLAIN))
    other = labelled_images(place("labels.csv", "\n".join(["file_name,label", *reversed(ROWS.splitlines())])))
    assert one == other


def test_what_tlkit_escapes_in_csv_is_understood(place: Place, tmp_path: Path) -> None:
    names = ["=a.jpg", "line\nbreak.jpg", "b\\x41.jpg", "-5.jpg"]
    rows = [(name, "+plus" if number % 2 else "back\\x5cslash") for number, name in enumerate(names)]
    path = place("t.csv", "".join(map(line, [("file", "label"), *rows])), *names)
    assert labels_of(labelled_images(path)) == dict(rows)
    assert table_files(path, Columns()) == [tmp_path / name for name in names]


def test_files_alone_keep_the_order_of_the_rows(place: Place, tmp_path: Path) -> None:
    path = place("photos.csv", "path\nb1.jpg\nlost.jpg\na1\nb1.jpg\n")
    assert table_files(path, Columns()) == [tmp_path / name for name in ("b1.jpg", "lost.jpg", "a1.jpg")]


CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda text: text.strip()
)


@settings(max_examples=examples(2))
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_a_program_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    separator: str,
    encoding: str,
    end: str,
    quoting: int,
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([("filename", "label", "note"), *rows])
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    table = open_table(path, {"filename", "label"}, str)
    assert table.columns == ("filename", "label", "note")
    read = [tuple(cell.strip() for cell in cells) for _, cells in table.records()]
    assert read == [tuple(cell.strip() for cell in row) for row in rows]


ROW = st.tuples(
    st.sampled_from([*LABELS, "lost.jpg", ""]), st.sampled_from(["a", "b", "c", ""]), st.sampled_from(["train", "test"])
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=12))
def test_every_row_is_used_or_accounted_for(place: Place, rows: list[tuple[str, str, str]]) -> None:
    path = place("t.csv", "".join(f"{','.join(row)}\n" for row in [("file", "label", "split"), *rows]))
    said = {file: {(label, split) for name, label, split in rows if name == file and label} for file, *_ in rows}
    usable = {file: next(iter(its))[0] for file, its in said.items() if file in LABELS and len(its) == 1}
    if not usable:
        with pytest.raises(TlkitError):
            labelled_images(path, min_classes=1)
        return
    folder = labelled_images(path, min_classes=1)
    assert labels_of(folder) == usable
    dropped = {each.file for each in folder.dropped}
    assert dropped - {f"line {number}" for number in range(2, len(rows) + 2)} == set(said) - set(usable) - {""}


@settings(max_examples=examples(2))
@given(data=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_whatever_a_file_holds_is_understood_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("table") / name
    path.write_bytes(data)
    for read in (labelled_images, lambda given: table_files(given, Columns())):
        with suppress(TlkitError):
            read(path)


@pytest.mark.parametrize(
    ("column", "two"),
    [
        ("label", "cat|red"),
        ("label", "cat; dog"),
        ("label", "cat,dog"),
        ("labels", "cat red"),
        ("label", "['cat', 'x']"),
    ],
)
def test_several_labels_in_a_cell_are_no_class_of_their_own(place: Place, column: str, two: str) -> None:
    folder = labelled_images(
        place("labels.csv", f'file,{column}\na1.jpg,cat\na2.jpg,"{two}"\nb1.jpg,dog\nb2.jpg,dog\n')
    )
    assert folder.counts() == {"cat": 1, "dog": 2}
    ((file, reason, *_),) = folder.dropped
    assert (file, reason[:10]) == ("a2.jpg", "2 labels: ")


@pytest.mark.parametrize("label", ["cat, small", "hot dog", "[x]", "a|b", "A+", "['x"])
def test_a_label_with_marks_stays_a_label(place: Place, label: str) -> None:
    folder = labelled_images(place("labels.csv", f'file,label\na1.jpg,"{label}"\na2.jpg,"{label}"\nb1.jpg,dog\n'))
    assert folder.counts() == {label: 2, "dog": 1}


def test_labels_in_lists_and_no_values(place: Place) -> None:
    rows = [{"file": "a1.jpg", "label": ["cat"]}, {"file": "a2.jpg", "label": ["cat", "dog"]}]
    rows += [{"file": "b1.jpg", "label": ["dog"]}, {"file": "b2.jpg", "label": "NaN"}]
    folder = labelled_images(place("labels.jsonl", "\n".join(map(json.dumps, rows))))
    assert folder.counts() == {"cat": 1, "dog": 1}
    assert [each.reason for each in folder.dropped] == ["2 labels: cat, dog", "no label"]
    objects = '{"file": "a1.jpg", "label": {"name": "cat"}}'
    assert "holds objects" in refused(place("labels.jsonl", objects))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("/home/someone/photos/a1.jpg", "take /home/someone/photos/ away"),
        ("C:\\photos\\a1.jpg", "take C:\\photos\\ away"),
        ("/home/someone/lost.jpg", "of another place"),
        ("a1.png", "there is a1.jpg: write the ending"),
        ("https://example.com/a1.jpg", "not downloaded"),
    ],
)
def test_what_to_do_about_files_that_do_not_exist(place: Place, name: str, hint: str) -> None:
    with pytest.raises(TlkitError) as caught:
        labelled_images(place("labels.csv", f"file,label\n{name},cat\n"))
    assert hint in (caught.value.hint or "")


def test_names_may_be_escaped_as_in_urls(place: Place) -> None:
    table = place("labels.csv", "file,label\nmy%20a.jpg,cat\nb1.jpg,dog\n")
    (table.parent / "a1.jpg").rename(table.parent / "my a.jpg")
    assert labelled_images(table).counts() == {"cat": 1, "dog": 1}
