"""``tlkit train`` as a user meets it: real photographs, real ImageNet weights."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import PLAIN_FREEZE, Ran, Trained, image, start_and_signal

from tlkit.api.train.options import TrainOptions
from tlkit.api.train.start import prepare_start
from tlkit.context import Context
from tlkit.errors import TlkitError

Tlkit = Callable[..., Ran]
Make = Callable[..., Path]
FREEZE = PLAIN_FREEZE


def test_the_sample_trains_well_and_says_so(trained: Trained) -> None:
    result = trained.result
    assert result["metrics"]["val_accuracy"] >= 0.85
    assert result["metrics"]["baseline_accuracy"] < 0.5
    low, high = result["metrics"]["val_accuracy_ci95"]
    assert low < result["metrics"]["val_accuracy"] < high
    assert result["classes"] == ["birds", "flowers", "fruit", "vegetables"]
    assert result["backbone"] == "efficientnet-lite0"
    assert result["strategy"] == result["plan"]["strategy"] == "freeze"
    images = result["images"]
    assert images["train"] + images["val"] == 79
    assert images["test"] == images["skipped"] == 0
    assert set(result["seconds"]) == {"total", "features", "training"}
    assert Path(result["model"]) == trained.bundle
    assert {path.name for path in trained.bundle.iterdir()} >= {
        "model.keras",
        "labels.txt",
        "tlkit.json",
        "plan.json",
        "history.csv",
    }


def test_json_is_one_document_and_stderr_has_no_library_noise(trained: Trained) -> None:
    assert trained.ran.out.count("\n") == 1
    phases = ("Starting", "Loading", "Features", "Looking for", "Cross-validation", "Solving", "Calibrating")
    for line in trained.ran.err.splitlines():
        assert line.startswith((*phases, "Saving", "note: ")), line


def test_a_second_run_reuses_the_features_and_gives_the_same_metrics(
    tlkit: Tlkit, trained: Trained, garden: Path, tmp_path: Path
) -> None:
    again = tlkit("train", garden, *FREEZE, cwd=tmp_path)
    assert again.code == 0, again.err
    assert "reused the features of 79 of 79 images" in again.err
    assert "validation accuracy" in again.out
    assert "next: tlkit predict" in again.out
    manifest = json.loads((tmp_path / "garden.tlkit" / "tlkit.json").read_text())
    assert manifest["metrics"] == trained.result["metrics"]
    assert sorted(set(manifest["split"].values())) == ["train", "val"]


def test_without_the_cache_the_same_seed_gives_the_same_metrics(
    tlkit: Tlkit, trained: Trained, garden: Path, tmp_path: Path
) -> None:
    fresh = tlkit("train", garden, *FREEZE, "--json", cwd=tmp_path, env={"TLKIT_CACHE": str(tmp_path / "cache")})
    assert fresh.json["features_reused"] == 0
    assert fresh.json["metrics"] == trained.result["metrics"]


def test_nothing_is_written_beside_the_images(trained: Trained, garden: Path) -> None:
    assert {path.suffix for path in garden.rglob("*") if path.is_file()} == {".png"}


def test_output_names(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 4, "b": 4}, name="my images ż")
    first = tlkit("train", root, *FREEZE, cwd=tmp_path)
    assert first.code == 0, first.err
    assert (tmp_path / "my images ż.tlkit" / "tlkit.json").is_file()
    assert "'my images ż.tlkit'" in first.out  # quoted: ready to be pasted
    assert tlkit("train", root, *FREEZE, cwd=tmp_path).code == 0
    assert (tmp_path / "my images ż-2.tlkit").is_dir()
    taken = tlkit("train", root, *FREEZE, "-o", "my images ż.tlkit", cwd=tmp_path)
    assert taken.code == 2
    assert "output exists" in taken.err
    assert tlkit("train", root, *FREEZE, "-o", "my images ż.tlkit", "--overwrite", cwd=tmp_path).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "my images ż",
        "my images ż-2.tlkit",
        "my images ż.tlkit",
    ]


def test_a_folder_name_with_a_leading_dash(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    make_folder({"..weird name": 4, "🐢": 4}, name="-photos")
    for arguments in ([*FREEZE, "--json", "./-photos"], [*FREEZE, "--json", "--", "-photos"]):
        ran = tlkit("train", *arguments, cwd=tmp_path)
        assert ran.code == 0, ran.err
        assert ran.json["classes"] == ["..weird name", "🐢"]
    labels = (tmp_path / "-photos.tlkit" / "labels.txt").read_text(encoding="utf-8")
    assert labels == "..weird name\n🐢\n"


def test_own_val_and_test_folders_are_used(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"train/a": 6, "train/b": 5, "valid/a": 2, "valid/b": 3, "test/a": 1, "test/b": 1})
    ran = tlkit("train", root, *FREEZE, "--json", cwd=tmp_path)
    assert ran.json["images"] == {"train": 11, "val": 5, "test": 2, "skipped": 0}
    assert set(ran.json["metrics"]) >= {"test_accuracy", "test_baseline_accuracy", "val_accuracy"}


def test_unreadable_images_are_skipped_counted_and_named(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    root = make_folder({"a": 6, "b": 6})
    whole = (root / "a" / "0.png").read_bytes()
    (root / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "a" / "empty.jpg").write_bytes(b"")
    (root / "b" / "text.jpg").write_text("no image")
    (root / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    image(9, size=(1, 1)).save(root / "b" / "dot.png")
    ran = tlkit("train", root, *FREEZE, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.json["images"]["train"] + ran.json["images"]["val"] == 13
    assert ran.json["images"]["skipped"] == 4
    reasons = {row["file"]: row["error"] for row in ran.json["skipped"]}
    assert set(reasons) == {"a/cut.png", "a/empty.jpg", "b/text.jpg", "b/gone.png"}
    assert reasons["b/gone.png"] == "no such file"
    assert "truncated" in reasons["a/cut.png"]
    shown = tlkit("train", root, *FREEZE, cwd=tmp_path)
    assert "skipped a/cut.png: " in shown.out


@pytest.fixture
def good(make_folder: Make) -> Path:
    return make_folder({"a": 4, "b": 4})


def refused(ran: Ran, place: Path, before: set[Path]) -> str:
    """The error, after making sure it is one line, exit 2, and nothing was left behind."""
    assert ran.code == 2, (ran.out, ran.err)
    assert ran.out == ""
    assert "Traceback" not in ran.err
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert set(place.rglob("*")) == before
    return ran.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategy", "freez"], "unknown --strategy 'freez'\nhint: did you mean 'freeze'"),
        (["--backbone", "resnet51"], "unknown backbone 'resnet51'"),
        (["--weights", "nothing.h5"], "nothing.h5"),
        (["--val-split", "1.5"], "--val-split must be above 0 and below 1, not 1.5"),
        (["--output", "nowhere/m.tlkit"], "no such folder for the output"),
        (["--image-size", "8"], "8"),
        (["--features", "most"], "unknown --features 'most'\nhint: one of last, all"),
        (["--boundary", "stage3"], "--boundary does not apply to --strategy auto"),
        ([*FREEZE, "--boundary", "stage3"], "--boundary does not apply to --strategy freeze"),
        (
            ["--strategy", "early-layers", "--boundary", "stage9"],
            "no stage 'stage9' in this backbone\nhint: one of stage1",
        ),
    ],
)
def test_bad_options(tlkit: Tlkit, good: Path, tmp_path: Path, options: list[str], message: str) -> None:
    before = set(tmp_path.rglob("*"))
    assert message in refused(tlkit("train", good, *options, cwd=tmp_path), tmp_path, before)


def test_bad_folders(tlkit: Tlkit, make_folder: Make, tmp_path: Path) -> None:
    make_folder({"a": 3}, name="one-class")
    make_folder({"a": 3, "b": 1}, name="one-image")
    unreadable = make_folder({"a": 2, "b": 2}, name="unreadable")
    for file in unreadable.rglob("*.png"):
        file.write_text("no image")
    half = make_folder({"a": 3, "b": 3}, name="half")
    for file in list((half / "b").iterdir())[:2]:
        file.write_bytes(b"")
    bomb = make_folder({"a": 2, "b": 1}, name="bomb")
    (bomb / "b" / "bomb.png").write_bytes(huge_png())
    (tmp_path / "empty").mkdir()
    cases = {
        "missing": "no such folder",
        "one-class/a/0.png": "not a folder",
        "empty": "no images in",
        "one-class": "only one class ('a')",
        "one-image": "class 'b' has 1 image, but at least 2 are required",
        "unreadable": "no readable image in",
        "half": "class 'b' has 1 usable image, but at least 2 are required\nhint: 2 images could not be used",
        "bomb": "20000x20000",
    }
    before = set(tmp_path.rglob("*"))
    for name, message in cases.items():
        assert message in refused(tlkit("train", name, cwd=tmp_path), tmp_path, before)


def huge_png() -> bytes:
    """A valid header of 20,000 x 20,000 pixels with almost nothing behind it."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_weights_of_another_network(tlkit: Tlkit, good: Path, trained: Trained, tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))
    wrong = ["--backbone", "mobilenet-v2", "--weights", trained.bundle / "model.keras", "--image-size", "32"]
    assert "model.keras" in refused(tlkit("train", good, *wrong, cwd=tmp_path), tmp_path, before)


