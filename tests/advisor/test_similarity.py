"""How much images resemble ImageNet's: made-up features, the sample photographs, noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tlkit.advisor.similarity import CONFIDENCE, DISSIMILAR, MAX_NAMED, SIMILAR, Similarity, judge_similarity
from tlkit.backbones.extractor import Extractor, open_extractor
from tlkit.backbones.features import compute_features
from tlkit.backbones.source_statistics import Source, class_names, packaged_source
from tlkit.images.folder import scan

Matrix = NDArray[np.float32]

NAMES = tuple(f"class {number}" for number in range(12))
TAPS = (("stage1", 3), ("stage2", 4), ("top", 12))


def invented(sharpness: float = 1.0, deviation: float = 2.0) -> Source:
    """A network of three taps, whose class is the highest of its twelve top channels."""
    moments = {
        name: (np.linspace(-1, 1, width, dtype=np.float32), np.full(width, deviation, np.float32))
        for name, width in TAPS
    }
    return Source(sharpness * np.eye(12, dtype=np.float32), np.zeros(12, np.float32), moments)


def drawn(source: Source, taps: tuple[tuple[str, int], ...], images: int, shift: float = 0.0) -> Matrix:
    """Features that lie as the source's own, or some of its deviations beside them."""
    rng = np.random.default_rng(0)
    parts = []
    for name, width in taps:
        mean, deviation = source.moments[name]
        parts.append(mean + deviation * (shift + rng.normal(size=(images, width))))
    return np.concatenate(parts, axis=1).astype(np.float32)


def from_divergence(found: Similarity) -> float:
    """The part of the score that divergence makes, 0..1: what confidence makes is taken off."""
    low, high = CONFIDENCE
    return 2 * found.score - min(1.0, max(0.0, (found.confidence - low) / (high - low)))


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return open_extractor("efficientnet-lite0")


def judge(extractor: Extractor, matrix: Matrix) -> Similarity:
    return judge_similarity(matrix, extractor.taps, packaged_source(), class_names())


@pytest.fixture(scope="module")
def photographs(extractor: Extractor, garden: Path) -> tuple[Matrix, list[str]]:
    """Features of the sample images, class after class, and their folders' names."""
    paths = scan(garden).paths
    taps = [name for name, _ in extractor.taps]
    return compute_features(paths, extractor, taps=taps).matrix, [path.parent.name for path in paths]


@pytest.fixture(scope="module")
def noise(extractor: Extractor) -> Matrix:
    return extractor.forward()(np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8))


def test_features_with_the_sources_own_moments_do_not_diverge(extractor: Extractor) -> None:
    found = judge(extractor, drawn(packaged_source(), extractor.taps, 400))
    assert list(found.divergence) == [name for name, _ in extractor.taps]
    assert max(found.divergence.values()) < 0.1
    assert from_divergence(found) == pytest.approx(1, abs=2e-3)


def test_shifted_features_diverge_by_as_much(extractor: Extractor) -> None:
    found = judge(extractor, drawn(packaged_source(), extractor.taps, 400, shift=1.0))
    assert list(found.divergence.values()) == pytest.approx([1.0] * len(extractor.taps), abs=0.05)
    assert from_divergence(found) == pytest.approx(0, abs=2e-3)
    assert found.score <= 0.5


def test_each_taps_divergence_is_of_its_own_columns() -> None:
    source = invented()
    matrix = np.concatenate([source.moments[name][0] for name, _ in TAPS])[None].repeat(5, axis=0)
    matrix[:, :3] += 1.0  # half of a deviation
    matrix[:, 3] -= 8.0  # four deviations in one of four channels: root mean square 2
    found = judge_similarity(matrix, TAPS, source, NAMES)
    assert found.divergence == pytest.approx({"stage1": 0.5, "stage2": 2.0, "top": 0.0}, abs=1e-4)
    assert "largest in stage2 (2.00)" in found.evidence[2]
    assert ": 0.83 standard" in found.evidence[2]


def test_it_is_the_mean_over_the_images_that_diverges() -> None:
    source = invented()
    own = np.concatenate([source.moments[name][0] for name, _ in TAPS])
    found = judge_similarity(np.stack([own - 7, own + 7]), TAPS, source, NAMES)
    assert list(found.divergence.values()) == pytest.approx([0, 0, 0], abs=1e-4)


@pytest.mark.parametrize(("sharpness", "confidence"), [(0.0, 1 / 12), (50.0, 1.0)])
def test_confidence_is_that_of_the_best_guess(sharpness: float, confidence: float) -> None:
    top = np.eye(12, dtype=np.float32)  # every image another class
    matrix = np.concatenate([np.zeros((12, 7), np.float32), top], axis=1)
    found = judge_similarity(matrix, TAPS, invented(sharpness), NAMES)
    assert found.confidence == pytest.approx(confidence, abs=1e-3)
    assert found.images == 12
    assert f"classifier on 12 images: {confidence:.0%} (" in found.evidence[0]


def test_classes_are_named_by_their_mean_share() -> None:
    top = np.zeros((10, 12), np.float32)
    top[:7, 4] = top[7:9, 1] = top[9, 11] = 1
    matrix = np.concatenate([np.zeros((10, 7), np.float32), top], axis=1)
    found = judge_similarity(matrix, TAPS, invented(50), NAMES)
    assert [name for name, _ in found.classes] == ["class 4", "class 1", "class 11"]  # not those without a share
    assert [share for _, share in found.classes] == pytest.approx([0.7, 0.2, 0.1], abs=1e-3)
    assert found.evidence[1] == "most similar ImageNet classes: class 4 (70%), class 1 (20%), class 11 (10%)"


