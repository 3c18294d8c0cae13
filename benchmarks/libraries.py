"""What is written by hand in place of a library, against that library: one JSON line.

    python benchmarks/libraries.py [PART ...]

Parts; all by default:

- ``hash``: the perceptual hash against ImageHash, if that is installed.
- ``weights``: `tlkit.backbones.weights.matching` against Keras's ``load_weights``, on files of every layout, files
  that hold a part of a network, and files of other networks.
- ``litert``: a network in LiteRT's format, written from its weights, against ``model.export(format="litert")``.
- ``archive``: ``model.keras`` of the packaged network, written by hand against Keras; and of a catalogued network.
- ``torch``: the packaged weights, read from PyTorch's legacy format.
- ``store``: the feature store against SQLite, HDF5 and diskcache (if installed): 10,000 rows of 3,000 float16.

Seconds are medians of ``--runs`` fresh processes, imports included, where not said otherwise; sides take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from measure import SIDE, machine, require_success, watch

ROWS, COLUMNS, BATCH = 10_000, 3_000, 500
KEPT_IN = {"tlkit": "", "sqlite": "rows.db", "hdf5": "rows.h5", "diskcache": ""}
CATALOGUED = "mobilenet-v2"  # stands for the networks that are not packaged
HEAD = "import numpy as np; kernel, bias = np.zeros((1280, 5), 'float32'), np.zeros(5, 'float32');"
BUILD = (
    "from tlkit.backbones.build import build_backbone; from tlkit.formats.networks import attach_head;"
    "from tlkit.linear.head import Head; network = build_backbone({name!r}, weights={weights!r}, input_size={side});"
)


def main() -> None:
    parts = {"hash": hashes, "weights": weights, "litert": litert, "archive": archive, "torch": torch, "store": stores}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *parts], metavar="PART")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--write", nargs=2, metavar=("STORE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write_batches(arguments.write[0], Path(arguments.write[1]))
        return
    figures = {name: parts[name](arguments) for name in arguments.parts or parts}
    print(json.dumps({"benchmark": "libraries", **figures, **machine()}))


# hash


def hashes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Microseconds an image, and how many of 1,000 random images have the same bits."""
    from PIL import Image

    from tlkit.images.duplicates import GRID, fingerprint

    sizes = {name: installed_mb(name) for name in ("ImageHash", "PyWavelets")}
    if find_spec("imagehash") is None:
        return {"installed_mb": sizes}
    import imagehash

    def theirs(pixels: Any) -> bytes:
        grey = Image.fromarray(pixels).convert("L").resize((GRID, GRID), Image.Resampling.BILINEAR)
        bits = [imagehash.dhash(grey).hash, imagehash.dhash_vertical(grey).hash]
        return np.packbits(np.stack(bits)).tobytes()

    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (5, 5, 3), dtype=np.uint8) for _ in range(1000)]
    images = [np.asarray(Image.fromarray(each).resize(tuple(rng.integers(20, 300, 2)))) for each in coarse]
    spent = {"tlkit": 0.0, "imagehash": 0.0}
    same = 0
    for image in images:
        found = []
        for name, function in (("tlkit", fingerprint), ("imagehash", theirs)):
            start = time.perf_counter()
            found.append(function(image))
            spent[name] += time.perf_counter() - start
        same += found[0] == found[1]
    return {
        "images": len(images),
        "same_bits": same,
        "microseconds": {name: round(1e6 * each / len(images)) for name, each in spent.items()},
        "installed_mb": sizes,
    }


def installed_mb(name: str) -> float | None:
    try:
        paths = [Path(str(each.locate())) for each in files(name) or ()]
    except PackageNotFoundError:
        return None
    return round(sum(path.stat().st_size for path in paths if path.exists()) / 1e6, 1)


# weights


