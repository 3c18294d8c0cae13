"""Keras's guide to transfer learning against ``tlkit train``: same backbone, same split, one JSON line.

    python benchmarks/keras_guide.py FOLDER --epochs 10 --fine-tune --strategies freeze last-layers

What a user of the guide would write: ``image_dataset_from_directory`` at 224 pixels, random flips and turns, the frozen
network in inference mode, average pooling, dropout 0.2, a dense layer, Adam. ``--fine-tune`` adds its second phase,
the whole network at a learning rate of 1e-5. It runs in a process of its own, whose whole time counts, imports
included. The split is that of ``tlkit train``, which is timed beside it, each strategy with an empty cache.
``--per-class`` takes a balanced part of the folder. Formats the guide's way cannot read are left out and counted.

The accuracies are those on the validation images. tlkit chooses its weights on them, the guide has its last epoch's;
its best epoch's accuracy stands beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import PLAIN, SIDE, fresh_cache, machine, run_json, run_tlkit
from strategies import draw

BATCH = 32
READABLE = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--fine-tune", action="store_true")
    parser.add_argument("--fine-tune-epochs", type=int, default=5)
    parser.add_argument("--strategies", nargs="+", default=["freeze"], help="of tlkit train; freeze-all: all features")
    parser.add_argument("--per-class", type=int, default=0, help="images; 0: all")
    parser.add_argument("--here", action="store_true", help="FOLDER holds train/ and val/: only the guide, here")
    arguments = parser.parse_args()
    images = arguments.images.resolve()
    more = arguments.fine_tune_epochs if arguments.fine_tune else 0
    if arguments.here:
        print(json.dumps(follow_guide(images, arguments.epochs, more)))
        return
    figures = {"benchmark": "keras_guide", "images": images.name, "epochs": arguments.epochs, "fine_tune_epochs": more}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if arguments.per_class:
            draw(images, arguments.per_class, 0, 0).link(place / "part")
            images = place / "part" / "train"
        ours: dict[str, Any] = {}
        for name in arguments.strategies:
            ours[name] = train(images, name, place)
        tree = place / "tree"
        split = json.loads((place / f"{arguments.strategies[0]}.tlkit" / "tlkit.json").read_text())["split"]
        figures["left_out"] = link_split(tree, images, split)
        options = ["--here", "--epochs", arguments.epochs]
        options += ["--fine-tune", "--fine-tune-epochs", more] if more else []
        guide = run_json([sys.executable, Path(__file__).resolve(), tree, *options], cwd=place, env={})
    theirs = guide.result["by_epoch"]
    figures |= {
        **guide.result["count"],
        "guide": {
            "val_accuracy": theirs[-1],
            "best_val_accuracy": max(theirs),
            "by_epoch": theirs,
            "seconds": guide.seconds,
            "peak_mib": guide.peak_mib,
        },
        "tlkit": {
            name: {
                **its,
                "more_points": round(100 * (its["val_accuracy"] - theirs[-1]), 2),
                "guide_takes_times": round(guide.seconds / its["seconds"], 2),
            }
            for name, its in ours.items()
        },
        **machine(),
    }
    print(json.dumps(figures))


def train(images: Path, strategy: str, place: Path) -> dict[str, Any]:
    """One run of the installed command."""
    name, features = strategy.removesuffix("-all"), "all" if strategy.endswith("-all") else "last"
    command: list[object] = [
        "train",
        images,
        *PLAIN,
        "--strategy",
        name,
        "--features",
        features,
        "--test-split",
        0,
        "--output",
        place / f"{strategy}.tlkit",
        "--json",
    ]
    ran = run_tlkit(*command, cwd=place, env=fresh_cache(place))
    accuracy = round(ran.result["metrics"]["val_accuracy"], 4)
    return {"val_accuracy": accuracy, "seconds": ran.seconds, "peak_mib": ran.peak_mib}


def link_split(tree: Path, images: Path, split: dict[str, str]) -> int:
    """Links in train/ and val/ with class folders in each; gives how many images of the split were left out."""
    from tlkit.images.folder import scan

    folder, left_out = scan(images), 0
    for number, (file, index) in enumerate(zip(folder.paths, folder.labels, strict=True)):
        part = split.get(content_of(file))
        if part not in ("train", "val"):
            continue  # unreadable, a copy that was dropped, or a test image
        if file.suffix.lower() not in READABLE:
            left_out += 1
            continue
        label = folder.classes[index]
        for each in ("train", "val"):
            (tree / each / label).mkdir(parents=True, exist_ok=True)
        (tree / part / label / f"{number}{file.suffix}").symlink_to(file)
    return left_out


def content_of(file: Path) -> str | None:
    """SHA-256 of a file's bytes as hex; None if it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def follow_guide(tree: Path, epochs: int, fine_tune_epochs: int) -> dict[str, Any]:
    """Train as the guide does; validation accuracy after each epoch."""
    import keras

    keras.utils.set_random_seed(0)
    train, val = images_in(tree / "train", shuffle=True), images_in(tree / "val", shuffle=False)
    base, model = guided_network(len(train.class_names))
    by_epoch = fit(model, keras.optimizers.Adam(), train, val, epochs)
    if fine_tune_epochs:
        base.trainable = True
        by_epoch += fit(model, keras.optimizers.Adam(1e-5), train, val, fine_tune_epochs)
    counts = {f"{part}_images": sum(path.is_file() for path in (tree / part).rglob("*")) for part in ("train", "val")}
    return {"count": counts, "by_epoch": [round(each, 4) for each in by_epoch]}


def images_in(folder: Path, shuffle: bool, seed: int = 0) -> Any:
    """A dataset of the images below class folders, in batches."""
    import keras

    return keras.utils.image_dataset_from_directory(
        folder, image_size=(SIDE, SIDE), batch_size=BATCH, shuffle=shuffle, seed=seed, verbose=False
    )


def guided_network(classes: int) -> tuple[Any, Any]:
    """The frozen network, and the guide's model around it."""
    import keras

    from tlkit.backbones.build import build_backbone

    base = build_backbone("efficientnet-lite0").model
    base.trainable = False
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.RandomFlip("horizontal")(image)
    x = keras.layers.RandomRotation(0.1)(x)
    x = base(x, training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.2)(x)
    return base, keras.Model(image, keras.layers.Dense(classes)(x))


def fit(model: Any, optimizer: Any, train: Any, val: Any, epochs: int) -> list[float]:
    """Compile and train; validation accuracy after each epoch."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    history = model.fit(train, validation_data=val, epochs=epochs, verbose=0).history
    return [float(each) for each in history["val_accuracy"]]


if __name__ == "__main__":
    main()
