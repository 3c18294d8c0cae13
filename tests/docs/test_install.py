"""The page on installing names what there is."""

from __future__ import annotations

import configparser
import re

from conftest import ROOT

PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


def extras() -> set[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return set(parser["options.extras_require"]) - {"test", "docs", "dev"}


def test_it_names_every_extra_and_no_other() -> None:
    table = PAGE.partition("## Extras")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == extras()


def test_the_doctor_names_every_extra() -> None:
    from tlkit.api.doctor import EXTRAS

    assert set(EXTRAS) == extras()


def test_the_files_it_installs_from_are_there() -> None:
    named = set(re.findall(r"pip install -r (\S+)", PAGE))
    assert named == {"lean.txt", "predict-only.txt"}
    assert all((ROOT / name).is_file() for name in named)


def test_what_it_shows_is_what_is_said() -> None:
    """The messages of an installation without TensorFlow, as tests/test_lean.py has them."""
    tests = (ROOT / "tests" / "test_lean.py").read_text(encoding="utf-8")
    for said in (
        "TensorFlow and Keras are not installed (pip install tensorflow keras)",
        "hint: pip install tensorflow keras",
    ):
        assert said in PAGE
        assert said in tests