def test_no_more_classes_are_named_than_anyone_reads() -> None:
    found = judge_similarity(np.zeros((3, 19), np.float32), TAPS, invented(), NAMES)
    assert len(found.classes) == MAX_NAMED  # of twelve that are alike


def test_where_no_class_has_a_share_none_is_named() -> None:
    source = invented()
    many = Source(np.zeros((12, 200), np.float32), np.zeros(200, np.float32), source.moments)
    found = judge_similarity(np.zeros((3, 19), np.float32), TAPS, many, [str(number) for number in range(200)])
    assert found.classes == ()
    assert found.evidence[1] == "most similar ImageNet classes: none in particular"


def test_the_level_follows_the_score() -> None:
    """Neither too sure nor too unsure: what the stages diverge by decides."""
    source, levels = invented(0.0), []
    for shift in (0.0, 10.0):
        for sharpness in (0.0, 50.0):
            sure = invented(sharpness)
            matrix = np.concatenate([source.moments[name][0] + shift for name, _ in TAPS])[None]
            levels.append(judge_similarity(matrix, TAPS, sure, NAMES).level)
    assert levels == ["in between", "similar", "dissimilar", "in between"]


@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 6),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 5.0, 1e6]),
    offset=st.sampled_from([-1e6, -3.0, 0.0, 0.5, 1e6]),
    sharpness=st.sampled_from([0.0, 0.3, 1.0, 100.0]),
    deviation=st.sampled_from([0.0, 1.0, 100.0]),
)
def test_the_score_is_between_0_and_1(
    seed: int, images: int, scale: float, offset: float, sharpness: float, deviation: float
) -> None:
    matrix = np.random.default_rng(seed).normal(offset, scale, (images, 19)).astype(np.float32)
    found = judge_similarity(matrix, TAPS, invented(sharpness, deviation), NAMES)
    assert 0 <= found.score <= 1
    assert 0 < found.confidence <= 1
    assert np.isfinite(list(found.divergence.values())).all()
    expected = "similar" if found.score >= SIMILAR else "dissimilar" if found.score < DISSIMILAR else "in between"
    assert found.level == expected
    assert len(found.evidence) == 3


@given(st.floats(0, 2), st.floats(0, 2))
def test_the_farther_off_the_less_similar(one: float, other: float) -> None:
    near, far = sorted([one, other])
    source = invented()
    scores = []
    for shift in (near, far):
        matrix = drawn(source, TAPS, 50)
        matrix -= matrix.mean(0) - np.concatenate([source.moments[name][0] for name, _ in TAPS])
        matrix[:, :7] += 2.0 * shift  # stages only: confidence stays
        scores.append(judge_similarity(matrix, TAPS, source, NAMES).score)
    assert scores[1] <= scores[0]
    if far > near + 0.05 and 0.35 < far < 0.75:
        assert scores[1] < scores[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_halves_of_the_sample_images_are_judged_alike(
    extractor: Extractor, photographs: tuple[Matrix, list[str]], seed: int
) -> None:
    matrix, _ = photographs
    order = np.random.default_rng(seed).permutation(len(matrix))
    one, other = judge(extractor, matrix[order[::2]]), judge(extractor, matrix[order[1::2]])
    assert one.images + other.images == len(matrix) == 79
    assert abs(one.score - other.score) < 0.1


@pytest.mark.parametrize("half", [0, 1])
def test_halves_of_the_sample_images_remind_of_fruit(
    extractor: Extractor, photographs: tuple[Matrix, list[str]], half: int
) -> None:
    """Every other image of each folder."""
    matrix, _ = photographs
    evidence = judge(extractor, matrix[half::2]).evidence[1]
    grown = {"Granny Smith apple", "lemon", "strawberry", "bell pepper", "broccoli", "cherimoya"}
    assert sum(name in evidence for name in grown) >= 2, evidence


@pytest.mark.parametrize(
    ("folder", "seen"), [("fruit", ["Granny Smith apple", "lemon", "strawberry"]), ("vegetables", ["broccoli"])]
)
def test_a_folder_reminds_of_what_is_in_it(
    extractor: Extractor, photographs: tuple[Matrix, list[str]], folder: str, seen: list[str]
) -> None:
    matrix, folders = photographs
    found = judge(extractor, matrix[[name == folder for name in folders]])
    assert {name for name, _ in found.classes} >= set(seen)


def test_noise_is_less_similar_than_photographs(
    extractor: Extractor, photographs: tuple[Matrix, list[str]], noise: Matrix
) -> None:
    garden, none = judge(extractor, photographs[0]), judge(extractor, noise)
    assert none.score < garden.score - 0.3
    assert none.confidence < garden.confidence - 0.1
    assert np.mean(list(none.divergence.values())) > np.mean(list(garden.divergence.values())) + 0.1


def test_identical_images_are_judged_as_one_of_them(
    extractor: Extractor, photographs: tuple[Matrix, list[str]]
) -> None:
    one, many = (judge(extractor, photographs[0][:1].repeat(count, axis=0)) for count in (1, 6))
    assert np.isfinite(one.score)
    assert many.score == pytest.approx(one.score, abs=1e-3)
    assert (one.images, many.images) == (1, 6)
