from __future__ import annotations

import csv
import importlib.util
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, SAMPLES, Ran, Trained, image

Tlkit = Callable[..., Ran]
QUICK = ("--image-size", "64")
PAGE = (ROOT / "docs" / "embed.md").read_text(encoding="utf-8")


def rows_of(path: Path) -> tuple[list[str], list[str], np.ndarray[Any, Any]]:
    """Files, hashes and vectors, float32 [n, columns], as whoever gets the file reads them."""
    if path.suffix == ".npz":
        with np.load(path) as found:
            return found["file"].tolist(), found["sha256"].tolist(), found["vector"]
    if path.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(path)
        return table["file"].to_pylist(), table["sha256"].to_pylist(), np.stack(table["vector"].to_numpy())
    with path.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    vectors = np.array([[float(each) for each in row[2:]] for row in rows], dtype=np.float32)
    return [row[0] for row in rows], [row[1] for row in rows], vectors


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hundred small images, two of them alike, and three files that are no images."""
    root = tmp_path_factory.mktemp("many")
    for number in range(300):
        place = root / f"part{number % 3}"
        place.mkdir(exist_ok=True)
        image(number, (32, 32)).save(place / f"{number}.png")
    (root / "part1" / "copy.png").write_bytes((root / "part0" / "0.png").read_bytes())
    for name in ("a.png", "part0/b.jpg", "part2/c.webp"):
        (root / name).write_text("no image")
    return root


def test_the_page_says_what_is(tlkit: Tlkit, tmp_path: Path) -> None:
    """Exactly the documented lines."""
    (tmp_path / "sample_data").symlink_to(SAMPLES)
    (line,) = re.findall(r"```sh\n(.*?)\n```", PAGE)
    command, *arguments = shlex.split(line)
    assert command == "tlkit"
    ran = tlkit(*arguments, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "79 vectors of 1280 numbers, features of efficientnet-lite0 (top)" in ran.out
    second = tlkit("embed", "sample_data/garden", "-o", "garden.parquet", "--json", cwd=tmp_path)
    assert second.json["reused"] == 79
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    checks = """
(magpie,) = [files[i] for i in rows[0][:1]]
assert "/birds/" in magpie, magpie
assert np.array_equal(vectors, found["vector"])
purity = sum(max(np.unique([f.split("/")[-2] for f in files[clusters == c]], return_counts=True)[1]) for c in range(4))
assert purity >= 0.8 * len(files), purity
"""
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks) + checks], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 79


@pytest.fixture(scope="module")
def reference(tlkit: Tlkit, many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three formats, of a run that nobody disturbed."""
    place = tmp_path_factory.mktemp("reference")
    env, found = {"TLKIT_CACHE": str(tmp_path_factory.mktemp("cache"))}, {}
    for suffix in (".npz", ".parquet", ".csv"):
        ran = tlkit("embed", many, "-o", place / f"v{suffix}", "--stage", "all", "--json", *QUICK, env=env)
        assert ran.code == 0, ran.err
        found[suffix] = place / f"v{suffix}"
        said = ran.json
        assert set(said) == {
            *("model", "backbone", "stage", "images", "dimensions", "blocks", "output", "skipped", "seconds", "reused")
        }
        assert (said["images"], said["stage"], said["model"]) == (301, "all", None)
        assert said["dimensions"] == sum(said["blocks"].values()) == 1280 + sum(list(said["blocks"].values())[:-1])
        assert [Path(each["file"]).name for each in said["skipped"]] == ["a.png", "b.jpg", "c.webp"]
        assert said["reused"] == (0 if suffix == ".npz" else 301)
        for each in said["skipped"]:
            assert f"{each['file']}: {each['error']}" in ran.err
    assert sorted(path.name for path in place.iterdir()) == ["v.csv", "v.npz", "v.parquet"]
    return found


def test_formats_hold_the_same(reference: dict[str, Path], many: Path) -> None:
    from hashlib import sha256

    files, contents, vectors = rows_of(reference[".npz"])
    assert vectors.dtype == np.float32
    assert len(set(files)) == 301
    assert set(files) == {
        str(path)
        for path in many.rglob("*")
        if path.name not in ("a.png", "b.jpg", "c.webp", "part") and path.is_file()
    }
    assert contents == [sha256(Path(file).read_bytes()).hexdigest() for file in files]
    for suffix in (".parquet", ".csv"):
        its_files, its_contents, its_vectors = rows_of(reference[suffix])
        assert (its_files, its_contents) == (files, contents)
        np.testing.assert_array_equal(its_vectors, vectors)
    with np.load(reference[".npz"]) as found:
        assert found["stage"].tolist()[-1] == "top"
        assert found["width"].sum() == vectors.shape[1]


