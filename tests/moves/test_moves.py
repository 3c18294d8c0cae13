"""Files that go into folders by a journal: every one is exactly once somewhere, whenever the process is killed."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from faults.injector import Injector, kill_at
from hypothesis import given
from hypothesis import strategies as st

from tlkit.errors import TlkitError
from tlkit.moves import act
from tlkit.moves.batch import Mover, TakenBack, Wanted, take_back_all
from tlkit.moves.folders import MAX_BYTES, folder_names
from tlkit.moves.journal import ACTIONS, COPY, LINK, MOVE, read_journal

FEW = ["a.jpg", "sub/a.jpg", "sub/\udcff.jpg"]
NAMES = ["a.jpg", "b.jpg", "sub/a.jpg", "sub/c d.jpg", "sub/\udcff.jpg"]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed child needs fork")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return fill(tmp_path / "place")


def fill(place: Path, names: Sequence[str] = NAMES) -> Path:
    for number, name in enumerate(names):
        file = place / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name.encode("utf-8", "surrogateescape").hex() * 10)
        os.utime(file, ns=(10**18 + number, 10**18 + number))
    return place


def tree(place: Path) -> dict[str, tuple[bytes, int]]:
    """Contents and time of every file."""
    found = (path for path in sorted(place.rglob("*")) if path.is_file())
    return {str(path.relative_to(place)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def wanted(place: Path) -> Iterator[Wanted]:
    """Where each image is to go: two of one name into one folder."""
    for path in sorted(place.rglob("*.jpg")):
        yield Wanted(str(path), "two" if "c d" in path.name else "one", "label", 0.5)


def sort(place: Path, action: str) -> Mover:
    mover = Mover(place / "sorted", action, {"asked": 1})
    with mover:
        list(mover.send(each for each in wanted(place / "images") if not mover.is_placed(each.source)))
    return mover


def take_back(mover: Mover) -> TakenBack:
    return take_back_all(read_journal(mover.journal), lambda _: None)


@pytest.mark.parametrize("action", ACTIONS)
def test_files_arrive_once_and_go_back(place: Path, action: str) -> None:
    before = tree(place)
    mover = sort(place, action)
    arrived = sorted(path.name for path in (place / "sorted").rglob("*.jpg"))
    assert arrived == sorted(["a.jpg", "a-2.jpg", "b.jpg", "c d.jpg", "\udcff.jpg"])
    assert len(list((place / "images").rglob("*.jpg"))) == (0 if action == MOVE else 5)
    assert {path.is_symlink() for path in (place / "sorted").rglob("*.jpg")} == {action == LINK}
    assert sorted(tree(place / "sorted").values()) == sorted(before.values())
    assert take_back(mover) == TakenBack(5, (), 3)
    mover.journal.unlink()
    assert tree(place) == before
    assert not (place / "sorted").exists()


@pytest.mark.parametrize("action", [COPY, LINK])
def test_what_is_there_already_is_not_made_again(place: Path, action: str) -> None:
    first = sort(place, action)
    (place / "images" / "new.jpg").write_text("new")
    second = sort(place, action)
    assert len(list((place / "sorted").rglob("*.jpg"))) == 6
    assert take_back(second).restored == 1
    assert take_back(first).restored == 5


@needs_fork
@pytest.mark.parametrize("action", ACTIONS)
def test_a_killed_run_is_finished_by_the_next(tmp_path: Path, action: str) -> None:
    number = 1
    while True:
        place = fill(tmp_path / str(number), FEW)
        if not kill_at(number, partial(sort, place, action)):
            break
        mover = sort(place, action)
        assert read_journal(mover.journal).done
        assert len(list((place / "sorted").rglob("*"))) == 4, "a folder, three files, and nothing left over"
        assert len(list((place / "images").rglob("*.jpg"))) == (0 if action == MOVE else 3)
        fill(tmp_path / "fresh", FEW)
        assert sorted(tree(place / "sorted").values()) == sorted(tree(tmp_path / "fresh").values())
        for journal in (*place.glob("*.jsonl"),):
            assert take_back_all(read_journal(journal), lambda _: None).left == ()
            journal.unlink()
        assert tree(place) == tree(tmp_path / "fresh")
        number += 1
    assert number > 10


@needs_fork
@pytest.mark.parametrize("action", ACTIONS)
def test_taking_back_may_be_killed_and_repeated(tmp_path: Path, action: str) -> None:
    number = 1
    fill(tmp_path / "fresh", FEW)
    while True:
        place = fill(tmp_path / str(number), FEW)
        mover = sort(place, action)
        if not kill_at(number, partial(take_back, mover)):
            break
        if not read_journal(mover.journal).undone:
            assert take_back(mover).left == ()
        assert tree(place / "images") == tree(tmp_path / "fresh" / "images")
        assert not (place / "sorted").exists()
        number += 1
    assert number > 2


@pytest.mark.parametrize("action", ACTIONS)
def test_a_full_disk_is_said_and_the_next_run_goes_on(tmp_path: Path, action: str) -> None:
    number = 1
    while True:
        place = fill(tmp_path / str(number), FEW)
        said = ""
        try:
            with Injector(number, errno.ENOSPC).active():
                sort(place, action)
        except TlkitError as error:
            said = str(error)
        if not said and number > 30:
            break
        assert "No space left" in (said or "No space left, but nothing was lost")
        if said:
            sort(place, action)
        assert len(list((place / "sorted").rglob("*.jpg"))) == 3
        number += 1
    assert number > 10


def test_another_file_system_is_copied_to(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    before = tree(place)
    monkeypatch.setattr(act, "rename_new", refused)
    mover = sort(place, MOVE)
    assert len(tree(place / "sorted")) == 5
    assert tree(place / "images") == {}
    assert take_back(mover).left == ()
    mover.journal.unlink()
    assert tree(place) == before


def test_a_file_in_both_places_after_a_kill_is_one_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move to another file system copies first; here the process ends before the first is removed."""

    class Killed(BaseException):
        pass

    def killed(source: Path, target: Path) -> None:
        act._copy(source, target)
        raise Killed

    before = tree(place)
    with monkeypatch.context() as patched:
        patched.setattr(act, "_rename_or_copy", killed)
        with pytest.raises(Killed):
            sort(place, MOVE)
    assert (len(tree(place / "images")), len(tree(place / "sorted"))) == (5, 1)
    mover = sort(place, MOVE)
    assert (len(tree(place / "images")), len(tree(place / "sorted"))) == (0, 5)
    take_back(mover)
    mover.journal.unlink()
    assert tree(place) == before