def weights(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Of each file how many layers each way fills rightly and wrongly; "refused" where it raises."""
    import h5py

    from tlkit.backbones.build import build_backbone
    from tlkit.backbones.runtime import import_keras

    keras = import_keras()
    small, packaged = "mobilenet-v3-small", "efficientnet-lite0"
    found = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        whole = moved(keras.applications.MobileNetV3Small(weights=None, input_shape=(64, 64, 3)))
        body = keras.Model(whole.input, whole.get_layer("conv_1_bn").output)
        image = keras.Input((64, 64, 3))
        pooled = keras.layers.GlobalAveragePooling2D()(body(image))
        whole.save(place / "with classifier.h5")
        whole.save(place / "with classifier.keras")
        whole.save_weights(place / "with classifier.weights.h5")
        body.save(place / "without classifier.h5")
        body.save(place / "without classifier.keras")
        keras.Model(image, keras.layers.Dense(2)(pooled)).save(place / "nested.keras")
        whole_values = {layer.name: layer.get_weights() for layer in body.layers if layer.weights}
        other = moved(keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(64, 64, 3)))
        other.save(place / "another network.h5")
        other.save(place / "another network.keras")
        for path in sorted(place.iterdir()):
            truth = {} if path.stem.startswith("another") else whole_values
            found.append(tried(path, small, "none", truth))
            path.unlink()
        source = build_backbone(packaged, weights="none", input_size=64, seed=7).model
        values = {layer.name: layer.get_weights() for layer in source.layers if layer.weights}
        gone = list(values)[-6]
        source.save_weights(place / "a layer less.weights.h5")
        with h5py.File(place / "a layer less.weights.h5", "a") as file:
            groups: dict[str, str] = {}
            file.visititems(lambda path, item: groups.update({item.attrs.get("name"): path}))
            del file[groups[gone]]
        source.save(place / "a layer less.h5")
        with h5py.File(place / "a layer less.h5", "a") as file:
            group = file["model_weights"]
            group.attrs["layer_names"] = [each for each in group.attrs["layer_names"] if each != gone]
        deeper = build_backbone("efficientnet-lite1", weights="none", input_size=64).model
        deeper.save(place / "a deeper network of the family.h5")
        deeper.save(place / "a deeper network of the family.keras")
        rest = {name: value for name, value in values.items() if name != gone}
        for path in sorted(place.iterdir()):
            truth = rest if path.stem.startswith("a layer") else {}
            found.append(tried(path, packaged, "imagenet", truth))
    return found


def moved(model: Any) -> Any:
    """A network none of whose layers has the weights it was created with."""
    model.set_weights([each + 0.125 for each in model.get_weights()])
    return model


def tried(path: Path, name: str, begin: str, truth: dict[str, Any]) -> dict[str, Any]:
    """What each way of loading makes of a file.

    Args:
        path: The file.
        name: Of the backbone that it is loaded into.
        begin: Weights that the backbone has before.
        truth: What the file's layers should become; none where it should be refused.
    """
    from tlkit.backbones.build import build_backbone
    from tlkit.backbones.catalog.table import get
    from tlkit.backbones.weights.loading import load_weights

    ways: dict[str, dict[str, Any]] = {"tlkit": {}, "plain": {}, "skip_mismatch": {"skip_mismatch": True}}
    if path.suffix == ".h5" and not path.name.endswith(".weights.h5"):
        ways["by_name"] = {"by_name": True, "skip_mismatch": True}
    row: dict[str, Any] = {"file": path.name, "should_fill": len(truth)}
    for way, options in ways.items():
        model = build_backbone(name, weights=begin, input_size=64).model
        layers = [layer for layer in model.layers if layer.weights]
        before = [layer.get_weights() for layer in layers]
        refused = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if way == "tlkit":
                    load_weights(model, get(name), path)
                else:
                    model.load_weights(path, **options)
            except Exception as error:  # noqa: BLE001  (Keras raises what it likes)
                refused = f"refused ({type(error).__name__}), "
        right = wrong = 0
        for layer, old in zip(layers, before, strict=True):
            new = layer.get_weights()
            is_right = layer.name in truth and equal(new, truth[layer.name])
            right, wrong = right + is_right, wrong + (not is_right and not equal(new, old))
        row[way] = f"{refused}{right} layers right, {wrong} wrong"
    return row


def equal(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# litert, archive, torch


def litert(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds from nothing to the file."""
    build = BUILD.format(name="efficientnet-lite0", weights="imagenet", side=SIDE)
    return in_turn(
        {
            "written": "from tlkit.backbones.litert.efficientnet_lite import packaged_graph; "
            f"packaged_graph('lite0', {SIDE})",
            "keras_export": build + "network.model.export('n.tflite', format='litert', verbose=False)",
            "converter": build + "from tlkit.backbones.litert.conversions import convert; convert(network.model)",
        },
        arguments.runs,
    )


def archive(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds from nothing to ``model.keras``; of a catalogued network with random weights."""
    by_keras = "attach_head(network, Head(kernel, bias, 1.0, ())).save('m.keras')"
    return in_turn(
        {
            "written": f"{HEAD} from pathlib import Path; from tlkit.formats.keras_archive import write_packaged;"
            f"write_packaged(Path('m.keras'), 'lite0', {SIDE}, kernel, bias)",
            "keras": HEAD + BUILD.format(name="efficientnet-lite0", weights="imagenet", side=SIDE) + by_keras,
            CATALOGUED: HEAD + BUILD.format(name=CATALOGUED, weights="none", side=SIDE) + by_keras,
        },
        arguments.runs,
    )


def torch(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds to read the packaged weights, from nothing."""
    from tlkit.backbones.efficientnet_lite import _packaged_file, variant_of

    file = _packaged_file(variant_of("lite0"))
    ways = {
        "nothing": "import numpy",
        "read": f"from tlkit.backbones.weights.torch_legacy import read_state_dict; read_state_dict({str(file)!r})",
    }
    if find_spec("torch") is not None:
        ways["torch"] = f"import torch; torch.load({str(file)!r}, weights_only=True)"
    return {"file_mb": round(file.stat().st_size / 1e6, 1), **in_turn(ways, arguments.runs)}


def in_turn(ways: dict[str, str], runs: int) -> dict[str, float]:
    """Median seconds of Python code in fresh processes, one way after another, several times."""
    ran: dict[str, list[Any]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            for name, code in ways.items():
                command = [sys.executable, "-c", code]
                ran[name].append(watch(command, cwd=Path(folder), env={"CUDA_VISIBLE_DEVICES": "-1"}))
                require_success(ran[name][-1], command)
    return {name: round(statistics.median(each.seconds for each in some), 2) for name, some in ran.items()}


# store


def stores(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds in this process, bytes on disk, and what is left after a writer was killed at a random moment."""
    kinds = [kind for kind in KEPT_IN if kind != "diskcache" or find_spec("diskcache")]
    rows = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype("<f2")
    keys = [hashlib.sha256(str(row).encode()).digest() for row in range(ROWS)]
    figures: dict[str, Any] = {kind: {"write": [], "read": []} for kind in kinds}
    for _ in range(arguments.runs):
        for kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                with opened(kind, Path(folder)) as (add, _):
                    for first in range(0, ROWS, BATCH):
                        add(keys[first : first + BATCH], rows[first : first + BATCH])
                middle = time.perf_counter()
                with opened(kind, Path(folder)) as (_, get):
                    found = [get(key) for key in keys]
                end = time.perf_counter()
                assert all(np.array_equal(one, other) for one, other in zip(found, rows, strict=True))
                size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            figures[kind]["write"].append(middle - start)
            figures[kind]["read"].append(end - middle)
            figures[kind]["mb"] = round(size / 1e6, 1)
    for kind in kinds:
        for name in ("write", "read"):
            figures[kind][name] = round(statistics.median(figures[kind][name]), 2)
        figures[kind] |= killed(kind, arguments.kills) | {"second_writer": together(kind), "flipped_bit": flipped(kind)}
    return figures


@contextlib.contextmanager
def opened(kind: str, folder: Path) -> Iterator[tuple[Callable[[Any, Any], None], Callable[[bytes], Any]]]:
    """A function that keeps rows, whole and on disk when it returns, and one that gives a row or None."""
    if kind == "tlkit":
        from tlkit.store.records import RecordStore
        from tlkit.store.shards import Record

        store = RecordStore("features", "rows-0123456789abcdef", "<f2", (COLUMNS,), {}, folder)

        def read(key: bytes) -> Any:
            record = store.get(key)
            return None if record is None else np.array(record.payload)

        yield lambda keys, rows: store.add([(key, Record(row)) for key, row in zip(keys, rows, strict=True)]), read
        store.close()
    elif kind == "sqlite":
        import sqlite3

        with contextlib.closing(sqlite3.connect(folder / KEPT_IN[kind])) as base:
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB)")

            def insert(keys: Any, rows: Any) -> None:
                with base:
                    pairs = [(key, row.tobytes()) for key, row in zip(keys, rows, strict=True)]
                    base.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", pairs)

            def select(key: bytes) -> Any:
                row = base.execute("SELECT value FROM rows WHERE key = ?", (key,)).fetchone()
                return None if row is None else np.frombuffer(row[0], "<f2")

            yield insert, select
    elif kind == "hdf5":
        import h5py

        with h5py.File(folder / KEPT_IN[kind], "a") as file:
            payload = file.require_dataset("row", (0, COLUMNS), "<f2", maxshape=(None, COLUMNS), chunks=(64, COLUMNS))
            names = file.require_dataset("key", (0,), "S64", maxshape=(None,), chunks=(1024,))
            places = {name: place for place, name in enumerate(names[:])}

            def append(keys: Any, rows: Any) -> None:
                count = len(names)
                for dataset in (payload, names):
                    dataset.resize(count + len(rows), axis=0)
                payload[count:] = rows
                names[count:] = [key.hex().encode() for key in keys]
                file.flush()

            def find(key: bytes) -> Any:
                place = places.get(key.hex().encode())
                return None if place is None else payload[place]

            yield append, find
    else:
        import diskcache

        with contextlib.closing(diskcache.Cache(str(folder))) as cache:

            def put(keys: Any, rows: Any) -> None:
                with cache.transact():
                    for key, row in zip(keys, rows, strict=True):
                        cache.set(key, row.tobytes())

            def take(key: bytes) -> Any:
                value = cache.get(key)
                return None if value is None else np.frombuffer(value, "<f2")

            yield put, take


def numbered(number: int) -> tuple[list[bytes], Any]:
    """A batch of rows that can be checked: each is filled with a number that its key gives."""
    keys = [hashlib.sha256(f"{number}-{row}".encode()).digest() for row in range(BATCH)]
    return keys, np.stack([np.full(COLUMNS, key[0] + 256 * (key[1] % 8), "<f2") for key in keys])


def write_batches(kind: str, folder: Path) -> None:
    """Write batches; print the number of each that is kept."""
    with opened(kind, folder) as (add, _):
        for number in range(int(os.environ.get("BATCHES", "1000000"))):
            add(*numbered(number))
            print(number, flush=True)


def writer(kind: str, folder: str, batches: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--write", kind, folder]
    env = {**os.environ, "BATCHES": str(batches)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def killed(kind: str, kills: int) -> dict[str, int]:
    """Kill a writer after its first batch; then all that it said it kept should be there, and more can be added."""
    count = dict.fromkeys(("kills", "cannot_be_opened", "rows_lost", "rows_wrong"), 0)
    rng = random.Random(0)
    for _ in range(kills):
        with tempfile.TemporaryDirectory() as folder:
            process = writer(kind, folder, 1_000_000)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
            last = max([0, *map(int, process.communicate()[0].split())])
            count["kills"] += 1
            try:
                with opened(kind, Path(folder)) as (add, get):
                    add(*numbered(10**9))
                    for number in range(last + 2):  # one more may have been under way
                        keys, rows = numbered(number)
                        found = [get(key) for key in keys]
                        lost = sum(each is None for each in found)
                        count["rows_lost"] += lost if number <= last else 0
                        pairs = zip(found, rows, strict=True)
                        count["rows_wrong"] += sum(
                            each is not None and not np.array_equal(each, row) for each, row in pairs
                        )
            except Exception:  # noqa: BLE001  (each library raises its own)
                count["cannot_be_opened"] += 1
    return count


def together(kind: str) -> str:
    """Two processes that write at the same time."""
    with tempfile.TemporaryDirectory() as folder:
        both = [writer(kind, folder, 10) for _ in range(2)]
        ends = [process.communicate()[1].strip().splitlines()[-1:] for process in both]
    failed = [lines[0] if lines else "ended" for lines, process in zip(ends, both, strict=True) if process.returncode]
    return failed[0].partition(":")[0] if failed else "works"


def flipped(kind: str) -> str:
    """What a reader gets where one bit in the middle of the largest file has changed."""
    with tempfile.TemporaryDirectory() as folder:
        keys, rows = numbered(0)
        with opened(kind, Path(folder)) as (add, _):
            add(keys, rows)
        file = max((path for path in Path(folder).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 64
        file.write_bytes(data)
        try:
            with opened(kind, Path(folder)) as (_, get):
                found = [get(key) for key in keys]
        except Exception as error:  # noqa: BLE001  (each library raises its own)
            return type(error).__name__
    wrong = sum(each is not None and not np.array_equal(each, row) for each, row in zip(found, rows, strict=True))
    absent = sum(each is None for each in found)
    return f"{wrong} rows wrong, {absent} absent"


if __name__ == "__main__":
    main()
