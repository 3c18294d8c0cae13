"""Images and bundles in object stores: the same rows as of local files, mistakes in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran, Trained

import tlkit as api
from tlkit import remote
from tlkit.api.predict import Prediction
from tlkit.errors import TlkitError
from tlkit.remote import RemotePath, is_remote, local_text, remote_path

fsspec = pytest.importorskip("fsspec", reason="reading object stores requires fsspec, which is not installed")
Tlkit = Callable[..., Ran]
Upload = Callable[[Path, str], None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was listed is forgotten, and failed requests are repeated at once."""
    remote._LISTED.clear()
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.0)


@pytest.fixture
def memory() -> Iterator[Any]:
    """A store in this process."""
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()


def upload(store: Any, folder: Path, place: str) -> None:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            store.pipe_file(f"{place}/{file.relative_to(folder).as_posix()}", file.read_bytes())


@pytest.fixture
def few(garden: Path, tmp_path: Path) -> Path:
    """Four images of two classes, and two files that are none."""
    root = tmp_path / "few"
    for name in ("birds", "fruit"):
        (root / name).mkdir(parents=True)
        for file in sorted((garden / name).iterdir())[:6]:
            shutil.copy(file, root / name)
    (root / "birds" / "broken.jpg").write_text("no image")
    (root / "notes.md").write_text("no image")
    return root


def said(row: Prediction, start: str) -> Any:
    return row.file[len(start) :], row.label, row.probability, row.error