def test_nothing_is_replaced(place: Path) -> None:
    mine = place / "sorted" / "one" / "b.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    mover = sort(place, MOVE)
    assert mine.read_text() == "mine"
    assert (mine.parent / "b-2.jpg").exists()
    (place / "images" / "b.jpg").write_text("new with an old name")
    left = take_back(mover).left
    assert [(Path(path).name, reason) for path, reason in left] == [("b-2.jpg", "another file has its old name")]
    assert (place / "images" / "b.jpg").read_text() == "new with an old name"
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("action", [COPY, MOVE])
def test_what_was_changed_since_stays(place: Path, action: str) -> None:
    mover = sort(place, action)
    (place / "sorted" / "one" / "b.jpg").write_text("changed")
    found = take_back(mover)
    assert found.restored == 4
    assert [reason for _, reason in found.left] == ["it was changed since"]
    assert (place / "sorted" / "one" / "b.jpg").read_text() == "changed"
    (place / "sorted" / "one" / "b.jpg").unlink()
    (place / "images" / "b.jpg").touch()
    assert take_back(mover).left == ()
    with pytest.raises(TlkitError, match="was taken back before"):
        take_back(mover)


def test_the_last_copy_stays(place: Path) -> None:
    mover = sort(place, COPY)
    (place / "images" / "b.jpg").unlink()
    (((file, reason),)) = take_back(mover).left
    assert (Path(file).name, reason) == ("b.jpg", "its original is gone or was changed, so the copy stays")
    assert Path(file).exists()