def test_vectors_are_the_features_of_training(many: Path, reference: dict[str, Path]) -> None:
    from tlkit.backbones.extractor import open_extractor
    from tlkit.backbones.features import compute_features

    files, _, vectors = rows_of(reference[".npz"])
    extractor = open_extractor("efficientnet-lite0", input_size=64)
    computed = compute_features(
        [Path(file) for file in files[:40]], extractor, taps=[name for name, _ in extractor.taps]
    )
    np.testing.assert_array_equal(computed.matrix, vectors[:40])


@pytest.mark.parametrize(
    ("suffix", "broken_cache"),
    [
        pytest.param(".npz", False, marks=pytest.mark.thorough),
        (".csv", True),
        pytest.param(".parquet", True, marks=pytest.mark.thorough),
    ],
)
def test_killed_at_random_and_resumed(
    many: Path, reference: dict[str, Path], tmp_path: Path, suffix: str, broken_cache: bool
) -> None:
    """Nothing is lost, nothing is there twice; also where the cache cannot be written."""
    cache = tmp_path / "cache"
    if broken_cache:
        cache.write_text("a file where the folder should be")
    output = tmp_path / f"v{suffix}"
    arguments = ["embed", many, "-o", output, "--stage", "all", "--json", *QUICK]
    # with small shards, and slowed down where they are written, so that kills hit the middle
    code = (
        # tests may run where the terminal's interrupt is ignored, in the background of a shell
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tlkit.backbones import features; features.KEEP_EVERY = 16\n"
        "from tlkit.store import records; once = records.write_shard\n"
        "def slowly(*each):\n"
        "    found = once(*each); time.sleep(0.2); return found\n"
        "records.write_shard = slowly\n"
        "from tlkit.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    env = {**os.environ, "TLKIT_CACHE": str(cache)}
    rng, kept = random.Random(suffix), []
    for sent in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wanted = len(list(tmp_path.rglob("*.npy"))) + rng.randint(1, 2)
        while len(list(tmp_path.rglob("*.npy"))) < wanted:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(sent)
        _, err = process.communicate()
        assert process.returncode == (130 if sent == signal.SIGINT else -sent), err
        assert not output.exists()
        if sent == signal.SIGINT:
            assert "to resume, run the same command again" in err
        kept.append(len(list(tmp_path.rglob("*.npy"))))
    assert kept == sorted(set(kept))
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reused"] >= 3 * 32
    assert {path.name for path in tmp_path.iterdir()} == {"cache", output.name}
    files, contents, vectors = rows_of(output)
    wanted = rows_of(reference[suffix])
    assert (files, contents) == wanted[:2]
    np.testing.assert_array_equal(vectors, wanted[2])
    if suffix != ".parquet":
        assert output.read_bytes() == reference[suffix].read_bytes()


def test_a_bundle_gives_what_its_backbone_gives(tlkit: Tlkit, trained: Trained, unseen: Path, tmp_path: Path) -> None:
    plain = tlkit("embed", unseen, "-o", tmp_path / "a.npz", "--json")
    of_bundle = tlkit("embed", unseen, "-o", tmp_path / "b.npz", "--model", trained.bundle, "--json")
    assert (plain.code, of_bundle.code) == (0, 0), of_bundle.err
    assert of_bundle.json["model"] == str(trained.bundle)
    assert of_bundle.json["reused"] == of_bundle.json["images"] == 8
    for one, other in zip(rows_of(tmp_path / "a.npz"), rows_of(tmp_path / "b.npz"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_cannot_be_embedded_is_said(tlkit: Tlkit, unseen: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "inner").mkdir(parents=True)
    (images / "inner" / "text.png").write_text("no image")
    cases: list[tuple[list[object], str]] = [
        ([images, "-o", "v.npz"], "no readable image among 1 file"),
        ([images, "-o", images / "v.npz"], "--output is inside the image folder"),
        ([unseen], "Missing option '--output'"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in cases:
        ran = tlkit("embed", *arguments, "--json", cwd=tmp_path)
        assert (ran.code, ran.out) == (2, ""), (arguments, ran.err)
        assert any(line.startswith("error: ") and message in line for line in ran.err.splitlines()), ran.err
        assert any(line.startswith("hint: ") for line in ran.err.splitlines()), ran.err
    assert sorted(tmp_path.rglob("*")) == before


def test_parquet_without_pyarrow_is_a_hint(
    tlkit: Tlkit, unseen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyarrow" else find(name, *rest)
    )
    ran = tlkit("embed", unseen, "-o", tmp_path / "v.parquet")
    assert (ran.code, ran.out) == (2, "")
    assert "error: writing .parquet requires pyarrow" in ran.err
    assert 'hint: pip install "tlkit[parquet]"' in ran.err
    assert tlkit("embed", unseen, "-o", tmp_path / "v.csv").code == 0
