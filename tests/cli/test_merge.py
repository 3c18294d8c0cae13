"""``predict --shard`` and ``merge``: several machines, one file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran, Trained
from hypothesis import given
from hypothesis import strategies as st

import tlkit as api
from tlkit.api.shards import Shard
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
def parts(trained: Trained, photos: Path, tmp_path: Path) -> list[Path]:
    rows = tmp_path / "rows.csv"
    return [api.predict_file(photos, rows, trained.bundle, shard=f"{number}/3").output for number in (1, 2, 3)]


def test_merged_parts_are_the_plain_file(tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path) -> None:
    command = ("predict", "photos", "--model", trained.bundle, "--threshold", 0.9, "--top", 2, "--output")
    assert tlkit(*command, "plain.csv", cwd=tmp_path).code == 0
    numbers = {"JOB_COMPLETION_INDEX": "0"}, {"AWS_BATCH_JOB_ARRAY_INDEX": "1"}, {"SLURM_ARRAY_TASK_ID": "3"}
    for env in numbers:
        ran = tlkit(*command, "rows.csv", "--shard", "auto/3", cwd=tmp_path, env=env)
        assert ran.code in (0, 2), ran.err  # 2: the only image of a share cannot be read
    assert sorted(path.name for path in tmp_path.glob("rows*")) == [f"rows.csv.part-{n}-of-3" for n in (1, 2, 3)]
    merged = tlkit("merge", *tmp_path.glob("rows.csv.part-*"), "--output", "rows.csv", cwd=tmp_path)
    assert merged.code == 0, merged.err
    assert merged.out.splitlines()[-1] == "saved rows.csv from 3 parts"
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    found = tlkit("merge", tmp_path, "--output", "rows.jsonl", "--json", cwd=tmp_path).json
    assert (found["images"], found["unreadable"], found["parts"]) == (9, 1, 3)


def test_a_folder_may_lie_anywhere(trained: Trained, photos: Path, tmp_path: Path, parts: list[Path]) -> None:
    """Another machine has the same folder elsewhere: its part is of the same images."""
    other = tmp_path / "mnt" / "photos"
    shutil.copytree(photos, other)
    parts[1] = api.predict_file(other, tmp_path / "mnt" / "rows.csv", trained.bundle, shard="2/3").output
    found = api.merge([str(path) for path in parts], str(tmp_path / "rows.csv"))
    assert found.counts.images == 9


def test_parts_that_do_not_belong_together_are_named(
    tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path, parts: list[Path]
) -> None:
    def refused(*given: Path) -> str:
        before = sorted(tmp_path.rglob("*"))
        ran = tlkit("merge", *given, "--output", tmp_path / "rows.csv")
        assert (ran.code, ran.out) == (2, "")
        assert sorted(tmp_path.rglob("*")) == before
        return ran.err

    assert "part 2 of 3 is missing" in refused(parts[0], parts[2])
    assert "hint: run --shard 2/3" in refused(parts[0], parts[2])
    twice = tmp_path / "copy"
    shutil.copy(parts[0], twice)
    assert "are the same part" in refused(*parts, twice)
    twice.unlink()
    assert "not a part" in refused(photos / "birds-magpie.png")
    assert "no parts in" in refused(photos)
    assert "cannot read" in refused(tmp_path / "none")
    unsure = api.predict_file(photos, tmp_path / "other.csv", trained.bundle, shard="2/3", threshold=0.5).output
    assert "different bundles or options" in refused(parts[0], unsure, parts[2])
    (photos / "new.jpg").write_text("no image")
    later = api.predict_file(photos, tmp_path / "later.csv", trained.bundle, shard="2/3").output
    assert "are of different images: 10 and 9 in all" in refused(parts[0], later, parts[2])
    assert "one of 2 parts, and" in refused(
        parts[0], api.predict_file(photos, tmp_path / "two.csv", trained.bundle, shard="1/2").output
    )
    lines = parts[1].read_text().splitlines()
    parts[1].write_text("\n".join(lines[:-1]) + "\n")
    assert "do not hold every image once" in refused(*parts)
    parts[1].write_text("\n".join([*lines[:-1], lines[-1][:30]]))
    assert "is damaged" in refused(*parts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0/3", "there is no shard 0 of 3"),
        ("4/3", "there is no shard 4 of 3"),
        ("1/0", "there is no shard 1 of 0"),
        ("x", "--shard must be like 2/8"),
        ("1/2/3", "--shard must be like 2/8"),
        ("", "--shard must be like 2/8"),
        ("auto", "this is no array job"),
        ("auto/3", "this is no array job"),
    ],
)
def test_shards_that_do_not_exist(
    tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path, text: str, said: str
) -> None:
    ran = tlkit("predict", photos, "--model", trained.bundle, "--output", tmp_path / "rows.csv", "--shard", text)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_what_shards_do_not_apply_to(tlkit: Tlkit, trained: Trained, photos: Path, tmp_path: Path) -> None:
    ran = tlkit("predict", photos, "--model", trained.bundle, "--shard", "1/2")
    assert (ran.code, ran.out) == (2, "")
    assert "--shard requires --output" in ran.err
    with pytest.raises(TlkitError, match="in memory"):
        api.predict_file((photos / "birds-magpie.png").read_bytes(), tmp_path / "a.csv", trained.bundle, shard="1/2")


def test_array_jobs() -> None:
    slurm = {"SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_STEP": "2"}
    assert Shard.parse("auto", {**slurm, "SLURM_ARRAY_TASK_COUNT": "8"}) == Shard(3, 8)
    assert Shard.parse("auto/5", slurm) == Shard(3, 5)
    assert Shard.parse("auto/5", {"JOB_COMPLETION_INDEX": "4"}) == Shard(5, 5)
    for wrong in ({"JOB_COMPLETION_INDEX": "5"}, {"JOB_COMPLETION_INDEX": "x"}, {"JOB_COMPLETION_INDEX": "-1"}):
        with pytest.raises(TlkitError):
            Shard.parse("auto/5", wrong)


@given(st.lists(st.text(), unique=True, max_size=30), st.integers(1, 7))
def test_every_name_is_in_one_share(names: list[str], of: int) -> None:
    shards = [Shard(number, of) for number in range(1, of + 1)]
    for name in names:
        assert sum(shard.has(name) for shard in shards) == 1


def test_shares_are_even() -> None:
    counts = [sum(Shard(number, 4).has(f"IMG_{n}.jpg") for n in range(4000)) for number in (1, 2, 3, 4)]
    assert all(900 < count < 1100 for count in counts)


def test_an_interrupted_share_is_resumed(
    trained: Trained, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlkit.api import predict_file as module

    real, stop = module.rows_of, [True]

    def rows(*arguments: object) -> object:
        for number, row in enumerate(real(*arguments)):  # type: ignore[arg-type]
            if number == 1 and stop.pop():
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(module, "rows_of", rows)
    with pytest.raises(KeyboardInterrupt):
        api.predict_file(photos, tmp_path / "a.csv", trained.bundle, shard="1/1")
    stop.append(False)
    part = api.predict_file(photos, tmp_path / "a.csv", trained.bundle, shard="1/1", resume=True)
    assert part.reused == 1
    lines = [json.loads(line) for line in part.output.read_text().splitlines()]
    assert [each["place"] for each in lines[1:]] == list(range(9))
