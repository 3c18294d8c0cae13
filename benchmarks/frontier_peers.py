"""The recipes that ``frontier.py`` compares ``tlkit train`` with, each in a process of its own.

    python benchmarks/frontier_peers.py keras-guide TREE --budgets 30 120 300
    python benchmarks/frontier_peers.py fastai-like TREE --budgets 30

TREE holds train/ and test/ with class folders. At each budget, a JSON line says what every test image was taken for.
Time runs from ``--started`` (the start of the process, imports included) and stands still while test images are judged.
No step is begun that would end after the budget, going by the one before; the first is always made.

``keras-guide``: the network and the data of ``keras_guide.py``, ten epochs frozen at Adam's 1e-3, then everything at
1e-5. ``fastai-like``: what ``fine_tune`` of fastai does, in plain PyTorch; needs torch. It takes one budget, for which
its schedule is planned.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FROZEN_EPOCHS = 10  # of Keras's guide


class Clock:
    """Seconds since the process was started, less those spent on judging test images."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.last = 0.0  # when the last step ended
        self.step = math.inf  # seconds the last step took

    def now(self) -> float:
        """Seconds that count so far."""
        return time.time() - self.started

    def stop_for(self, uncounted: float) -> None:
        """Leave out so many seconds."""
        self.started += uncounted
        self.last = self.now()

    def tick(self) -> float:
        """A step has ended; gives the time by which the next one will have."""
        now = self.now()
        self.step, self.last = now - self.last, now
        return now + self.step

    def say(self, budget: float, predicted: dict[str, str], **more: Any) -> None:
        """One line: what the test images were taken for, and when the last step had ended."""
        line = {"budget": budget, "seconds": round(self.last, 2), **more, "predicted": predicted}
        print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=("keras-guide", "fastai-like"))
    parser.add_argument("tree", type=Path)
    parser.add_argument("--budgets", type=float, nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--started", type=float, default=time.time())
    arguments = parser.parse_args()
    clock = Clock(arguments.started)
    if arguments.tool == "keras-guide":
        follow_guide(arguments.tree, sorted(arguments.budgets), arguments.seed, clock)
    elif importlib.util.find_spec("torch") is None:
        sys.exit("the fastai-like recipe needs PyTorch: pip install torch")
    else:
        from torch_recipe import fine_tune

        fine_tune(arguments.tree, arguments.budgets[0], arguments.seed, clock)


def follow_guide(tree: Path, budgets: Sequence[float], seed: int, clock: Clock) -> None:
    """Keras's guide to transfer learning until the last budget."""
    import keras
    import numpy as np
    import tensorflow as tf
    from keras_guide import guided_network, images_in

    keras.utils.set_random_seed(seed)
    train = images_in(tree / "train", shuffle=True, seed=seed)
    base, model = guided_network(len(train.class_names))
    infer = tf.function(lambda pixels: model(pixels, training=False), reduce_retracing=True)
    left = deque(budgets)

    def judge(steps: int) -> None:
        began = time.time()
        test = images_in(tree / "test", shuffle=False)
        found = np.concatenate([np.argmax(infer(pixels), axis=1) for pixels, _ in test])
        names = [Path(path).relative_to(tree / "test").as_posix() for path in test.file_paths]
        predicted = {name: train.class_names[index] for name, index in zip(names, found, strict=True)}
        epochs = round(steps / len(train), 2)
        clock.say(left.popleft(), predicted, steps=steps, epochs=epochs, phase="fine" if base.trainable else "frozen")
        clock.stop_for(time.time() - began)

    class Marks(keras.callbacks.Callback):  # type: ignore[misc]
        steps = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            expected = clock.tick()
            while left and expected > left[0]:
                judge(self.steps)
            self.model.stop_training = self.model.stop_training or not left

    marks = Marks()
    for trainable, optimizer, epochs in (
        (False, keras.optimizers.Adam(), FROZEN_EPOCHS),
        (True, keras.optimizers.Adam(1e-5), 10**6),
    ):
        if left:
            base.trainable = trainable
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
            model.fit(train, epochs=epochs, callbacks=[marks], verbose=0)


if __name__ == "__main__":
    main()
