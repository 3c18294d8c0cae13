from __future__ import annotations

import http.server
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Ran

from tlkit.backbones import catalog

Tlkit = Callable[..., Ran]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


def test_the_whole_catalogue_is_listed(tlkit: Tlkit, tmp_path: Path) -> None:
    ran = tlkit("backbones", env={"KERAS_HOME": str(tmp_path)})
    assert (ran.code, ran.err) == (0, "")
    table, legend, others = ran.out.split("\n\n")
    heading, *rows = table.splitlines()
    titles = "name params (M) G-ops input top-1 top-5 source %/M %/G weights better"
    assert heading.split() == titles.split()
    assert [row.split()[0] for row in rows] == list(catalog.names())
    assert rows[0].split() == [
        "efficientnet-lite0",
        "3.4",
        "0.38",
        "224",
        "75.1",
        "-",
        "tensorflow/tpu",
        "16.00",
        "195.0",
        "packaged",
    ]
    vgg = next(row for row in rows if row.startswith("vgg16 "))
    figures = "vgg16 14.7 15.35 224 71.3 90.1 keras.io 0.52 4.6 download, about 59 MB convnext-base"
    assert vgg.split() == figures.split()
    assert legend.startswith("params, G-ops (billion multiply-adds): ")
    for name in ("AlexNet", "NIN", "GoogLeNet", "ResNet-18", "ResNet-34", "Inception-v4"):
        assert f"\n{name}: " in others
    assert "--backbone FILE.keras" in others


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
        "family": "mobilenet-v2",
        "params": 2257984,
        "params_top": 3538984,
        "operations": 299494272,
        "operations_top": 300774272,
        "operations_published": 300e6,
        "operations_source": "Sandler et al. 2018",
        "input_size": 224,
        "top1": 71.3,
        "top5": 90.1,
        "source": "keras.io",
        "top1_per_mparams": 20.147,
        "top1_per_goperations": 237.0549,
        "dominated_by": None,
        "weights": "on this machine",
        "file": str(tmp_path / "models" / row.weights_file),
        "bytes": 7,
        "ms": None,
        "engine": "",
    }
    assert {each["weights"] for each in rows.values()} == {"packaged", "on this machine", "download"}
    assert ran.json["others"][0]["name"] == "AlexNet"
    assert ran.json["others_how"]


