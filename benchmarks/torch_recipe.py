"""What fastai's ``fine_tune`` does, in plain PyTorch: the fastai-like recipe of ``frontier_peers.py``. Needs torch.

As in fastai: its head for images (average and maximum pooled, two dense layers with BatchNorm and dropout), one epoch
with only the head and the BatchNorm layers trained at 2e-3, then everything at 1e-3 with rates over a factor of 100 in
three groups of layers, each phase one cycle of rate and momentum; Adam with decoupled weight decay of 0.01, none on
biases and BatchNorm; batches of 64; BatchNorm as in training; flips, turns, zooms, crops of three quarters of the
area, brightness and contrast with fastai's odds. Not as in fastai: no warping, images decoded once and
kept in memory at 256 pixels, and the cycle follows the clock, so that it always ends with the budget. The second step
tells how long an epoch takes; the first phase gets no more than half of the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from measure import SIDE, cores
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional
from torch_lite import HEAD_FILTERS, packaged_lite0

if TYPE_CHECKING:
    from frontier_peers import Clock

BATCH = 64
STORED = 256  # pixels a side of the images in memory
RATE = 2e-3
FACTOR = 100  # between the rates of the first and the last group
DECAY = 0.01
HIDDEN = 512

Rates = Callable[[float], tuple[float, float]]


def fine_tune(tree: Path, budget: float, seed: int, clock: Clock) -> None:
    """Train until the budget, then say what the test images are taken for."""
    torch.manual_seed(seed)
    names, labels, classes = listed(tree / "train")
    pixels, targets = pixels_of(tree / "train", names, STORED), torch.tensor(labels)
    batch = min(BATCH, len(names))
    groups = layer_groups(len(classes))
    network = nn.Sequential(*groups).to(memory_format=torch.channels_last).train()
    batches = shuffled(len(names), batch)
    steps = 0

    def train(phase: tuple[torch.optim.Optimizer, Rates], until: Callable[[], float]) -> None:
        """Steps on one cycle; ``until`` is asked after each, as the first two tell how long the phase is."""
        nonlocal steps
        optimizer, cycle = phase
        began = clock.now()
        while steps == 0 or clock.now() + clock.step <= until():
            set_rates(optimizer, *cycle(min(1.0, (clock.now() - began) / (until() - began)) if steps > 1 else 0.0))
            chosen = next(batches)
            loss = functional.cross_entropy(network(augmented(pixels[chosen])), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            clock.tick()
            steps += 1

    planned: list[float] = []

    def frozen_until() -> float:
        if steps < 2:
            return budget
        if not planned:
            left = budget - clock.now()
            planned.append(clock.now() + min((len(names) // batch - steps) * clock.step, left / 2))
        return planned[0]

    clock.last = clock.now()
    train(one_cycle(groups, RATE, frozen=True), frozen_until)
    frozen = steps
    train(one_cycle(groups, RATE / 2, frozen=False), lambda: budget)
    began = time.time()
    test, _, _ = listed(tree / "test")
    predicted = {name: classes[index] for name, index in zip(test, predict(network, tree / "test", test), strict=True)}
    epochs = round(steps * batch / len(names), 2)
    clock.say(budget, predicted, steps=steps, epochs=epochs, frozen_steps=frozen)
    clock.stop_for(time.time() - began)


def listed(folder: Path) -> tuple[list[str], list[int], list[str]]:
    """Names of the images below class folders, their labels, and the classes."""
    classes = sorted(path.name for path in folder.iterdir())
    files = [(path.relative_to(folder).as_posix(), classes.index(path.parent.name)) for path in folder.glob("*/*")]
    return [name for name, _ in sorted(files)], [label for _, label in sorted(files)], classes


def pixels_of(folder: Path, names: list[str], side: int) -> Tensor:
    """The images stretched to squares, uint8 [images, 3, side, side]."""

    def read(name: str) -> np.ndarray:
        with Image.open(folder / name) as image:
            image.draft("RGB", (side, side))
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0))

    with ThreadPoolExecutor(cores()) as pool:
        return torch.from_numpy(np.stack(list(pool.map(read, names)))).permute(0, 3, 1, 2)


def layer_groups(classes: int) -> list[nn.Module]:
    """Two parts of the network and fastai's head, which share the layers to be trained."""
    body = packaged_lite0()
    head = nn.Sequential(
        Pooled(),
        nn.BatchNorm1d(2 * HEAD_FILTERS),
        nn.Dropout(0.25),
        nn.Linear(2 * HEAD_FILTERS, HIDDEN, bias=False),
        nn.ReLU(),
        nn.BatchNorm1d(HIDDEN),
        nn.Dropout(0.5),
        nn.Linear(HIDDEN, classes, bias=False),
    )
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return [*body.halves(), head]


