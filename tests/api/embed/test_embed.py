"""Vectors of images, called from Python: rows, stages, bad input, files that are whole or not there."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import tlkit
from tlkit.api.embed import file as module
from tlkit.api.embed.source import open_source
from tlkit.api.embed.writers import FORMATS, Layout
from tlkit.api.work_dir import work_folder
from tlkit.backbones import features
from tlkit.csvtext import original
from tlkit.progress import SilentProgress

Make = Callable[..., Path]
Patch = pytest.MonkeyPatch
SIZE = 64


class Told(SilentProgress):
    """Keeps what was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def images(make_folder: Make) -> Path:
    root = make_folder({"a": 6, "b": 6})
    (root / "a" / "broken.png").write_text("no image")
    return root


def test_rows_come_one_by_one_and_in_order(images: Path) -> None:
    rows = tlkit.embed_iter([images / "b", images / "a"], image_size=SIZE)
    first = next(rows)
    assert first.file == str(images / "b" / "0.png")
    gathered = [first, *rows]
    assert [row.file for row in gathered] == [row.file for row in tlkit.embed([images / "b", images], image_size=SIZE)]
    assert [Path(row.file).name for row in gathered if row.error] == ["broken.png"]
    for row in gathered:
        assert (row.vector is None) == (row.content is None) == (row.error is not None)
        if row.vector is not None:
            assert (row.vector.dtype, row.vector.shape) == (np.float32, (1280,))
    assert all(row.reused for row in tlkit.embed([images / "a"], image_size=SIZE) if row.error is None)


def test_stages_are_parts_of_the_whole(images: Path) -> None:
    def matrix(stage: str | None) -> Any:
        rows = tlkit.embed([images / "b"], image_size=SIZE, stage=stage)
        return np.stack([row.vector for row in rows])

    whole = matrix("all")
    source = open_source(None, None, "all", None, SIZE, None, "auto", SilentProgress())
    start = 0
    for name, width in source.blocks:
        np.testing.assert_array_equal(matrix(name), whole[:, start : start + width])
        start += width
    assert start == whole.shape[1]
    np.testing.assert_array_equal(matrix(None), matrix("top"))
    # the last stage that `tlkit backbones show` lists is the top
    np.testing.assert_array_equal(matrix(f"stage{len(source.blocks)}"), matrix("top"))


