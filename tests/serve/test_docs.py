"""The snippets of docs/serve.md do what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Trained

TOKEN = "a-token-of-some-length"
PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def options_of(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]*", text))


def test_curl_and_python(serving: Any, trained: Trained, photos: list[Path], tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("requires curl")
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        shutil.copy(photos[0], tmp_path / name)
    commands = [line for text in snippets("sh") for line in text.splitlines() if line.startswith("curl ")]
    (program,) = snippets("python")
    assert len(commands) == 6
    with serving(trained.bundle, cwd=tmp_path) as one:

        def run(*command: str) -> str:
            here = [each.replace("http://127.0.0.1:8000", one.said["url"]) for each in command]
            return subprocess.run(here, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

        label = json.loads(run("sh", "-c", commands[0]))[0]["label"]
        assert [row["label"] for row in json.loads(run("sh", "-c", commands[1]))] == [label] * 2
        assert json.loads(run("sh", "-c", commands[2]))[0]["label"] == label
        run("sh", "-c", commands[3])
        assert (tmp_path / "where.png").read_bytes().startswith(b"\x89PNG")
        assert json.loads(run("sh", "-c", commands[4]))[0]["label"] == label
        assert json.loads(run("sh", "-c", commands[5]))["outputs"][1]["data"] == [label]
        assert run(sys.executable, "-c", program).split()[0] == label
        _check_javascript(run, label)


def _check_javascript(run: Any, label: str) -> None:
    if shutil.which("node") is None:
        return
    (script,) = snippets("js")
    call = 'require("fs").openAsBlob("photo.jpg").then(label).then(console.log)'
    assert run("node", "-e", f"{script}\n{call}").split() == [label]


def test_every_option_on_the_page_is_one(tlkit: Any) -> None:
    known = options_of(tlkit("serve", "--help").out)
    used = options_of(" ".join(re.findall(r"tlkit serve [^\n`]*", PAGE))) | options_of(
        " ".join(re.findall(r'CMD \["tlkit".*', PAGE))
    )
    assert used
    assert used <= known
    named = {each for each in re.findall(r"`(--[a-z-]+)", PAGE) if each != "--overwrite"}
    assert named <= known


def test_limits_on_the_page_are_the_defaults() -> None:
    from tlkit.serve.options import ServeOptions

    row = dict(re.findall(r"\| `(--[a-z-]+)` \| (\d+) ", PAGE))
    plain = ServeOptions()
    assert row == {
        "--max-upload": str(plain.max_upload),
        "--max-pixels": str(plain.max_pixels),
        "--max-files": str(plain.max_files),
        "--queue": str(plain.queue),
        "--timeout": f"{plain.timeout:g}",
    }


def test_metrics_on_the_page_are_there(served: Any) -> None:
    there = set(re.findall(r"^# TYPE (tlkit_\w+)", served.client.get("/metrics").text, re.MULTILINE))
    assert set(re.findall(r"`(tlkit_\w+)`", PAGE)) == there


def test_the_unit_and_nginx_files(tmp_path: Path) -> None:
    import configparser

    unit = configparser.RawConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    (text,) = snippets("ini")
    unit.read_string(text)
    assert unit["Service"]["ExecReload"].endswith("-HUP $MAINPID")
    (text,) = snippets("nginx")
    assert text.count("{") == text.count("}")
