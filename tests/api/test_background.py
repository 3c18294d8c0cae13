"""``evaluate --background-test`` finds classes that their background, or their files, give away, and only those."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Ran, Trained
from conftest import image as smooth
from PIL import Image

from tlkit.api import background as module
from tlkit.api.background import background_of
from tlkit.errors import TlkitError
from tlkit.evaluation.background import BORDER, CENTRE, FILE_FACTS, VIEWS, Background, Reading
from tlkit.progress import SilentProgress

EACH = 30
SIDE = 48
TINTS = ((150, 0, 0), (0, 0, 150))


def photo(seed: int, border: int, centre: int) -> Image.Image:
    """An object before a background, each red or blue."""
    whole = smooth(seed, (SIDE, SIDE), TINTS[border])
    whole.paste(smooth(seed + 10_000, (SIDE * 3 // 4, SIDE * 3 // 4), TINTS[centre]), (SIDE // 8, SIDE // 8))
    return whole


def photos(root: Path, kind: str) -> Path:
    """Two classes, told by their object; in some sets by their background or file too."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("birds", "fruit")):
        place = root / kind / name
        place.mkdir(parents=True)
        for number in range(EACH):
            seed = 1000 * label + number
            its = photo(seed, label if kind == "background" else int(rng.integers(2)), label)
            if kind == "files" and label:
                its.resize((SIDE, SIDE + 8)).save(place / f"{number}.jpg")
            else:
                its.save(place / f"{number}.png")
    return root / kind


class Pooled:
    """A network that gives the mean colours of a grid of 6 x 6."""

    taps = (("top", 108),)

    def forward(self, workers: int | None = None) -> Callable[[np.ndarray], np.ndarray]:
        return lambda pixels: (
            pixels.reshape(len(pixels), 6, pixels.shape[1] // 6, 6, pixels.shape[2] // 6, 3)
            .mean(axis=(2, 4))
            .reshape(len(pixels), -1)
            .astype(np.float32)
        )


def by_colour(pixels: np.ndarray) -> np.ndarray:
    """Probabilities of a bundle that goes by the whole image: the share of red."""
    red, blue = pixels[..., 0].mean(axis=(1, 2)), pixels[..., 2].mean(axis=(1, 2))
    return np.stack([red, blue], axis=1).astype(np.float32)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIDE", SIDE)
    monkeypatch.setattr(module, "TREES", 10)


def of(folder: Path) -> Background:
    bundle: Any = SimpleNamespace(input_size=(SIDE, SIDE), classes=("birds", "fruit"), forward=lambda *_: by_colour)
    paths = sorted(folder.rglob("*.*"))
    labels = [int(path.parent.name == "fruit") for path in paths]
    return background_of(paths, labels, bundle, engine="auto", workers=1, show=SilentProgress())


@pytest.mark.parametrize(
    ("kind", "said"),
    [("clean", None), ("background", "their background gives the class away"), ("files", "from different sources")],
)
def test_what_gives_the_class_away_is_found(
    quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, said: str | None
) -> None:
    if kind != "background":  # there, the packaged network itself
        monkeypatch.setattr(module, "open_extractor", lambda *_, **__: Pooled())
    found = of(photos(tmp_path, kind))
    assert found.majority == 0.5
    assert found.views[CENTRE].accuracy > 0.95
    assert (found.views[BORDER].accuracy > 0.95) == (kind == "background")
    if said is None:
        assert found.warnings == ()
    else:
        (warning,) = found.warnings
        assert said in warning
    assert found.answers[CENTRE].accuracy > 0.9


def test_many_images_are_sampled_and_copies_count_as_one(
    quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Copies on both sides of a fold would give everything away."""
    monkeypatch.setattr(module, "open_extractor", lambda *_, **__: Pooled())
    monkeypatch.setattr(module, "MAX_IMAGES", 50)
    monkeypatch.setattr(module, "MIN_IMAGES", 50)
    folder = photos(tmp_path, "clean")
    assert (of(folder).images, of(folder).left_out) == (50, 10)
    alone = tmp_path / "alone"
    for name in ("birds", "fruit"):
        (alone / name).mkdir(parents=True)
        data = next((folder / name).iterdir()).read_bytes()
        for number in range(25):
            (alone / name / f"{number}.png").write_bytes(data)
    with pytest.raises(TlkitError, match="requires two different images of each class"):
        of(alone)


def test_the_command_says_so(
    tlkit: Callable[..., Ran], trained: Trained, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tlkit("evaluate", fresh, "--model", trained.bundle, "--background-test")
    assert few.code == 2
    assert "error: --background-test requires 60 images of two classes, and there are 8 images of 4 classes" in few.err
    all_right = Reading(np.ones(60, np.bool_))
    some = Reading(np.arange(60) % 2 == 0)
    views = dict.fromkeys(VIEWS, all_right)
    found = Background(60, 0.5, views, views, some, some, dict.fromkeys(FILE_FACTS, some), left_out=7)
    monkeypatch.setattr(module, "background_of", lambda *_, **__: found)
    command, page = ("evaluate", fresh, "--model", trained.bundle, "--background-test"), tmp_path / "page.html"
    ran = tlkit(*command, "--report", page)
    assert ran.code == 0, ran.err
    assert "what the class can be read from (60 images, 7 left out to save time; always naming" in ran.out
    assert "border: 100.0% (94% to 100%); the bundle sees only that: 100.0%" in ran.out
    assert "background gives the class away" in ran.out
    text = page.read_text()
    assert "Does it look at the right thing?" in text
    assert "background gives the class away" in text
    assert tlkit(*command, "--json").json["background"] == found.to_json()
    assert tlkit(*command[:-1], "--json").json["background"] is None
