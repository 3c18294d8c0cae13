"""The program for ONNX Runtime in docs/export.md reads and labels images as ``predict`` does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Ran, Trained
from PIL import Image

from tlkit.bundle.load import load
from tlkit.images.read import read_image

PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
PROGRAM = next(each for each in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S) if "onnxruntime" in each)


@pytest.fixture(scope="module")
def program(
    tlkit: Callable[..., Ran], trained: Trained, unseen: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], str]:
    """Where the program ran, its variables, and what it printed."""
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    folder = tmp_path_factory.mktemp("program")
    ran = tlkit("export", "--model", trained.bundle, "--format", "onnx", "--output", folder / "garden-onnx", cwd=folder)
    assert ran.code == 0, ran.err
    with Image.open(unseen / "birds-magpie.png") as magpie:
        magpie.convert("RGB").resize((1400, 1000)).save(folder / "photo.jpg", quality=90)
    Image.effect_noise((300, 280), 200).save(folder / "another.png")
    variables: dict[str, Any] = {}
    printed: list[str] = []
    variables["print"] = lambda *parts: printed.append(" ".join(map(str, parts)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(PROGRAM, "docs/export.md", "exec"), variables)
    return folder, variables, "\n".join(printed)


def test_it_labels_as_predict_does(
    tlkit: Callable[..., Ran], trained: Trained, program: tuple[Path, dict[str, Any], str]
) -> None:
    folder, variables, printed = program
    ran = tlkit("predict", folder / "photo.jpg", folder / "another.png", "--model", trained.bundle, "--json")
    assert ran.code == 0, ran.err
    rows = printed.splitlines()
    assert len(rows) == len(ran.lines) == 2
    for line, row, wanted in zip(rows, variables["probabilities"], ran.lines, strict=True):
        name, label, _, *unknown = line.split()
        assert (name, label) == (Path(wanted["file"]).name, wanted["label"])
        assert abs(float(row.max()) - wanted["probability"]) < 1e-3
        assert (unknown == ["unknown"]) == wanted["unknown"]
    assert [each["unknown"] for each in ran.lines] == [False, True]


@pytest.mark.parametrize("turn", [1, 3, 6])
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("x.jpg", (1830, 1000)),
        ("x.jpg", (90, 120)),
        ("x.png", (1000, 950)),
        ("x.png", (300, 200)),
        ("x.webp", (90, 120)),
    ],
)
def test_it_reads_the_same_pixels(
    trained: Trained,
    program: tuple[Path, dict[str, Any], str],
    tmp_path: Path,
    name: str,
    turn: int,
    size: tuple[int, int],
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    coarse = np.random.default_rng(turn).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(tmp_path / name, exif=exif)
    found = program[1]["pixels"](tmp_path / name)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, read_image(tmp_path / name, load(trained.bundle).input_size))
