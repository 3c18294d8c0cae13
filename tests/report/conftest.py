"""Pages are tested with their plots."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def drawn(draws: None) -> None: ...