def test_rows_of_s3_are_those_of_local_files(
    tlkit: Tlkit, trained: Trained, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs", reason="s3:// requires s3fs, which is not installed")
    server = pytest.importorskip("moto.server", reason="S3 on this machine requires moto, which is not installed")
    s3 = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    try:
        address = "http://{}:{}".format(*s3.get_host_and_port())
        for name, value in {
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "hidden",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        store = fsspec.filesystem("s3", skip_instance_cache=True)
        store.mkdir("bucket")
        upload(store, few, "bucket/few")
        upload(store, trained.bundle, "bucket/garden.tlkit")
        ran = tlkit("predict", "s3://bucket/few", "--model", "s3://bucket/garden.tlkit", "--format", "json")
        plain = tlkit("predict", few, "--model", trained.bundle, "--format", "json")
        assert ran.code == plain.code == 0, ran.err
        assert ran.out.replace("s3://bucket/few/", "") == plain.out.replace(f"{few}/", "")
        assert "hidden" not in ran.out + ran.err
        gone = tlkit("predict", "s3://other/few", "--model", trained.bundle)
        assert (gone.code, gone.out) == (2, "")
        assert "error: no images in s3://other/few" in gone.err
    finally:
        s3.stop()


def test_every_command_that_reads_images(memory: Any, trained: Trained, few: Path, tmp_path: Path) -> None:
    upload(memory, few, "/bucket/few")
    url = "memory://bucket/few"
    assert api.check(url, suspects=False).to_json() == api.check(few, suspects=False).to_json()
    ours, theirs = api.evaluate(url, trained.bundle).to_json(), api.evaluate(few, trained.bundle).to_json()
    assert (ours["log_loss"], ours["confusion_matrix"]) == (theirs["log_loss"], theirs["confusion_matrix"])
    vectors, local = api.embed(url), api.embed(few)
    assert [each.content for each in vectors] == [each.content for each in local]
    assert vectors[0].file == "memory://bucket/few/birds/" + Path(local[0].file).name
    single = api.predict(vectors[0].file, trained.bundle)[0]
    assert said(single, url) == said(api.predict(local[0].file, trained.bundle)[0], str(few))
    parts = [
        api.predict_file(each, tmp_path / "rows.csv", trained.bundle, shard=f"{number}/2").output
        for number, each in ((1, url), (2, few))
    ]
    assert api.merge(parts, tmp_path / "rows.csv").images == 13  # names are those below the folder


def test_a_file_address_is_a_local_path(few: Path) -> None:
    assert remote_path(f"file://{few}") is None
    assert local_text(f"file://{few}") == str(few)
    assert api.check(f"file://{few}", suspects=False).images == 13


def test_requests_that_fail_are_repeated(
    memory: Any, trained: Trained, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(memory, few, "/bucket/few")
    real, count = type(memory).cat_file, [0]

    def failing(*given: Any, **named: Any) -> Any:
        count[0] += 1
        if count[0] % 3 == 0:
            raise RuntimeError("503 https://key:secret@host")
        return real(*given, **named)

    monkeypatch.setattr(type(memory), "cat_file", failing)
    rows = api.predict("memory://bucket/few", trained.bundle)
    assert sum(row.error is None for row in rows) == 12

    def gone(*_: Any, **__: Any) -> Any:
        raise OSError("https://key:secret@host")

    monkeypatch.setattr(type(memory), "cat_file", gone)
    lost = api.predict("memory://bucket/few", trained.bundle)
    assert {row.error for row in lost} == {"the store does not answer (OSError)"}


def test_it_is_listed_once(memory: Any, trained: Trained, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(memory, few, "/bucket/few")
    real, asked = type(memory).find, []

    def find(self: Any, *given: Any, **named: Any) -> Any:
        asked.append(given)
        return real(self, *given, **named)

    monkeypatch.setattr(type(memory), "find", find)
    api.predict("memory://bucket/few", trained.bundle)
    api.check("memory://bucket/few", suspects=False)
    assert len(asked) == 1


def test_a_resumed_run_sees_that_an_object_changed(memory: Any, trained: Trained, few: Path) -> None:
    upload(memory, few, "/bucket/few")
    file = remote_path("memory://bucket/few/birds/broken.jpg")
    folder = remote_path("memory://bucket/few")
    assert file is not None
    assert folder is not None
    remote.listing(folder)
    before = remote.stamp_of(file)
    memory.pipe_file("/bucket/few/birds/broken.jpg", b"other than before")
    remote._LISTED.clear()
    remote.listing(folder)
    assert before is not None
    assert remote.stamp_of(file) != before


def test_bundles_are_fetched_once_and_verified(
    memory: Any, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    upload(memory, trained.bundle, "/models/garden.tlkit")
    first = api.load("memory://models/garden.tlkit")
    monkeypatch.setattr(type(memory), "cat_file", lambda *_, **__: pytest.fail("fetched again"))
    assert api.load("memory://models/garden.tlkit").path == first.path
    monkeypatch.undo()
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    memory.pipe_file("/models/garden.tlkit/labels.txt", b"other\n")
    remote._LISTED.clear()
    with pytest.raises(TlkitError, match="damaged bundle"):
        api.load("memory://models/garden.tlkit")
    with pytest.raises(TlkitError, match="no such bundle: memory://models/none"):
        api.load("memory://models/none")
    assert not [*(tmp_path / "cache" / "bundles").glob("*.part")]


def test_what_is_refused(
    tlkit: Tlkit, memory: Any, trained: Trained, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(memory, few, "/bucket/few")

    def refused(*command: object) -> str:
        ran = tlkit(*command, "--model", trained.bundle, cwd=tmp_path)
        assert (ran.code, ran.out) == (2, "")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["few"]
        assert "hint: " in ran.err
        return ran.err

    output = ("--output", "memory://bucket/rows.csv")
    assert "--output must be a local path, not memory://bucket/rows.csv" in refused("predict", few, *output)
    assert "must not hold credentials" in (held := refused("predict", "s3://key:secret@bucket/few"))
    assert "secret" not in held
    assert "no such kind of address: nosuch://" in refused("predict", "nosuch://bucket/few")
    assert "a pattern does not apply" in refused("predict", "memory://bucket/few/*/x")
    assert "a table must be a local file" in refused("predict", "memory://bucket/labels.csv")
    assert "a table must be a local file" in refused("evaluate", "memory://bucket/labels.csv")
    assert "no such folder: memory://bucket/none" in refused("evaluate", "memory://bucket/none")
    assert "in an object store, so it cannot be sorted" in refused("predict", "memory://bucket/few", "--sort-into", "a")
    monkeypatch.setattr(remote, "is_installed", lambda module: module != "s3fs")
    missing = refused("predict", "s3://bucket/few")
    assert "reading s3:// requires s3fs" in missing
    assert "tlkit[cloud]" in missing or "s3fs" in missing


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/a/b.jpg", "s3://bucket/a/b.jpg"),
        ("s3:/bucket/a/b.jpg", "s3://bucket/a/b.jpg"),
        ("S3://bucket/a", "s3://bucket/a"),
        ("C:/photos/a.jpg", None),
        ("/photos/s3:/a.jpg", None),
        ("photos", None),
        ("", None),
    ],
)
def test_which_paths_are_addresses(text: str, url: str | None) -> None:
    found = remote_path(text)
    assert (None if found is None else str(found)) == url
    if isinstance(found, RemotePath):
        assert is_remote(found)
        assert is_remote(str(found))
        assert str(found / "c" / "d.jpg") == f"{url}/c/d.jpg"
        assert str((found / "c").parent) == url
        assert found.absolute() == found
