"""``embed``, ``check`` and ``features`` with ``--shard``, and ``merge``: the same as one machine would have written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PLAIN_FREEZE, Ran, Trained, image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tlkit as api
from tlkit.api.embed.parts import vector_from, vector_text
from tlkit.errors import TlkitError

Tlkit = Callable[..., Ran]


@pytest.fixture
def photos(unseen: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    shutil.copytree(unseen, folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "broken.jpg").write_text("no image")
    return folder


@pytest.fixture
def faulty(garden: Path, tmp_path: Path) -> Path:
    """Some of the sample with a copy in another split, a stray image, a wrong label and a file that is no image."""
    root = tmp_path / "faulty"
    for folder in (garden / "birds", garden / "fruit"):
        for number, file in enumerate(sorted(folder.iterdir())[:6]):
            place = root / ("val" if number % 3 == 0 else "train") / folder.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    twin = sorted((root / "val" / "fruit").iterdir())[0]
    shutil.copy(twin, root / "train" / "birds" / "twin.png")
    Image.open(twin).resize((120, 120)).save(root / "train" / "fruit" / "smaller.png")
    (root / "train" / "birds" / "broken.jpg").write_text("no image")
    Image.new("RGB", (64, 64), "white").save(root / "train" / "birds" / "white.png")
    shutil.copy(twin, root / "stray.png")
    return root


def parts_of(tlkit: Tlkit, of: int, *command: object, cwd: Path) -> list[Path]:
    """Run a command for each share; return the parts."""
    before = set(cwd.iterdir())
    for number in range(1, of + 1):
        ran = tlkit(*command, "--shard", f"{number}/{of}", cwd=cwd)
        assert ran.code == 0, ran.err
    return sorted(set(cwd.iterdir()) - before)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_merged_vectors_are_the_plain_file(tlkit: Tlkit, photos: Path, tmp_path: Path, suffix: str) -> None:
    command = ("embed", "photos", "--stage", "stage3", "--output")
    assert tlkit(*command, f"plain{suffix}", cwd=tmp_path).code == 0
    parts = parts_of(tlkit, 3, *command, f"rows{suffix}", cwd=tmp_path)
    assert [path.name for path in parts] == [f"rows{suffix}.part-{number}-of-3" for number in (1, 2, 3)]
    ran = tlkit("merge", *reversed(parts), "--output", f"rows{suffix}", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == "8 vectors from 3 parts, 1 image skipped"
    assert (tmp_path / f"rows{suffix}").read_bytes() == (tmp_path / f"plain{suffix}").read_bytes()


@pytest.mark.parametrize("how", ["probes", "bundle", "facts"])
def test_a_merged_check_is_the_plain_one(
    tlkit: Tlkit, trained: Trained, faulty: Path, tmp_path: Path, how: str
) -> None:
    given = {"probes": (), "bundle": ("--model", trained.bundle), "facts": ("--no-suspects",)}[how]
    command = ("check", "faulty", *given, "--report")
    plain = tlkit(*command, "plain.csv", "--json", cwd=tmp_path)
    assert plain.code == 0, plain.err
    assert {*plain.json} >= {"leaks", "near_duplicates"}
    assert plain.json["leaks"]
    assert plain.json["blank"]
    parts = parts_of(tlkit, 2, *command, "found.csv", cwd=tmp_path)
    merged = tlkit("merge", *parts, "--output", "found.csv", "--json", cwd=tmp_path)
    assert merged.code == 0, merged.err
    assert merged.json == plain.json
    assert (tmp_path / "found.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    if how == "facts":
        shown = tlkit("merge", *parts, "--strict", cwd=tmp_path)
        assert shown.code == 2
        assert shown.out == tlkit(*command[:-1], cwd=tmp_path).out


def test_a_check_merges_groups_that_exif_data_give(tlkit: Tlkit, tmp_path: Path) -> None:
    for number in range(12):
        its = image(number)
        exif = Image.Exif()
        exif[0x010F] = f"maker {number % 3}"
        place = tmp_path / "photos" / ("train", "val")[number % 2] / ("cats", "dogs")[number // 2 % 2]
        place.mkdir(parents=True, exist_ok=True)
        its.save(place / f"{number}.jpg", exif=exif)
    command = ("check", "photos", "--no-suspects", "--groups", "exif-camera")
    parts = parts_of(tlkit, 2, *command, "--report", "found.csv", cwd=tmp_path)
    plain, merged = tlkit(*command, "--json", cwd=tmp_path), tlkit("merge", *parts, "--json", cwd=tmp_path)
    assert plain.json["group_leaks"] == ["maker 0", "maker 1", "maker 2"]
    assert merged.json == plain.json
    assert "3 groups of images by exif-camera" in merged.err


@pytest.mark.parametrize("shared", [True, False], ids=["one cache", "parts"])
def test_features_of_several_machines_prepare_one_training(
    tlkit: Tlkit, faulty: Path, tmp_path: Path, shared: bool
) -> None:
    for number in (1, 2):
        cache = tmp_path / ("cache" if shared else f"cache-{number}")
        more = () if shared else ("--output", "features")
        env = {"TLKIT_CACHE": str(cache)}
        ran = tlkit("features", "faulty", "--shard", f"{number}/2", *more, "--json", cwd=tmp_path, env=env)
        assert ran.code == 0, ran.err
        assert ran.json["shard"] == f"{number}/2"
        assert ran.json["reused"] <= 2  # a copy may be in each share
    env = {"TLKIT_CACHE": str(tmp_path / "cache")}
    if not shared:
        merged = tlkit("merge", *tmp_path.glob("features.part-*"), "--json", cwd=tmp_path, env=env)
        assert merged.code == 0, merged.err
        assert (merged.json["images"], len(merged.json["skipped"])) == (17, 1)
    again = tlkit("features", "faulty", "--json", cwd=tmp_path, env=env).json
    assert (again["images"], again["reused"]) == (16, 16)
    if shared:
        training = tlkit("train", "faulty", *PLAIN_FREEZE, "--json", cwd=tmp_path, env=env)
        assert training.code == 0, training.err
        assert "reused the features of 15 of 16 images" in training.err


def test_a_killed_part_goes_on(tlkit: Tlkit, faulty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlkit.api import check_parts as module

    real, left = module._by_facts, [9]

    def stopping(*arguments: Any) -> Any:
        for row in real(*arguments):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            yield row

    monkeypatch.setattr(module, "_by_facts", stopping)
    with pytest.raises(KeyboardInterrupt):
        api.check_part(faulty, tmp_path / "a.csv", "1/1", suspects=False)
    with pytest.raises(TlkitError, match="differs in options"):
        api.check_part(faulty, tmp_path / "a.csv", "1/1", suspects=False, seed=5)
    left[0] = -1
    assert api.check_part(faulty, tmp_path / "a.csv", "1/1", suspects=False).reused == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv.part-1-of-1", "faulty"]
    merged = api.merge(tmp_path / "a.csv.part-1-of-1").checked
    assert merged is not None
    assert merged.to_json() == api.check(faulty, suspects=False).to_json()


@pytest.fixture
def part(photos: Path, tmp_path: Path) -> Path:
    return api.embed_file(photos, tmp_path / "rows.csv", shard="1/1").output


def test_parts_of_different_commands_are_not_merged(tlkit: Tlkit, part: Path, photos: Path, tmp_path: Path) -> None:
    other = api.features(photos, tmp_path / "other", shard="1/1").output
    ran = tlkit("merge", part, other, "--output", "rows.csv", cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "is of tlkit features, and" in ran.err
    assert "require --output" in tlkit("merge", part).err
    assert "does not apply to parts of features" in tlkit("merge", other, "--output", tmp_path / "x.csv").err


@given(st.data())
def test_a_damaged_part_is_refused(data: st.DataObject) -> None:
    """Whatever of a row is replaced, the rows are refused in one line, and nothing is written."""
    from tlkit.api.check_rows import Row
    from tlkit.api.embed.parts import vector_row
    from tlkit.schema import parsed

    vector = {"file": "a", "error": None, "sha256": "0" * 64, "print": "", "vector": vector_text(np.ones(3, "<f4"))}
    field = data.draw(st.sampled_from(sorted(vector)))
    other = data.draw(st.none() | st.integers() | st.lists(st.integers(), max_size=2) | st.just("x"))
    changed = {**vector, field: other}
    try:
        found = vector_row(changed, 3)
    except (ValueError, KeyError, TypeError):
        found = None
    assert found is None or field in ("file", "error")
    with pytest.raises((ValueError, KeyError, TypeError)):
        parsed(Row, {"facts": changed}, "row")


@pytest.mark.parametrize(
    "line", ['{"place": 0, "row": 5}', '{"place": 0, "row": {"file": 1}}', '{"place": 0, "row": []}']
)
def test_rows_that_are_none(part: Path, tmp_path: Path, line: str) -> None:
    head = json.loads(part.read_text().splitlines()[0])
    for command in ("embed", "check", "features", "predict"):
        part.write_text(json.dumps({**head, "command": command, "images": 1, "rows": 1}) + f"\n{line}\n")
        output = tmp_path / "x.csv" if command in ("embed", "predict") else None
        with pytest.raises(TlkitError, match="damaged"):
            api.merge(part, output)
    assert not (tmp_path / "x.csv").exists()


@given(st.lists(st.floats(-60000, 60000, width=16), min_size=1, max_size=8))
def test_vectors_survive_as_text(numbers: list[float]) -> None:
    vector = np.array(numbers, np.float32)
    assert vector_from(vector_text(vector), len(numbers)).tolist() == vector.tolist()


def test_what_does_not_apply(tlkit: Tlkit, photos: Path, faulty: Path, tmp_path: Path) -> None:
    def refused(*command: object, env: dict[str, str] | None = None) -> str:
        ran = tlkit(*command, cwd=tmp_path, env=env)
        assert (ran.code, ran.out) == (2, "")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["faulty", "photos"]
        return ran.err

    assert "--shard requires --report" in refused("check", "faulty", "--shard", "1/2")
    assert "--strict does not apply" in refused("check", "faulty", "--shard", "1/2", "--report", "a.csv", "--strict")
    assert "inside the image folder" in refused("check", "faulty", "--shard", "1/2", "--report", "faulty/a.csv")
    assert "there is no shard 3 of 2" in refused("check", "faulty", "--shard", "3/2", "--report", "a.csv")
    assert "there is no shard 3 of 2" in refused("embed", "photos", "--shard", "3/2", "--output", "a.csv")
    assert "--output requires --shard" in refused("features", "photos", "--output", "a")
    assert "there is no shard 3 of 2" in refused("features", "photos", "--shard", "3/2")
    assert "the cache holds 0.0MB" in refused("features", "photos", env={"TLKIT_CACHE_SIZE": "1KB"})
    with pytest.raises(TlkitError, match="in memory"):
        api.features((photos / "birds-magpie.png").read_bytes())
