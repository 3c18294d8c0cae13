"""Cells of CSV: nothing is lost, no line is broken, and no formula is run."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlkit.csvtext import cell, line, original

ANY = st.text(st.characters(), max_size=20) | st.text("\\xu0123456789abcdef'=+-@\udcff\n\r\t\0", max_size=20)


@given(text=ANY, raw=st.booleans())
@example(text=r"C:\photos\x0a.jpg", raw=False)
@example(text="'=1", raw=False)
@example(text="\udce9", raw=True)
def test_every_text_comes_back_from_one_line_of_utf8(text: str, raw: bool) -> None:
    written = line([text, text], raw=raw)
    assert written.endswith("\n")
    assert len(written.splitlines()) == 1
    (row,) = csv.reader(io.StringIO(written.encode("utf-8").decode("utf-8"), newline=""))
    assert [original(each, raw=raw) for each in row] == [text, text]


@pytest.mark.parametrize("text", ["=1+1", "+A1", "-A1+2", "@SUM(A1)", "=cmd|' /C calc'!A0", "＝1", "-", "'=1"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert cell(text, raw=True) == text


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1", "\x0b=1"])
def test_no_cell_begins_with_what_a_spreadsheet_skips(text: str) -> None:
    assert cell(text).startswith("\\x")


@pytest.mark.parametrize("text", ["-1", "+2.5", "-1e-05", "-.5", "a=b", "C:\\photos\\new.jpg", "café", "猫", ""])
def test_numbers_and_ordinary_names_stay_as_they_are(text: str) -> None:
    assert cell(text) == text


def test_numbers_are_never_escaped() -> None:
    assert line([-1, -0.5, None, "-x", True]) == "-1,-0.5,,'-x,True\n"