class Pooled(nn.Module):
    """Maximum and mean of a feature map."""

    def forward(self, x: Tensor) -> Tensor:
        """From [batch, channels, height, width] to [batch, twice the channels]."""
        return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


def shuffled(count: int, batch: int) -> Iterator[Tensor]:
    """Batches of indices, epoch after epoch; what is left of an epoch is dropped."""
    while True:
        order = torch.randperm(count)
        for start in range(0, count - batch + 1, batch):
            yield order[start : start + batch]


def augmented(pixels: Tensor) -> Tensor:
    """Float images of the network's size in 0..255, each flipped, turned, cropped and lit at random."""
    count = len(pixels)
    some = (torch.rand(3, count) < 0.75).float()  # fastai's odds of a turn, a zoom, a change of light
    area, ratio = uniform(count, 0.75, 1), torch.exp(uniform(count, math.log(3 / 4), math.log(4 / 3)))
    zoom = 1 + some[1] * uniform(count, 0, 0.1)
    wide, high = ((area * each).sqrt().clamp(max=1) / zoom for each in (ratio, 1 / ratio))
    turn = some[0] * uniform(count, -10, 10) * math.pi / 180
    flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    across, down = ((1 - each) * uniform(count, -1, 1) for each in (wide, high))
    theta = torch.stack(
        [
            torch.stack([flip * wide * turn.cos(), -high * turn.sin(), across], 1),
            torch.stack([flip * wide * turn.sin(), high * turn.cos(), down], 1),
        ],
        1,
    )
    grid = functional.affine_grid(theta, [count, 3, SIDE, SIDE], align_corners=False)
    images = functional.grid_sample(pixels.float() / 255, grid, padding_mode="reflection", align_corners=False)
    shift = torch.logit(0.5 + some[2] * uniform(count, -0.1, 0.1))
    scale = torch.exp(some[2] * uniform(count, math.log(0.8), -math.log(0.8)))
    lit = torch.sigmoid(torch.logit(images, eps=1e-4) * scale.view(-1, 1, 1, 1) + shift.view(-1, 1, 1, 1))
    return (lit * 255).contiguous(memory_format=torch.channels_last)


def uniform(count: int, low: float, high: float) -> Tensor:
    """So many numbers between two bounds."""
    return torch.rand(count) * (high - low) + low


def one_cycle(groups: list[nn.Module], rate: float, frozen: bool) -> tuple[torch.optim.Optimizer, Rates]:
    """The optimizer of a phase with the highest rate of each group, and its cycle: (share of the rate, momentum)."""
    last = len(groups) - 1
    options = []
    for number, group in enumerate(groups):
        most = rate if number == last else rate / 10 if frozen else rate * FACTOR ** (number / last - 1)
        kinds: dict[bool, list[nn.Parameter]] = {False: [], True: []}  # by whether they are of BatchNorm
        for layer in group.modules():
            kinds[isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))] += layer.parameters(recurse=False)
        for plain, values in kinds.items():
            for value in values:
                value.requires_grad_(plain or number == last or not frozen)
            if values and values[0].requires_grad:
                options.append({"params": values, "most": most, "weight_decay": 0.0 if plain else DECAY})
    optimizer = torch.optim.AdamW(options, lr=rate, betas=(0.95, 0.99), eps=1e-5, fused=True)
    peak, start = (0.99, 25) if frozen else (0.3, 5)

    def cycle(progress: float) -> tuple[float, float]:
        if progress < peak:
            return between(1 / start, 1, progress / peak), between(0.95, 0.85, progress / peak)
        down = (progress - peak) / (1 - peak)
        return between(1, 1e-5, down), between(0.85, 0.95, down)

    return optimizer, cycle


def between(start: float, end: float, progress: float) -> float:
    """Half a cosine from one value to another."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def set_rates(optimizer: torch.optim.Optimizer, share: float, momentum: float) -> None:
    """Before a step."""
    for group in optimizer.param_groups:
        group["lr"] = group["most"] * share
        group["betas"] = (momentum, 0.99)


def predict(network: nn.Module, folder: Path, names: list[str]) -> list[int]:
    """The class of each image."""
    network.eval()
    found: list[int] = []
    with torch.inference_mode():
        for start in range(0, len(names), BATCH):
            pixels = pixels_of(folder, names[start : start + BATCH], SIDE).float()
            found += network(pixels.contiguous(memory_format=torch.channels_last)).argmax(1).tolist()
    return found
