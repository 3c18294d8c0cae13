"""What several tests of the command line share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def photos(unseen: Path, tmp_path: Path) -> Path:
    """The images that the sample's bundles were not trained on, and a file that is no image."""
    folder = tmp_path / "photos"
    shutil.copytree(unseen, folder)
    (folder / "broken.jpg").write_text("no image")
    return folder
