"""The command line: parses, calls the API, presents."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``tlkit`` and leave with its exit code."""
    import sys

    from tlkit.cli.app import run

    sys.exit(run(argv))