def test_an_interrupt_leaves_nothing_and_says_so(garden: Path, tmp_path: Path) -> None:
    """As soon as it starts, and while images are worked on."""
    place = tmp_path / "place"
    place.mkdir()
    for line in ("Starting", "Features"):
        env = {"TLKIT_CACHE": str(tmp_path / line)}
        ran = start_and_signal(["train", *FREEZE, garden], signal.SIGINT, line, place, env)
        assert ran.code == 130, ran.err
        assert ran.out == ""
        assert ran.err.endswith("error: interrupted\n")
        assert "Traceback" not in ran.err
        assert list(place.iterdir()) == []


def test_a_bundle_to_start_from_decides_backbone_and_weights(trained: Trained, garden: Path) -> None:
    request = TrainOptions.make(garden, from_bundle=trained.bundle)
    start = prepare_start(request, Context())
    assert (start.plan.from_bundle, start.plan.weights) == ("garden.tlkit", "garden.tlkit")
    again = prepare_start(request, Context(), start.plan)  # as a resumed run does
    assert replace(again, planned=False) == start
    with pytest.raises(TlkitError, match="--backbone and --weights do not apply to --from"):
        prepare_start(replace(request, weights="none"), Context())
    with pytest.raises(TlkitError, match="is not the weights file that the plan was made with"):
        prepare_start(request, Context(), replace(start.plan, weights_sha256="0" * 64))


def test_hymenoptera_reaches_93_percent(tlkit: Tlkit, shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Without the search for a better frozen network, which takes half a minute; benchmarks/ measure it."""
    options = ("--strategy", "freeze", "--backbone", "efficientnet-lite0", "--no-report")
    ran = tlkit("train", shared_data("hymenoptera"), *options, "--json", cwd=tmp_path)
    assert ran.json["images"] == {"train": 244, "val": 153, "test": 0, "skipped": 0}
    assert ran.json["metrics"]["val_accuracy"] >= 0.93