def test_a_relative_link_is_moved_and_goes_back_as_it_was(place: Path) -> None:
    link = place / "images" / "link.jpg"
    link.symlink_to("b.jpg")
    mover = Mover(place / "sorted", MOVE, None)
    with mover:
        list(mover.send([Wanted(str(link), "one")]))
    assert (place / "sorted" / "one" / "link.jpg").read_text() == (place / "images" / "b.jpg").read_text()
    assert take_back(mover).left == ()
    assert os.fspath(link.readlink()) == "b.jpg"


def test_a_file_that_vanished_is_said(place: Path) -> None:
    mover = Mover(place / "sorted", MOVE, None)
    with mover:
        (went,) = mover.send([Wanted(str(place / "none.jpg"), "one")])
    assert (went.target, went.error) == (None, "it is no longer there")


def test_an_unfinished_run_of_something_else_is_not_mixed_in(place: Path) -> None:
    mover = Mover(place / "sorted", COPY, {"model": "a"})
    mover.__enter__()
    list(mover.send(wanted(place)))
    mover.__exit__(KeyboardInterrupt)
    with pytest.raises(TlkitError, match="asked for something else"):
        Mover(place / "sorted", COPY, {"model": "b"})
    assert take_back(mover).left == ()
    Mover(place / "sorted", COPY, {"model": "b"})  # what was taken back is finished


def test_two_runs_do_not_share_a_journal(place: Path) -> None:
    other = Mover(place / "sorted", COPY, None)
    with Mover(place / "sorted", COPY, None) as mover:
        with pytest.raises(TlkitError, match="another run uses"), other:
            pass
        with pytest.raises(TlkitError, match="another run uses"):
            take_back(mover)
    with pytest.raises(TlkitError, match="has just used"), other:
        pass
    assert Mover(place / "sorted", COPY, None).journal.name == "sorted.journal-2.jsonl"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json\n",
        "[1]\n",
        "{}\n",
        '{"journal": 2, "action": "copy", "into": "/x", "asked": 1, "started": ""}\n',
        '{"journal": 1, "action": "burn", "into": "/x", "asked": 1, "started": ""}\n',
        '{"journal": 1, "action": "copy", "into": "/x", "asked": 1, "started": ""}\n{"source": 5}\n',
        '{"journal": 1, "action": "copy", "into": "/x", "asked": 1, "started": ""}\n{"folder": ""}\n',
        "[" * 100_000 + "\n",
        "x" * (2 << 20),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(text)
    with pytest.raises(TlkitError, match="not a journal"):
        take_back_all(read_journal(file), lambda _: None)
    with pytest.raises(TlkitError, match="cannot read"):
        take_back_all(read_journal(tmp_path / "none.jsonl"), lambda _: None)


@given(st.lists(st.text(max_size=300), min_size=1, max_size=12, unique=True))
def test_every_class_has_a_folder_of_its_own_on_every_system(classes: list[str]) -> None:
    names = folder_names(classes, ["unknown", "review"])
    assert len(names) == len(classes) + 2
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names)
    for name in names:
        assert len(name.encode()) <= MAX_BYTES + 6
        assert name not in ("", ".", "..")
        assert not set(name) & set('/\\:*?"<>|\0\n')
        assert not name.endswith((".", " "))


def test_names_that_can_stay_stay() -> None:
    assert folder_names(["cat", "Größe", "a b", "7", "CON", "..", "../x", ".git"]) == [
        *("cat", "Größe", "a b", "7"),
        *("_CON", "_", "_.._x", "_.git"),
    ]
