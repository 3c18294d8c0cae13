from __future__ import annotations

from pathlib import Path

import pytest

from tlkit import memory
from tlkit.errors import TlkitError


@pytest.mark.parametrize(("text", "size"), [("2GB", 2 * 10**9), ("500m", 500 * 10**6), ("1.5G", 1500 * 10**6)])
def test_the_variable_says_how_much(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLKIT_MEMORY", text)
    assert memory.usable_memory() == size


@pytest.mark.parametrize("text", ["much", "-1GB", "0", "1e999", "nan"])
def test_a_wrong_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLKIT_MEMORY", text)
    with pytest.raises(TlkitError, match="TLKIT_MEMORY must be a size such as 2GB"):
        memory.usable_memory()


def test_the_least_of_machine_and_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TLKIT_MEMORY", raising=False)
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("2500\n")
    (tmp_path / "memory.stat").write_text("anon 2000\ninactive_file 400\n")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    assert memory.usable_memory() == int(memory.SHARE * 900)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.usable_memory() > 900


@pytest.mark.parametrize(("count", "words"), [(1.44e9, "1.4 GB"), (3e8, "300 MB"), (10, "1 MB")])
def test_sizes_in_words(count: float, words: str) -> None:
    assert memory.in_words(count) == words
