"""The page of the options is what the options say."""

from __future__ import annotations

import subprocess
import sys

from conftest import ROOT


def test_the_page_of_the_options_is_up_to_date() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_options.py", "--check"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
