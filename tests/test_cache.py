from __future__ import annotations

from pathlib import Path

import pytest

from tlkit.cache import cache_folder, cache_limit
from tlkit.errors import TlkitError


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("500MB", 500_000_000), ("1.5 GB", 1_500_000_000), ("2g", 2_000_000_000), ("3KiB", 3000)],
)
def test_sizes(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("TLKIT_CACHE_SIZE", text)
    assert cache_limit() == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1 XB"])
def test_what_is_no_size_is_said(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TLKIT_CACHE_SIZE", text)
    with pytest.raises(TlkitError, match="TLKIT_CACHE_SIZE"):
        cache_limit()


def test_the_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