def test_the_list_is_filtered_sorted_and_drawn(tlkit: Tlkit, tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    ran = tlkit("backbones", "--max-params", "10M", "--max-operations", "1G", "--sort", "top1", "--plot", plot)
    rows = ran.out.split("\n\n")[0].splitlines()[1:]
    accuracies = [float(row.split()[4]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert rows[0].startswith("efficientnet-b2 ")
    assert all(float(row.split()[1]) <= 10 for row in rows)
    assert "AlexNet" not in ran.out
    assert ">efficientnet-b2</text>" in plot.read_text()
    assert ">vgg16</text>" not in plot.read_text()


def test_only_what_is_on_this_machine(tlkit: Tlkit, tmp_path: Path) -> None:
    ran = tlkit("backbones", "--offline", "--json", env={"KERAS_HOME": str(tmp_path)})
    assert [row["name"] for row in ran.json["backbones"]] == [f"efficientnet-lite{n}" for n in range(3)]


def test_speed_is_measured_without_weights_too(tlkit: Tlkit, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    env = {"KERAS_HOME": str(tmp_path), "TLKIT_CACHE": str(cache)}
    ran = tlkit("backbones", "--measure", "--max-operations", "60M", "--json", env=env)
    (row,) = ran.json["backbones"]
    assert (row["name"], row["weights"], row["engine"]) == ("mobilenet-v3-small", "download", "litert")
    assert 0.1 < row["ms"] < 5000
    assert not list(cache.rglob("*.tflite"))  # of random weights nothing is kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sort", "beauty"], "unknown --sort 'beauty'"),
        (["--sort", "speed"], "--sort speed requires --measure"),
        (["--max-params", "few"], "--max-params requires a number, not 'few'"),
        (["--max-operations", "-1G"], "--max-operations requires a number, not '-1G'"),
        (["--match", "transformer"], "no backbone matches"),
        (["--measure", "--engine", "steam"], "unknown engine 'steam'"),
        (["--plot", "plot.pdf"], "--plot requires an .svg or .png file, not 'plot.pdf'"),
        (["--plot", "nowhere/plot.svg"], "no such folder: nowhere"),
        (["--plot", "there.svg"], "output exists: there.svg"),
        (["fetch"], "Missing argument"),
        (["fetch", "vgg16", "resnet51"], "unknown backbone 'resnet51'"),
    ],
)
def test_what_cannot_be_is_said(tlkit: Tlkit, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "there.svg").write_text("mine")
    ran = tlkit("backbones", *arguments, cwd=tmp_path, env={"KERAS_HOME": str(tmp_path)})
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {message}" in ran.err
    assert "Traceback" not in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["there.svg"]
    assert (tmp_path / "there.svg").read_text() == "mine"


def test_weights_are_fetched_and_then_here(tlkit: Tlkit, tmp_path: Path) -> None:
    """From a mirror; MobileNet's have no published checksum, so that a made-up file can stand for them."""
    length = 2_000_000  # as the file says itself, at byte 40
    content = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08".ljust(40, b"\0") + length.to_bytes(8, "little")
    content = content.ljust(length, b"\0")
    row = catalog.get("mobilenet")
    served = tmp_path / "served" / catalog.WEIGHTS["mobilenet"][0]
    served.parent.mkdir(parents=True)
    served.write_bytes(content)
    handler = partial(QuietHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        env = {"KERAS_HOME": str(tmp_path / "keras"), catalog.MIRROR: f"http://127.0.0.1:{server.server_port}"}
        fetched = tlkit("backbones", "fetch", "MobileNet", "EfficientNetLite0", "--json", env=env)
        server.shutdown()
        thread.join()
    file = tmp_path / "keras" / "models" / row.weights_file
    assert fetched.json["fetched"] == [
        {"name": "mobilenet", "file": str(file), "bytes": len(content), "had": False, "verified": False},
        {"name": "efficientnet-lite0", "file": None, "bytes": 0, "had": True, "verified": True},
    ]
    assert "Fetching mobilenet (MB): 2" in fetched.err
    assert file.read_bytes() == content
    again = tlkit("backbones", "fetch", "mobilenet", env=env)  # the server is gone
    assert again.out.startswith("mobilenet: already on this machine, size verified")
    listed = tlkit("backbones", "--offline", "--json", env=env).json["backbones"]
    assert "mobilenet" in [each["name"] for each in listed]


def test_usage(tlkit: Tlkit) -> None:
    assert "Example: tlkit backbones" in tlkit("backbones", "--help").out
    ran = tlkit("backbones", "shwo")
    assert (ran.code, ran.out) == (2, "")
    error, hint = ran.err.splitlines()
    assert error.startswith("error: No such command 'shwo'")
    assert hint == "hint: tlkit backbones --help"


def test_the_stages_and_layers_of_a_network_are_shown(tlkit: Tlkit) -> None:
    ran = tlkit("backbones", "show", "MobileNetV2", "--image-size", "96", "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert (found["name"], found["input_size"]) == ("mobilenet-v2", 96)
    assert [stage["name"] for stage in found["stages"]] == [f"stage{n}" for n in range(1, len(found["stages"]) + 1)]
    assert found["stages"][-1]["channels"] == 1280
    assert set(found["early"]) < {stage["name"] for stage in found["stages"]}
    assert found["last"] in {stage["name"] for stage in found["stages"]}
    assert sum(stage["params"] for stage in found["stages"]) == found["params"] == 2257984
    assert sum(stage["operations"] for stage in found["stages"]) == found["operations"]
    assert found["stages"][-1]["receptive_field"] == [491, 491]
    shown = tlkit("backbones", "show", "mobilenet-v2", "--image-size", "96", "--layers")
    stages, layers, _ = shown.out.split("\n\n")
    for stage in found["stages"]:
        assert f"{stage['height']}x{stage['width']}x{stage['channels']}" in stages
    assert stages.count("candidate") == len(found["early"])
    assert [line.split()[0] for line in stages.splitlines() if "cuts here" in line] == [found["last"]]
    assert [line.split()[0] for line in layers.splitlines()[1:]] == [layer["name"] for layer in found["layers"]]
    pad = next(line for line in layers.splitlines() if line.startswith("block_1_pad "))
    assert pad.split() == ["block_1_pad", "ZeroPadding2D", "49x49x96", "0+1", "49", "7"]
    depthwise = next(line for line in layers.splitlines() if line.startswith("block_1_depthwise "))
    assert depthwise.split() == ["block_1_depthwise", "DepthwiseConv2D", "24x24x96", "3", "2", "24", "864", "11"]


def test_a_network_that_is_not_there_is_said(tlkit: Tlkit) -> None:
    ran = tlkit("backbones", "show", "resnet51")
    assert ran.code == 2
    assert "error: unknown backbone 'resnet51'" in ran.err
    assert ran.out == ""
