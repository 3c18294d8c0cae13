"""Files that a stranger may have written, damaged in many ways: they are used or refused, and nothing else happens."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from strangers import KINDS, Attack, damage, outcome, prepare

from tlkit.bundle.load import load
from tlkit.bundle.save import manifest_digest
from tlkit.errors import TlkitError

LIGHT = ("manifest", "plan", "known", "lite", "graph", "note", "decisions", "state")
FEW, MANY = 12, 40


@pytest.fixture(scope="module")
def whole(make_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    return make_once("strangers", prepare)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_damaged_file_is_used_or_refused(kind: str, whole: Path, tmp_path: Path) -> None:
    attack = Attack(whole, tmp_path)
    assert outcome(attack, kind, (whole / KINDS[kind][0]).read_bytes()) == "used"
    found = [outcome(attack, kind, damage(whole, kind, seed)) for seed in range(MANY if kind in LIGHT else FEW)]
    assert "refused" in found


def test_a_bundle_that_waits_for_ever_is_refused(whole: Path, tmp_path: Path) -> None:
    """Names in the manifest are those of files that bundles have; pipes and devices are never opened."""
    attack = Attack(whole, tmp_path)
    manifest = json.loads((whole / "whole.tlkit" / "tlkit.json").read_text())
    for name in ("/dev/zero", "../../etc/passwd", "more.bin", "report.html/..", ""):
        changed = manifest | {"files": manifest["files"] | {name: "0" * 64}}
        assert attack.bundle(manifest=json.dumps(changed).encode()) == 2
        with pytest.raises(TlkitError, match="which no bundle has"):
            load(tmp_path / "m.tlkit")
    attack.bundle()
    for name in ("labels.txt", "tlkit.json"):
        (tmp_path / "m.tlkit" / name).unlink()
        os.mkfifo(tmp_path / "m.tlkit" / name)
        with pytest.raises(TlkitError, match=f"{name}: it is not a regular file"):
            load(tmp_path / "m.tlkit")
        (tmp_path / "m.tlkit" / name).unlink()
        (tmp_path / "m.tlkit" / name).symlink_to("/dev/zero")
        with pytest.raises(TlkitError, match=f"{name}: it is not a regular file"):
            load(tmp_path / "m.tlkit")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_size": [100_000, 100_000]}, r"input_size\[0\] must be at most 4096, not 100000"),
        ({"input_size": [32, 32]}, r"the network takes \[16, 16, 3\], not \[32, 32, 3\]"),
        ({"input_size": [16.5, 16]}, r"input_size\[0\] must be an integer, not 16.5"),
        ({"input_size": [True, 16]}, r"input_size\[0\] must be an integer, not true"),
        ({"classes": ["a", "b"]}, "the names are not the 2 classes"),
        ({"classes": ["a", "", "c"]}, r"classes\[1\] must have at least 1 characters, not 0"),
        ({"classes": ["a", "a", "c"]}, "classes has a name twice"),
        ({"classes": []}, "classes must have at least 1 items"),
        ({"unknown": {"rate": 0.7}}, "unknown.rate must be at most 0.5"),
        ({"unknown": {"rate": None}}, "unknown.rate must be a number, not null"),
        ({"flips": {"harmless": 1, "images": 3}}, "flips.harmless must be true or false"),
        ({"layers": {"top": "nowhere"}}, None),
        ({"split": {"a": 1}}, "split.a must be a text, not 1"),
        ({"own_backbone": {"run": "me"}}, "own_backbone has missing or unknown fields"),
        ({"added_later": [1]}, None),
    ],
)
def test_a_value_that_no_bundle_has_is_named(
    change: dict[str, object], said: str | None, whole: Path, tmp_path: Path
) -> None:
    manifest = json.loads((whole / "whole.tlkit" / "tlkit.json").read_text())
    code = Attack(whole, tmp_path).bundle(manifest=json.dumps(manifest | change).encode())
    if said is None:
        assert code == 0
        return
    assert code == 2
    with pytest.raises(TlkitError, match=said):
        load(tmp_path / "m.tlkit").forward()


def test_networks_of_other_classes_or_features_are_refused(whole: Path, tmp_path: Path) -> None:
    """Manifest, labels and hashes agree, but not the network's classes, or not the features of the statistics."""
    attack = Attack(whole, tmp_path)
    attack.bundle()
    folder = tmp_path / "m.tlkit"
    manifest = json.loads((folder / "tlkit.json").read_text())
    (folder / "labels.txt").write_text("a\nb\n")
    manifest["classes"] = ["a", "b"]
    manifest["files"]["labels.txt"] = hashlib.sha256(b"a\nb\n").hexdigest()
    manifest["digest"] = manifest_digest(manifest)
    (folder / "tlkit.json").write_text(json.dumps(manifest))
    for engine in ("litert", "keras"):
        with pytest.raises(TlkitError, match="does not give the 2 classes"):
            load(folder).forward(engine)
    arrays = dict(np.load(whole / "whole.tlkit" / "known.npz"))
    for name in ("mean", "scale", "centre", "basis", "classes"):
        arrays[name] = arrays[name][..., :-1]
    with contextlib.closing((tmp_path / "known.npz").open("wb")) as file:
        np.savez(file, **arrays)
    assert attack.bundle(known=(tmp_path / "known.npz").read_bytes()) == 2
    with pytest.raises(TlkitError, match=r"known\.npz is of"):
        load(folder).forward()