def test_bad_input_is_said_before_anything_is_written(images: Path, tmp_path: Path) -> None:
    (tmp_path / "there.npz").write_bytes(b"mine")
    (tmp_path / "link.npz").symlink_to(tmp_path / "nowhere")
    (tmp_path / "taken.npz-run").mkdir()
    (tmp_path / "taken.npz-run" / "notes.txt").write_text("mine")
    (tmp_path / "file.npz-run").write_text("mine")
    (tmp_path / "none").mkdir()
    (tmp_path / "weights.h5").write_text("no weights")
    cases: list[tuple[object, str, dict[str, Any], str]] = [
        (tmp_path / "none", "v.npz", {}, "no images in"),
        (images, "there.npz", {}, "output exists"),
        (images, "link.npz", {}, "output exists"),
        (images, "taken.npz", {}, "is not the folder of a run"),
        (images, "file.npz", {}, "cannot write to"),
        (images, "v.xls", {}, "--output must end in .parquet, .npz, .csv"),
        (images, "v", {}, "--output must end in"),
        (images, "no/v.npz", {}, "no such folder"),
        (images, "images/a/v.npz", {}, "inside the image folder"),
        (f"{tmp_path}/im*", "images/v.npz", {}, "inside the image folder"),
        (images, "v.npz", {"stage": "stage99"}, "no stage 'stage99'"),
        (images, "v.npz", {"stage": ""}, "no stage ''"),
        (images, "v.npz", {"backbone": "resnet"}, "resnet"),
        (images, "v.npz", {"backbone": "auto"}, "auto"),
        (images, "v.npz", {"image_size": 1}, "too small"),
        (images, "v.npz", {"weights": "no.h5"}, "no such file: --weights"),
        (images, "v.npz", {"model": "no.tlkit"}, "no such bundle"),
        (images, "v.npz", {"model": "any.tlkit", "backbone": "vgg16"}, "--backbone does not apply to --model"),
        (images, "v.npz", {"model": "any.tlkit", "image_size": 96}, "--image-size does not apply to --model"),
        (images, "v.npz", {"engine": "abacus"}, "unknown engine"),
        (images / "a" / "broken.png", "v.npz", {"image_size": SIZE}, "no readable image among 1 file"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for given_images, output, options, message in cases:
        with pytest.raises(tlkit.TlkitError) as caught:
            tlkit.embed_file([given_images], tmp_path / output, **options)  # type: ignore[list-item]
        assert message in caught.value.message, caught.value.message
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.npz").read_bytes() == b"mine"


def test_two_runs_do_not_write_the_same_file(images: Path, tmp_path: Path) -> None:
    with work_folder(tmp_path / "v.npz"), pytest.raises(tlkit.TlkitError, match="another run is writing"):
        tlkit.embed_file([images], tmp_path / "v.npz", image_size=SIZE)
    assert tlkit.embed_file([images], tmp_path / "v.npz", image_size=SIZE).images == 12
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("v")] == ["v.npz"]


def test_a_file_that_appeared_meanwhile_is_not_replaced(images: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    once = module.rows_of

    def slow(*arguments: Any) -> Iterator[Any]:
        yield from once(*arguments)
        (tmp_path / "v.csv").write_text("mine")

    monkeypatch.setattr(module, "rows_of", slow)
    with pytest.raises(tlkit.TlkitError, match="output exists"):
        tlkit.embed_file([images], tmp_path / "v.csv", image_size=SIZE)
    assert (tmp_path / "v.csv").read_text() == "mine"
    assert not (tmp_path / "v.csv-run").exists()


@pytest.mark.parametrize("cache", ["too small", "not there"])
def test_what_the_cache_cannot_keep_waits_beside_the_output(
    make_folder: Make, tmp_path: Path, monkeypatch: Patch, cache: str
) -> None:
    """An interrupted run goes on from there, the folder goes with the end."""
    root, output, told = make_folder({"a": 70}), tmp_path / "v.npz", Told()
    if cache == "too small":
        monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("TLKIT_CACHE_SIZE", "100KB")
    else:
        (tmp_path / "cache").write_text("a file")
        monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "KEEP_EVERY", 16)
    once = module.rows_of

    def interrupted(*arguments: Any) -> Iterator[Any]:
        for number, row in enumerate(once(*arguments)):
            if number == 50:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(module, "rows_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tlkit.embed_file([root], output, image_size=SIZE, progress=told)
    assert any("50 of 70 images done" in note and "v.npz-run" in note for note in told.notes)
    assert (tmp_path / "v.npz-run").is_dir()
    assert not list((tmp_path / "v.npz-run").glob("part*"))
    monkeypatch.setattr(module, "rows_of", once)
    result = tlkit.embed_file([root], output, image_size=SIZE, progress=told)
    assert result.images == 70
    assert 50 <= result.reused < 70
    assert any("a later run computes them again" in note for note in told.notes)
    assert not (tmp_path / "v.npz-run").exists()
    with np.load(output) as found:
        assert len(set(found["file"].tolist())) == 70


def test_a_full_disk_is_one_line(images: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    once = FORMATS[".csv"]
    monkeypatch.setitem(FORMATS, ".csv", lambda path, layout: once(Path("/dev/full"), layout))
    with pytest.raises(tlkit.TlkitError, match=r"cannot write .*v\.csv: No space left"):
        tlkit.embed_file([images], tmp_path / "v.csv", image_size=SIZE)
    assert not (tmp_path / "v.csv").exists()
    assert not (tmp_path / "v.csv-run").exists()


NAMES = st.text(st.characters(exclude_categories=(), exclude_characters="\0"), min_size=1, max_size=20)
VALUES = st.floats(width=16, allow_nan=False, allow_infinity=False)


@given(data=st.data(), count=st.integers(1, 3), rows=st.integers(0, 4))
@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject, count: int, rows: int
) -> None:
    """Any file name, any vector: text as UTF-8, numbers to the bit."""
    blocks = tuple((f"stage{number}", number) for number in range(1, count + 1))
    layout = Layout(blocks, {"backbone": "net"})
    vectors = data.draw(arrays.arrays(np.float32, (rows, layout.columns), elements=VALUES))
    names = [data.draw(NAMES) for _ in range(rows)]
    hashes = [os.urandom(32).hex() for _ in range(rows)]
    file = tmp_path_factory.mktemp("formats") / f"v{suffix}"
    with FORMATS[suffix](file, layout) as write:
        for row in zip(names, hashes, vectors, strict=True):
            write(*row)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    found = read(file, layout.columns)
    assert [original(name, raw=suffix != ".csv") for name in found[0]] == names
    assert found[1] == hashes
    assert found[2].tobytes() == vectors.tobytes()


def read(file: Path, columns: int) -> tuple[list[str], list[str], Any]:
    if file.suffix == ".npz":
        with np.load(file) as found:
            return found["file"].tolist(), found["sha256"].tolist(), found["vector"]
    if file.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(file)
        vectors = np.array(table["vector"].to_pylist(), dtype=np.float32).reshape(-1, columns)
        return table["file"].to_pylist(), table["sha256"].to_pylist(), vectors
    with file.open(newline="", encoding="utf-8") as text:
        heading, *rows = csv.reader(text)
    assert len(heading) == 2 + columns
    vectors = np.array([[float(each) for each in row[2:]] for row in rows], dtype=np.float32).reshape(-1, columns)
    return [row[0] for row in rows], [row[1] for row in rows], vectors


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """What Python allocates while rows are written, at its peak: of six times the rows no more."""
    import tracemalloc

    layout = Layout((("top", 250),), {})
    row = np.arange(250, dtype=np.float32)
    for suffix, form in FORMATS.items():
        peaks = []
        for count in (600, 3600):
            tracemalloc.start()
            with form(tmp_path / f"{count}{suffix}", layout) as write:
                for _ in range(count):
                    write("file", "00" * 32, row)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < peaks[0] + 1e6, (suffix, peaks)  # the rows themselves are 3 MB more
