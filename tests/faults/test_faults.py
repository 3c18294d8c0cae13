"""Every write, fsync, rename and mkdir fails once: the old or the new state is there whole, and the next run works."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from faults.injector import KILL, Injector, kill_at

from tlkit import durable
from tlkit.api.train.options import TrainOptions
from tlkit.api.train.reserve import reserved, reserved_run
from tlkit.api.train.run_dir import begin_run, open_run
from tlkit.api.work_dir import remove_left_over, work_folder
from tlkit.bundle.beside import lock_file, new_folder, restore, sweep, sweep_folder
from tlkit.bundle.manifest import Manifest
from tlkit.bundle.save import save_bundle
from tlkit.errors import TlkitError
from tlkit.files import write_new
from tlkit.finetune.checkpoint import load_state, save_state
from tlkit.locks import locked
from tlkit.store.records import RecordStore
from tlkit.store.shards import Record

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed child needs fork")
ERRORS = (errno.ENOSPC, errno.EIO, KILL)
FILES = {"history.csv", "labels.txt", "model.keras", "plan.json", "tlkit.json"}


@dataclass(frozen=True)
class Case:
    """Something that writes.

    Attributes:
        work: Writes the new state, unless it is there.
        state: Says which state is there; fails if one is there in part.
        allowed: The states after a fault.
        left: What may lie in the folder after the next run: names.
        prepare: Makes the old state in an empty folder.
    """

    work: Callable[[Path], object]
    state: Callable[[Path], str]
    allowed: set[str]
    left: set[str]
    prepare: Callable[[Path], object] = lambda _: None


def bundle(place: Path, content: bytes, *, overwrite: bool) -> None:
    def write(part: Path) -> Manifest:
        (part / "model.keras").write_bytes(content)
        return Manifest(
            keras="3.12", backbone="efficientnet-lite0", own_backbone=None, weights="imagenet", weights_sha256="",
            strategy="freeze", boundary=None, input_size=(8, 8), reading=1, classes=("a", "b"), metrics={}, split={},
            layers={},
        )  # fmt: skip

    target = place / "m.tlkit"
    with locked(lock_file(target)):
        sweep(target)
        if overwrite or not target.exists():
            save_bundle(target, write=write, plan={}, history=[{"step": 1}], overwrite=overwrite)


def bundle_state(place: Path) -> str:
    restore(place)
    target = place / "m.tlkit"
    if not target.exists():
        return ""
    assert {path.name for path in target.iterdir()} == FILES
    content = (target / "model.keras").read_bytes()
    assert hashlib.sha256(content).hexdigest() in (target / "tlkit.json").read_text()
    return content.decode()


def report(place: Path) -> None:
    if not (place / "report.html").exists():
        write_new(place / "report.html", "whole" * 1000)


def report_state(place: Path) -> str:
    file = place / "report.html"
    return file.read_text()[:5] + str(len(file.read_text())) if file.exists() else ""


KEY = hashlib.sha256(b"image").digest()


def store_in(place: Path) -> RecordStore:
    return RecordStore("features", "net-" + "0" * 24, "<f2", (4,), {}, place)


def cache(place: Path) -> None:
    store = store_in(place)
    if store.get(KEY) is None:
        store.add([(KEY, Record(np.ones(4, np.float16), b""))])
    store.close()


def cache_state(place: Path) -> str:
    found = store_in(place).get(KEY)
    return "" if found is None else str(found.payload.sum())


def embed(place: Path) -> None:
    if (place / "v.npz").exists():
        remove_left_over(place / "v.npz")
    else:
        with work_folder(place / "v.npz") as folder:
            folder.part.write_bytes(b"vectors")
            folder.finish()


def embed_state(place: Path) -> str:
    file = place / "v.npz"
    return file.read_text() if file.exists() else ""


def export(place: Path) -> None:
    """Write a folder of exports; or, where it is there, remove what killed runs left."""
    sweep_folder(place)
    if not (place / "m-onnx").exists():
        with new_folder(place / "m-onnx") as part:
            (part / "model.onnx").write_bytes(b"network")
            (part / "export.json").write_text("{}")


def export_state(place: Path) -> str:
    folder = place / "m-onnx"
    return "" if not folder.exists() else str({path.name: path.read_text() for path in sorted(folder.iterdir())})


def train(place: Path) -> None:
    """Begin a run, and resume it until it has a state."""
    if not (place / "m.tlkit-run").exists():
        with reserved(place / "images", str(place / "m.tlkit"), False) as target:
            begin_run(TrainOptions.make(place / "images"), None, target)
    with reserved_run(place / "m.tlkit-run") as (run, _):
        if not run.has_state:
            run.decide(seed=1)
            save_state(run.path, {"now0": np.ones(8)}, {"run": {}})
        load_state(run.path)


def train_state(place: Path) -> str:
    if not (place / "m.tlkit-run").exists():
        return ""
    return "state" if load_state(open_run(place / "m.tlkit-run").path) else "begun"


CASES = {
    "save": Case(lambda place: bundle(place, b"new", overwrite=False), bundle_state, {"", "new"}, {"m.tlkit"}),
    "overwrite": Case(
        lambda place: bundle(place, b"new", overwrite=True),
        bundle_state,
        {"old", "new"},
        {"m.tlkit"},
        lambda place: bundle(place, b"old", overwrite=False),
    ),
    "report": Case(report, report_state, {"", "whole5000"}, {"report.html"}),
    "cache": Case(cache, cache_state, {"", "4.0"}, {"features"}),
    "embed": Case(embed, embed_state, {"", "vectors"}, {"v.npz"}),
    "export": Case(export, export_state, {"", "{'export.json': '{}', 'model.onnx': 'network'}"}, {"m-onnx"}),
    "resume": Case(
        train, train_state, {"", "begun", "state"}, {"images", "m.tlkit-run"}, lambda place: (place / "images").mkdir()
    ),
}


@pytest.mark.parametrize("by_exchange", [True, False], ids=["exchange", "renames"])
@pytest.mark.parametrize("name", CASES)
def test_any_operation_may_fail(
    name: str, by_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[..., None]
) -> None:
    if not by_exchange:
        if name not in ("save", "overwrite"):
            pytest.skip("replaces no folder")
        monkeypatch.setattr(durable, "_system_call", lambda: None)
    case, place = CASES[name], tmp_path / "place"

    def fresh() -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        case.prepare(place)

    fresh()
    watching = Injector()
    with watching.active():
        case.work(place)
    new = case.state(place)
    assert watching.count > 3
    print(f"{name}: {watching.count} operations, {len(ERRORS)} faults each")
    record_property("operations", watching.count)
    for number in range(1, watching.count + 1):
        for error in ERRORS:
            fresh()
            if error == KILL:
                kill_at(number, lambda: case.work(place))
            else:
                with Injector(number, error).active(), contextlib.suppress(TlkitError, OSError):
                    case.work(place)
            assert case.state(place) in case.allowed, (number, error)
            case.work(place)
            assert case.state(place) == new, (number, error)
            assert {path.name for path in place.iterdir()} == case.left, (number, error)
