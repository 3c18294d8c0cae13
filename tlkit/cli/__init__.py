"""The command line: parse, call the API, present the result."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``tlkit`` and exit with its exit code."""
    import sys

    try:
        from tlkit.cli.exits import guarded
    except ModuleNotFoundError as error:
        sys.exit(_without(error))
    from tlkit.cli.signals import take_as_interrupts
    from tlkit.cli.streams import prepare

    def begin() -> None:
        take_as_interrupts()
        prepare()
        import tlkit.cli.app  # noqa: F401  (a library may be missing)

    if code := guarded(begin):
        sys.exit(code)
    from tlkit.cli.app import run
    from tlkit.cli.limits import supervised

    sys.exit(supervised(lambda: run(argv)))


def _without(error: ModuleNotFoundError) -> int:
    """Say that the library is missing that the command line is made with."""
    import sys

    from tlkit.libraries import missing_library

    lacking = missing_library(error)
    if lacking is None:
        raise error
    print(f"error: {lacking.message}\nhint: {lacking.hint}", file=sys.stderr)  # noqa: T201
    return 2
