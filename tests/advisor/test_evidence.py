"""The numbers that the rule looks at stand where they belong."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from tlkit.advisor.evidence import Evidence, gather
from tlkit.advisor.probes import Probe, Probes
from tlkit.advisor.similarity import Similarity
from tlkit.plan.plan import Flips


def probe(name: str, accuracy: float, squared_error: float) -> Probe:
    return Probe(name, accuracy, squared_error, strength=0.1, right=np.array([True, False]))


# every number another one, and NumPy's where the modules may leave them
PROBES = Probes(
    images=120,
    classes=3,
    chance=0.41,
    last=probe("top", 0.81, 0.5),
    together=probe("all", 0.82, 0.4),
    early=(probe("stage2", 0.91, 0.9), probe("stage3", 0.71, 0.3), probe("stage4", 0.72, 0.8)),
    neighbours=np.float64(0.66),  # type: ignore[arg-type]
    curve=((0.25, 0.51), (0.5, 0.61), (1.0, 0.81)),
    recalls=(0.1, 0.2, 0.3),
    noise=1 / 30,
)
SIMILARITY = Similarity(
    score=0.57,
    level="similar",
    confidence=np.float32(0.44),  # type: ignore[arg-type]
    divergence={"stage1": 0.1, "stage2": 0.2, "top": 0.6},
    classes=(("daisy", 0.04),),
    images=99,
)

FLIPS = Flips(True, 100, plain=0.83, mirrored=0.79)


@pytest.fixture
def evidence() -> Evidence:
    return gather(PROBES, SIMILARITY, FLIPS, [10, 20, 90], 128, (0.81, 30))


def test_every_number_is_where_it_belongs(evidence: Evidence) -> None:
    assert evidence.to_json() == {
        "images": 120,
        "classes": 3,
        "per_class": 20.0,
        "input_size": 128,
        "chance": 0.41,
        "head": 0.81,
        "head_images": 30,
        "last": 0.81,
        "together": 0.82,
        "early": 0.71,
        "early_stage": "stage3",  # by its squared error, not by its accuracy
        "neighbours": 0.66,
        "half": 0.61,
        "quarter": 0.51,
        "noise": 0.03333,
        "similarity": 0.57,
        "confidence": 0.44,
        "divergence": 0.3,
        "mirrored": -0.04,
        "pilot": None,
    }


def test_the_order_of_the_curve_does_not_matter() -> None:
    found = gather(replace(PROBES, curve=PROBES.curve[::-1]), SIMILARITY, FLIPS, [1], 224, (0.8, 30))
    assert (found.quarter, found.half) == (0.51, 0.61)


def test_the_median_of_evenly_many_classes() -> None:
    assert gather(PROBES, SIMILARITY, FLIPS, np.array([1, 4, 7, 100]).tolist(), 224, (0.8, 30)).per_class == 5.5


def test_to_json_is_plain(evidence: Evidence) -> None:
    data = evidence.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert {type(value) for name, value in data.items() if name != "pilot"} == {int, float, str}
    assert list(data) == [field.name for field in fields(Evidence)]
    assert Evidence(**data) == evidence


def test_numpys_numbers_become_pythons() -> None:
    last = replace(PROBES.last, accuracy=np.float32(0.5))  # type: ignore[arg-type]
    found = gather(replace(PROBES, last=last), SIMILARITY, FLIPS, [np.int64(3), np.int64(4)], 64, (0.8, 30))  # type: ignore[list-item]
    assert type(found.last) is type(found.per_class) is type(found.neighbours) is float
    json.dumps(found.to_json())
