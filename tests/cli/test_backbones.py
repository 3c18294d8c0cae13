from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran

from tlkit.backbones import catalog
from tlkit.cli import backbones as module

Tlkit = Callable[..., Ran]


def test_the_whole_catalogue_is_listed(tlkit: Tlkit, tmp_path: Path) -> None:
    ran = tlkit("backbones", env={"KERAS_HOME": str(tmp_path)})
    assert (ran.code, ran.err) == (0, "")
    heading, *rows, blank, legend = ran.out.splitlines()
    assert heading.split() == ["name", "params", "(M)", "input", "top-1", "weights"]
    assert blank == ""
    assert legend.startswith("params: ")
    assert [row.split()[0] for row in rows] == list(catalog.names())
    assert rows[0].split() == ["efficientnet-lite0", "3.4", "224", "75.1", "packaged"]
    assert next(row for row in rows if row.startswith("vgg16 ")).split() == ["vgg16", "14.7", "224", "71.3", "download"]


def test_json_is_one_document_and_knows_what_is_on_this_machine(tlkit: Tlkit, tmp_path: Path) -> None:
    row = catalog.get("mobilenet-v2")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / row.weights_file).write_bytes(b"weights")
    ran = tlkit("backbones", "--json", env={"KERAS_HOME": str(tmp_path)})
    assert ran.out.count("\n") == 1
    rows = {each["name"]: each for each in ran.json["backbones"]}
    assert list(rows) == list(catalog.names())
    assert rows["mobilenet-v2"] == {
        "name": "mobilenet-v2",
        "params": 2257984,
        "input_size": 224,
        "top1": 71.3,
        "weights": "on this machine",
    }
    assert {each["weights"] for each in rows.values()} == {"packaged", "on this machine", "download"}


def test_an_unknown_accuracy_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    module._present([{"name": "net", "params": 1_000_000, "input_size": 9, "top1": None, "weights": "download"}])
    assert capsys.readouterr().out.splitlines()[1].split() == ["net", "1.0", "9", "-", "download"]


def test_it_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from tlkit.cli.app import run\n"
        "code = run(['backbones'])\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'numpy', 'scipy', 'h5py', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert catalog.DEFAULT in done.stdout


def test_it_answers_at_once(fastest: Callable[..., float]) -> None:
    assert fastest("backbones") < 0.5  # newer releases of Typer spend up to half of it on importing pydantic


def test_usage(tlkit: Tlkit) -> None:
    assert "Example: tlkit backbones" in tlkit("backbones", "--help").out
    ran = tlkit("backbones", "shwo")
    assert (ran.code, ran.out) == (2, "")
    error, hint = ran.err.splitlines()
    assert error.startswith("error: No such command 'shwo'")
    assert hint == "hint: tlkit backbones --help"


def test_the_stages_of_a_network_are_shown(tlkit: Tlkit) -> None:
    ran = tlkit("backbones", "show", "MobileNetV2", "--image-size", "96", "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert (found["name"], found["input_size"]) == ("mobilenet-v2", 96)
    assert [stage["name"] for stage in found["stages"]] == [f"stage{n}" for n in range(1, len(found["stages"]) + 1)]
    assert found["stages"][-1]["channels"] == 1280
    assert set(found["early"]) < {stage["name"] for stage in found["stages"]}
    shown = tlkit("backbones", "show", "mobilenet-v2", "--image-size", "96")
    for stage in found["stages"]:
        assert f"{stage['height']}x{stage['width']}x{stage['channels']}" in shown.out
    assert shown.out.count("considered") == len(found["early"])


def test_a_network_that_is_not_there_is_said(tlkit: Tlkit) -> None:
    ran = tlkit("backbones", "show", "resnet51")
    assert ran.code == 2
    assert "error: unknown backbone 'resnet51'" in ran.err
    assert ran.out == ""
