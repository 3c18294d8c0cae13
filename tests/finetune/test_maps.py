"""Outputs of the frozen part: the same from either engine, computed once, and the same in any order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import image

from tlkit.backbones.catalog.table import DEFAULT
from tlkit.backbones.engines import LiteRTNetwork
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.backbones.litert import heads as lite_heads
from tlkit.backbones.litert.graph import Graph
from tlkit.backbones.runtime import import_keras
from tlkit.backbones.stages import Stage
from tlkit.finetune import maps as module
from tlkit.finetune.inputs import MapInputs, make_augmenter
from tlkit.finetune.maps import Maps, compute_maps, lower_part, version_seed
from tlkit.plan.choices import LIGHT
from tlkit.plan.recipe import Recipe
from tlkit.progress import SilentProgress
from tlkit.store import records
from tlkit.store.bound import clear, prune
from tlkit.store.decoded import Decoded, decode_all

Patch = pytest.MonkeyPatch
SIZE = 16
STAGE = Stage(2, "stage2", "a_layer", 4, 4, 3)


@dataclass
class Row:
    """What maps take of a catalogue row."""

    key: str = "a-net"


@pytest.fixture
def extractor() -> Any:
    """A backbone that is never run: `lower_part` is replaced."""
    return Extractor(Row(), SIZE, "none", "none-0", (("stage2", 3), ("top", 3)), "keras", None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: Patch) -> Path:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(tmp_path: Path) -> Iterator[Decoded]:
    for number in range(5):
        image(number, (20, 20)).save(tmp_path / f"{number}.png")
    (tmp_path / "5.png").write_bytes((tmp_path / "0.png").read_bytes())  # a copy
    with decode_all([tmp_path / f"{number}.png" for number in range(6)], (SIZE, SIZE)) as found:
        yield found


def pooled(pixels: np.ndarray) -> np.ndarray:
    """A frozen part: averages over 4 x 4 pixels."""
    return pixels.reshape(len(pixels), 4, 4, 4, 4, 3).astype(np.float32).mean(axis=(2, 4))


def shifted(pixels: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    """A change that the seed alone decides."""
    return np.stack([each + np.uint8(seed % 251) for each, seed in zip(pixels, seeds, strict=True)])


@pytest.fixture
def sizes(monkeypatch: Patch) -> list[int]:
    """How many images the frozen part was run on, each time."""
    ran: list[int] = []

    def counted(pixels: np.ndarray) -> np.ndarray:
        ran.append(len(pixels))
        return pooled(pixels)

    monkeypatch.setattr(module, "lower_part", lambda *_: counted)
    return ran


def compute(
    decoded: Decoded, extractor: Any, images: Sequence[int] = range(6), versions: int = 3, **changed: Any
) -> Maps:
    options: dict[str, Any] = {"kind": "shifted", "augment": shifted, "workers": 1, "progress": SilentProgress()}
    return compute_maps(decoded, images, extractor, STAGE, versions=versions, **(options | changed))


def all_of(maps: Maps, versions: int = 3) -> np.ndarray:
    return np.stack([maps.get(range(6), [version] * 6) for version in range(versions)])


def test_a_version_is_the_frozen_part_of_the_changed_image(decoded: Decoded, extractor: Any, sizes: list[int]) -> None:
    maps = compute(decoded, extractor)
    pixels = decoded.pixels(range(6))
    contents = [bytes.fromhex(each) for each in decoded.contents]
    for version in range(3):
        seeds = [version_seed(content, version) for content in contents]
        expected = pooled(shifted(pixels, seeds) if version else pixels).astype(np.float16)
        found = maps.get(range(6), [version] * 6)
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, expected)
    maps.close()
    assert sum(sizes) == 5 * 3  # a copy is not computed again


def test_versions_can_be_mixed_and_images_repeated(decoded: Decoded, extractor: Any, sizes: list[int]) -> None:
    maps = compute(decoded, extractor)
    every = all_of(maps)
    mixed = maps.get([3, 1, 3, 0], [2, 0, 1, 1])
    maps_wanted = np.stack([every[2, 3], every[0, 1], every[1, 3], every[1, 0]])
    np.testing.assert_array_equal(mixed, maps_wanted)
    assert len({each.tobytes() for each in every[:, 3]}) == 3
    maps.close()


def test_what_is_there_is_not_computed_again(decoded: Decoded, extractor: Any, monkeypatch: Patch) -> None:
    monkeypatch.setattr(module, "lower_part", lambda *_: pooled)
    first = compute(decoded, extractor)
    expected = all_of(first)
    first.close()

    def never(*_: Any) -> Any:
        raise AssertionError("the frozen part was opened again")

    monkeypatch.setattr(module, "lower_part", never)
    second = compute(decoded, extractor, augment=never)
    np.testing.assert_array_equal(all_of(second), expected)
    second.close()


def test_only_what_is_missing_is_computed(decoded: Decoded, extractor: Any, sizes: list[int]) -> None:
    compute(decoded, extractor, [0, 1]).close()
    del sizes[:]
    compute(decoded, extractor, [0, 1, 2, 5]).close()
    assert sum(sizes) == 3


@pytest.mark.parametrize("what", ["weights", "backbone", "size", "boundary", "kind", "versions"])
def test_what_would_differ_is_kept_apart(decoded: Decoded, extractor: Any, sizes: list[int], what: str) -> None:
    compute(decoded, extractor).close()
    del sizes[:]
    options: dict[str, Any] = {}
    if what == "weights":
        extractor = replace(extractor, weights_hash="none-1")
    elif what == "backbone":
        extractor = replace(extractor, backbone=Row("another-net"))
    elif what == "size":
        extractor = replace(extractor, input_size=SIZE + 1)
    elif what == "kind":
        options["kind"] = "another"
    elif what == "versions":
        options["versions"] = 2
    stage = replace(STAGE, name="stage3") if what == "boundary" else STAGE
    options = {"versions": 3, "kind": "shifted", "augment": shifted, "workers": 1, **options}
    compute_maps(decoded, range(6), extractor, stage, progress=SilentProgress(), **options).close()
    assert sum(sizes) > 0


def test_a_plain_map_does_not_depend_on_what_the_others_would_be(
    decoded: Decoded, extractor: Any, sizes: list[int]
) -> None:
    first = compute(decoded, extractor, versions=1, kind="one")
    plain = all_of(first, 1)
    first.close()
    del sizes[:]
    second = compute(decoded, extractor, versions=1, kind="another")
    np.testing.assert_array_equal(all_of(second, 1), plain)
    second.close()
    assert sizes == []
    third = compute(decoded, extractor, versions=3)
    np.testing.assert_array_equal(all_of(third)[0], plain[0])
    third.close()


def test_versions_are_the_same_whatever_the_order(
    decoded: Decoded, extractor: Any, sizes: list[int], tmp_path: Path, monkeypatch: Patch
) -> None:
    """With the real augmentation, and with other images in the batch."""
    augment = make_augmenter(Recipe(1, 1, None, augment=LIGHT, flip=True))
    one = compute(decoded, extractor, [0, 1, 2, 3, 4], augment=augment)
    expected = all_of(one)
    one.close()
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "another"))
    compute(decoded, extractor, [3], augment=augment).close()
    two = compute(decoded, extractor, [4, 5, 2, 1], augment=augment)
    whole = compute(decoded, extractor, range(6), augment=augment)
    # a pixel may be rounded the other way where a batch's size changes the order of a sum
    assert np.abs(all_of(whole).astype(np.float32) - expected).max() <= 1 / 4
    np.testing.assert_array_equal(two.get([1, 2, 4, 5], [1] * 4), all_of(whole)[1][[1, 2, 4, 5]])
    two.close()
    whole.close()
    assert np.abs(expected[1].astype(np.float32) - expected[0]).max() > 1
    assert np.abs(expected[2].astype(np.float32) - expected[1]).max() > 1


def test_seeds_differ_between_images_and_versions() -> None:
    contents = [bytes([number]) * 32 for number in range(20)]
    assert len({version_seed(content, version) for content in contents for version in range(8)}) == 160


def test_where_nothing_can_be_kept_memory_serves(
    decoded: Decoded, extractor: Any, sizes: list[int], own_cache: Path
) -> None:
    first = compute(decoded, extractor)
    expected = all_of(first)
    first.close()
    for file in (own_cache / "maps").rglob("*"):
        if file.is_file():
            file.unlink()
    for folder in (own_cache / "maps").iterdir():
        folder.rmdir()
    (own_cache / "maps").rmdir()
    (own_cache / "maps").write_text("a file where a folder should be: nobody can write into it, root neither")
    second = compute(decoded, extractor)
    assert second.store.problem
    np.testing.assert_array_equal(all_of(second), expected)
    second.close()
    assert second.memory == {}


@pytest.mark.parametrize("cleared", ["by prune", "by --clear", "and not to be kept"])
def test_what_vanishes_meanwhile_is_computed_again(
    decoded: Decoded, extractor: Any, sizes: list[int], own_cache: Path, monkeypatch: Patch, cleared: str
) -> None:
    """Maps and pixels both: another run may prune or clear the cache at any moment."""
    monkeypatch.setattr(records, "MAX_MAPPED", 1)
    maps = compute(decoded, extractor)
    expected, pixels = all_of(maps), decoded.pixels(range(6)).copy()
    again = compute(decoded, extractor)  # has found all of them, and read none
    del sizes[:]
    (prune(own_cache, 0) if cleared == "by prune" else clear(own_cache))
    if cleared == "and not to be kept":
        for section in ("maps", "images"):
            (own_cache / section).write_text("nobody can write into it")
    for store in (again.store, decoded.store):
        store._mapped.clear()  # as where more files are used than may be open
    np.testing.assert_array_equal(all_of(again), expected)
    assert sum(sizes) == 5 * 3
    np.testing.assert_array_equal(decoded.pixels(range(6)), pixels)
    np.testing.assert_array_equal(again.get([5, 0], [1, 1]), expected[1][[5, 0]])
    assert sum(sizes) == 5 * 3  # kept once more
    again.close()
    maps.close()


def test_a_map_that_was_not_computed_is_an_error(decoded: Decoded, extractor: Any, sizes: list[int]) -> None:
    maps = compute(decoded, extractor, [0, 1])
    with pytest.raises(KeyError, match=decoded.contents[2]):
        maps.get([0, 2], [0, 0])
    maps.close()


def test_values_too_large_for_the_disk_stay_finite(decoded: Decoded, extractor: Any, monkeypatch: Patch) -> None:
    monkeypatch.setattr(module, "lower_part", lambda *_: lambda pixels: (pooled(pixels) - 100) * 1e6)
    maps = compute(decoded, extractor, versions=1)
    found = maps.get(range(6), [0] * 6)
    assert np.isfinite(found).all()
    assert found.max() == -found.min() == np.finfo(np.float16).max
    maps.close()


def test_what_was_done_stays_done_when_interrupted(decoded: Decoded, extractor: Any, monkeypatch: Patch) -> None:
    monkeypatch.setattr(module, "batch_size", lambda: 2)
    ran: list[int] = []

    def dying(pixels: np.ndarray) -> np.ndarray:
        if sum(ran) == 6:  # one batch of two in three versions
            raise KeyboardInterrupt
        ran.append(len(pixels))
        return pooled(pixels)

    monkeypatch.setattr(module, "lower_part", lambda *_: dying)
    with pytest.raises(KeyboardInterrupt):
        compute(decoded, extractor)
    monkeypatch.setattr(module, "lower_part", lambda *_: lambda pixels: (ran.append(len(pixels)), pooled(pixels))[1])
    del ran[:]
    compute(decoded, extractor).close()
    assert sum(ran) == 3 * 3


def test_map_inputs_draw_versions_for_training_and_give_originals_for_validation(
    decoded: Decoded, extractor: Any, sizes: list[int]
) -> None:
    train, plain = compute(decoded, extractor), compute(decoded, extractor, versions=1)
    inputs, every = MapInputs(train, plain, 3), all_of(train)
    draws = np.array([[0.0], [0.34], [0.99999994]], np.float32)
    np.testing.assert_array_equal(inputs.batch([4, 2, 1], draws), np.stack([every[0, 4], every[1, 2], every[2, 1]]))
    np.testing.assert_array_equal(inputs.batch([4, 2], None), every[0, [4, 2]])
    train.close()
    plain.close()


@pytest.fixture(scope="module")
def packaged() -> Extractor:
    return open_extractor(DEFAULT, input_size=64, engine="litert")


def test_a_packaged_network_is_cut_where_keras_has_the_stage(packaged: Extractor, monkeypatch: Patch) -> None:
    """Every stage but the last, which is never frozen whole."""
    network, graph = packaged.network, packaged.graph
    assert graph is not None
    pixels = np.asarray(image(1, (64, 64)))[None].astype(np.uint8)
    stages = network.stages[:-1]
    lower = import_keras().Model(network.model.input, [network.model.get_layer(stage.layer).output for stage in stages])
    theirs = [np.asarray(each) for each in lower(pixels.astype(np.float32), training=False)]
    names = [name for name, _ in packaged.taps]
    assert len(stages) > 3
    for stage, expected in zip(stages, theirs, strict=True):
        part = lite_heads.cut_at(graph, names.index(stage.name))
        assert part is not None
        assert len(part) < len(graph)
        found = LiteRTNetwork(part, 1)(pixels)
        assert found.shape == (1, stage.height, stage.width, stage.channels)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_either_engine_runs_the_lower_part(packaged: Extractor) -> None:
    stage = packaged.network.stages[1]
    pixels = np.asarray(image(2, (64, 64)))[None].astype(np.uint8)
    lite, keras = lower_part(packaged, stage, 1), lower_part(replace(packaged, engine="keras"), stage)
    assert isinstance(lite, LiteRTNetwork)
    assert not isinstance(keras, LiteRTNetwork)
    expected = keras(pixels)
    assert expected.shape == (1, stage.height, stage.width, stage.channels)
    np.testing.assert_allclose(lite(pixels), expected, atol=1e-4 * np.abs(expected).max())


def test_a_block_that_is_no_average_cannot_be_cut() -> None:
    graph = Graph()
    image = graph.image(4, 4)
    features = graph.dense(graph.pool(image), np.ones((3, 2), np.float32), np.zeros(2, np.float32))
    assert lite_heads.cut_at(graph.finish(features), 0) is None
