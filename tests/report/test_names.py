"""Names that no font has, in plots and sheets: drawn somehow, and without a word of the libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tlkit.report.sheet import Tile, contact_sheet

NAMES = ["caf\udce9", "猫", "two\nlines", "bell\x07", "\x85", "🐢", "日本語" * 20, "a$b$", "עברית", "<b>&", ""]
SCRIPT = f"""
from tlkit.report.plots import confusion_map, interval_bars
import tlkit.cli.app
names = {NAMES!r}
count = len(names)
bars = str(interval_bars(names, [0.5] * count, [0.4] * count, [0.6] * count, None))
table = str(confusion_map([[2] * count] * count, names))
for text in (bars, table):
    text.encode("utf-8")
    assert "猫" in text and "<b>" not in text, text
"""


@pytest.mark.parametrize("cache", ["cache", "/proc/nowhere"])
def test_plots_say_nothing_whatever_the_names_and_folders(tmp_path: Path, cache: str) -> None:
    env = {**os.environ, "HOME": "/proc/nowhere", "TMPDIR": "/proc/nowhere", "TLKIT_CACHE": str(tmp_path / cache)}
    env = {
        name: value for name, value in env.items() if name not in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    }
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", SCRIPT],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if cache == "cache":
        assert list((tmp_path / cache / "matplotlib").iterdir())


def test_captions_of_any_name_are_drawn() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    sheet = contact_sheet([Tile((image,), (name, name)) for name in NAMES])
    assert sheet.size[0] > 224
