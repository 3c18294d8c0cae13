"""The state on disk: whole, old or refused, never something else."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from tlkit.errors import TlkitError
from tlkit.finetune import checkpoint as module
from tlkit.finetune.checkpoint import STATE, load_state, save_state

Patch = pytest.MonkeyPatch
DIRECTORY = b"PK\x01\x02"  # how an entry of a zip archive's directory begins
ARRAYS = {
    "now0": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "now1": np.array(5, dtype=np.int64),
    "best0": np.zeros((0, 3), np.float16),
}
NOTE: dict[str, Any] = {"run": {"step": 7, "rows": [{"loss": None, "val_loss": 0.25}], "best_row": 0}}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == each.dtype and found[name].shape == each.shape and found[name].tobytes() == each.tobytes()
        for name, each in expected.items()
    )


def test_all_comes_back(tmp_path: Path) -> None:
    save_state(tmp_path, ARRAYS, NOTE)
    found = load_state(tmp_path)
    assert found is not None
    assert same(found[0], ARRAYS)
    assert found[1] == NOTE
    assert [file.name for file in tmp_path.iterdir()] == [STATE]


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    assert load_state(tmp_path / "absent") is None


def test_the_last_one_counts(tmp_path: Path) -> None:
    save_state(tmp_path, ARRAYS, NOTE)
    save_state(tmp_path, {"now0": ARRAYS["now0"] + 1}, {"run": {"step": 8}})
    found = load_state(tmp_path)
    assert found is not None
    assert same(found[0], {"now0": ARRAYS["now0"] + 1})
    assert found[1] == {"run": {"step": 8}}


class HaltedError(Exception):
    pass


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), HaltedError()]
)
@pytest.mark.parametrize("when", ["while it is written", "before it is whole", "before it is in place"])
def test_where_writing_fails_the_old_one_stays(
    tmp_path: Path, monkeypatch: Patch, error: BaseException, when: str
) -> None:
    save_state(tmp_path, ARRAYS, NOTE)

    def write_some(file: Any, **_: Any) -> None:
        file.write(b"PK\x03\x04 half of it")
        raise error

    def fail(*_: Any) -> None:
        raise error

    if when == "while it is written":
        monkeypatch.setattr(module.np, "savez", write_some)
    elif when == "before it is whole":
        monkeypatch.setattr(module.os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    expected = TlkitError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        save_state(tmp_path, {"now0": ARRAYS["now0"] + 1}, {"run": {"step": 8}})
    if isinstance(caught.value, TlkitError):
        assert "No space left" in caught.value.message
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == [STATE]
    found = load_state(tmp_path)
    assert found is not None
    assert same(found[0], ARRAYS)


def test_it_reaches_the_disk_before_it_takes_the_old_ones_place(tmp_path: Path, monkeypatch: Patch) -> None:
    events: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(number: int) -> None:
        events.append("on disk")
        sync(number)

    def replaced(self: Path, target: Path) -> Path:
        assert zipfile.is_zipfile(self)
        events.append("in place")
        return replace(self, target)

    monkeypatch.setattr(module.os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    save_state(tmp_path, ARRAYS, NOTE)
    assert events == ["on disk", "in place"]


def test_a_folder_that_cannot_be_written_is_the_users_to_put_right(tmp_path: Path, monkeypatch: Patch) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module.tempfile, "mkstemp", refuse)
    with pytest.raises(TlkitError, match=r"cannot save the state in .*: Permission denied"):
        save_state(tmp_path, ARRAYS, NOTE)


def test_a_folder_that_is_gone_is_the_users_to_put_right(tmp_path: Path) -> None:
    with pytest.raises(TlkitError, match="cannot save the state"):
        save_state(tmp_path / "gone", ARRAYS, NOTE)


def npz(**arrays: Any) -> bytes:
    with tempfile.TemporaryFile() as file:
        np.savez(file, **arrays)
        file.seek(0)
        return file.read()


def note(data: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(data).encode(), np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"PK\x03\x04 no archive",
        b"\x93NUMPY\x01\x00 no array",
        npz(now0=np.zeros(3)),  # no note
        npz(note=np.frombuffer(b"{not json", np.uint8)),
        npz(note=note({"format": 1}), now0=np.array([{}, []], dtype=object)),
    ],
    ids=["empty", "garbage", "half-archive", "half-array", "no-note", "bad-note", "pickle"],
)
def test_what_is_no_state_is_refused_with_a_hint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(TlkitError, match="damaged state") as caught:
        load_state(tmp_path)
    assert caught.value.hint is not None
    assert (tmp_path / STATE).exists()


@pytest.mark.parametrize("data", [{"format": 999, "run": {}}, {"run": {}}, [1], "text", None])
def test_a_state_of_another_version_is_refused_with_a_hint(tmp_path: Path, data: Any) -> None:
    (tmp_path / STATE).write_bytes(npz(note=note(data), now0=np.zeros(3)))
    with pytest.raises(TlkitError, match="another version") as caught:
        load_state(tmp_path)
    assert caught.value.hint is not None


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    save_state(tmp_path, ARRAYS, NOTE)
    (tmp_path / ".state-abc.part").write_bytes(b"half")
    (tmp_path / "mine.part").write_bytes(b"none of the state's")
    assert load_state(tmp_path) is not None
    assert {file.name for file in tmp_path.iterdir()} == {STATE, "mine.part"}


DTYPES = (
    some.boolean_dtypes()
    | some.integer_dtypes(endianness="?")
    | some.unsigned_integer_dtypes()
    | some.floating_dtypes(endianness="?")
    | some.complex_number_dtypes()
)
ANY_ARRAY = some.arrays(DTYPES, some.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(arrays=st.lists(ANY_ARRAY, max_size=4), plain=PLAIN, turned=st.booleans())
def test_any_arrays_and_any_note_survive(arrays: list[np.ndarray], plain: Any, turned: bool) -> None:
    given_arrays = {f"now{i}": each.T if turned else each for i, each in enumerate(arrays)}
    with tempfile.TemporaryDirectory() as name:
        save_state(Path(name), given_arrays, {"run": plain})
        found = load_state(Path(name))
    assert found is not None
    assert same(found[0], given_arrays)
    assert found[1] == {"run": plain}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    save_state(folder, ARRAYS, NOTE)
    return (folder / STATE).read_bytes()


def is_right_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name, STATE).write_bytes(content)
        try:
            found = load_state(Path(name))
        except TlkitError:
            return
    assert found is not None
    assert same(found[0], ARRAYS)
    assert found[1] == NOTE


def test_a_state_that_was_cut_anywhere_is_refused(tmp_path: Path, whole: bytes) -> None:
    for end in range(len(whole)):
        (tmp_path / STATE).write_bytes(whole[:end])
        with pytest.raises(TlkitError):
            load_state(tmp_path)


@settings(max_examples=examples(3))
@given(data=st.data())
def test_arrays_with_bytes_changed_are_never_read_as_something_else(data: st.DataObject, whole: bytes) -> None:
    start = data.draw(st.integers(0, whole.index(DIRECTORY) - 1))
    put = data.draw(st.binary(min_size=1, max_size=8))
    changed = whole[:start] + put + whole[start + len(put) :]
    is_right_or_refused(changed[: len(whole)])


# place in the directory's first entry, and the bit that is turned
DAMAGE = {"version": (6, 0x40), "encrypted": (8, 0x01), "patched": (8, 0x20), "entries swallowed": (33, 0x01)}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_state_whose_directory_is_damaged_is_refused(whole: bytes, damage: str) -> None:
    place, bit = DAMAGE[damage]
    changed = bytearray(whole)
    changed[whole.index(DIRECTORY) + place] ^= bit
    is_right_or_refused(bytes(changed))
