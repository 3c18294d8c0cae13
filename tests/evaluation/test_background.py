"""What the class can be read from besides the object: when that is a warning, and when it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlkit.evaluation.background import BORDER, CENTRE, FILE_FACTS, GREY, LIGHT, VIEWS, WHOLE, Background, Reading, seen


def reading(accuracy: float, images: int = 200) -> Reading:
    return Reading(np.arange(images) < round(accuracy * images))


def found(images: int = 200, **accuracies: float) -> Background:
    """A clean set of two classes, but for what is given."""
    its = {"whole": 0.95, "border": 0.7, "centre": 0.9, "file": 0.5, "light": 0.55, "size": 0.5} | accuracies
    views = {WHOLE: its["whole"], BORDER: its["border"], CENTRE: its["centre"]}
    answers = {WHOLE: 0.95, BORDER: its.get("answer_border", 0.6), CENTRE: its.get("answer_centre", 0.9)}
    facts: dict[str, Any] = {name: reading(0.5, images) for name in FILE_FACTS}
    return Background(
        images=images,
        majority=0.5,
        views={name: reading(value, images) for name, value in views.items()},
        answers={name: reading(value, images) for name, value in answers.items()},
        files=reading(its["file"], images),
        light=reading(its["light"], images),
        facts={**facts, "size in pixels": reading(its["size"], images)},
    )


def test_a_clean_set_raises_no_alarm() -> None:
    assert found().warnings == ()
    assert found(file=0.58, light=0.7).warnings == (), "more than chance, but little"
    assert found(60, whole=0.6, border=0.55, centre=0.6, file=0.55, light=0.6).warnings == (), "nothing can be told"


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ({"border": 1.0, "centre": 1.0}, "from the border alone (100.0% (98% to 100%)) as well as from the centre"),
        ({"border": 0.9, "centre": 0.6}, "their background gives the class away"),
        ({"answer_border": 0.9, "answer_centre": 0.6}, "the bundle is right more often by the border alone"),
        ({"file": 0.9, "size": 0.88}, "most of all from the size in pixels (88.0%"),
        ({"light": 0.9}, "from brightness and contrast alone"),
    ],
)
def test_what_gives_the_class_away_is_told(accuracies: dict[str, float], said: str) -> None:
    (warning,) = found(**accuracies).warnings
    assert said in warning
    assert warning in found(**accuracies).to_json()["warnings"]


def test_few_images_prove_nothing_about_the_border() -> None:
    """Equal accuracies of 20 images do not say that border and centre are equal."""
    assert found(20, border=0.8, centre=0.8).warnings == ()
    assert found(2000, border=0.8, centre=0.8).warnings != ()


@pytest.mark.parametrize("size", [(192, 192), (31, 20)])
def test_border_and_centre_have_nothing_in_common(size: tuple[int, int]) -> None:
    pixels = np.full((2, *size, 3), 7, np.uint8)
    shown = {view: (seen(pixels, view) != GREY).all(axis=3) for view in VIEWS}
    assert shown[WHOLE].all()
    assert not (shown[BORDER] & shown[CENTRE]).any()
    assert 0.4 < shown[BORDER].mean() < 0.5
    assert 0.3 < shown[CENTRE].mean() < 0.4
    assert shown[BORDER][:, 0].all()
    assert shown[CENTRE][:, size[0] // 2, size[1] // 2].all()
    assert (pixels == 7).all(), "the images stay as they are"


def test_rows_and_json_have_every_reading() -> None:
    its = found()
    assert [name for name, _, _ in its.rows()] == [*VIEWS, "facts of the file", LIGHT]
    data = its.to_json()
    assert list(data["from"]) == [*VIEWS, "file", LIGHT]
    assert data["bundle"][BORDER]["accuracy"] == 0.6
    assert data["file_facts"]["camera"]["accuracy_ci95"][0] < 0.5
