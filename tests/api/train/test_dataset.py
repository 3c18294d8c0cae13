"""From scanned images to a split without leaks, on features made by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlkit.advisor.size import judge_size
from tlkit.api.train.dataset import Dataset, is_imbalanced, prepare
from tlkit.backbones.features import Features
from tlkit.errors import TlkitError
from tlkit.images.check import Checked
from tlkit.images.folder import TRAIN, ImageFolder

BAD = -1  # in the place of a subject: a file that cannot be read


@dataclass(frozen=True)
class Images:
    """A folder and its features, and which subject each file shows."""

    folder: ImageFolder
    features: Features
    subjects: tuple[int, ...]

    def prepare(self, *, seed: int = 0, drop_leaks: bool = False, val_split: float = 0.2) -> Dataset:
        return prepare(self.folder, self.features, val_split, seed, drop_leaks)

    def refusal(self, *, drop_leaks: bool = False) -> TlkitError:
        with pytest.raises(TlkitError) as caught:
            self.prepare(drop_leaks=drop_leaks)
        return caught.value


def images(rows: Sequence[tuple[str, int]], exact: Callable[[int], bool] = lambda index: False) -> Images:
    """Files such as ``a/1.png`` or ``val/a/1.png``, each with a subject: those of one subject are copies.

    Copies differ a little in fingerprint and features, or have the same bytes where ``exact`` says so.
    """
    files = [file for file, _ in rows]
    parts = [file.split("/") for file in files]
    classes = tuple(sorted({part[-2] for part in parts}))
    folder = ImageFolder(
        root=Path("/images"),
        classes=classes,
        files=tuple(files),
        labels=tuple(classes.index(part[-2]) for part in parts),
        splits=tuple(part[0] if len(part) == 3 else "" for part in parts),
    )
    contents, prints, vectors = [], [], []
    for index, (_, subject) in enumerate(rows):
        if subject == BAD:
            contents.append("")
            prints.append(b"")
            continue
        rng = np.random.default_rng(subject)
        mark, vector = int.from_bytes(rng.bytes(16), "big"), rng.random(6)
        if exact(index):
            contents.append(f"subject {subject}")
        else:
            contents.append(f"file {index}")
            mark ^= 1 << (index % 128)
            vector += 0.01 * np.random.default_rng([subject, index]).random(6)
        prints.append(mark.to_bytes(16, "big"))
        vectors.append(vector)
    readable = [index for index, (_, subject) in enumerate(rows) if subject != BAD]
    features = Features(
        matrix=np.asarray(vectors, dtype=np.float32).reshape(len(readable), 6),
        rows=tuple(readable),
        contents=tuple(contents),
        prints=tuple(prints),
        errors={index: "truncated" for index in range(len(rows)) if index not in readable},
        taps=(("top", 6),),
        reused=0,
    )
    return Images(folder, features, tuple(subject for _, subject in rows))


def sides(made: Images, data: Dataset) -> dict[int, set[str]]:
    """The splits each subject lies in; checks on the way that rows and files belong together."""
    found: dict[int, set[str]] = {}
    for index, file in enumerate(data.folder.files):
        original = data.features.rows[data.rows[index]]
        assert made.folder.files[original] == file
        assert made.folder.labels[original] == data.folder.labels[index]
        found.setdefault(made.subjects[original], set()).add(data.folder.splits[index])
    return found


def _can_be_divided(name: str, own: Counter[str], classes_of: dict[int, set[str]]) -> bool:
    """Whether a class has a subject of its own to validate on, and another to train on."""
    return own[name] > 0 and sum(name in classes for classes in classes_of.values()) > 1


SUBJECTS = st.lists(st.lists(st.integers(BAD, 7), min_size=4, max_size=16), min_size=2, max_size=4)


@given(SUBJECTS, st.integers(0, 99), st.integers(0, 3))
def test_copies_are_on_one_side_of_a_split_that_is_drawn(drawn: list[list[int]], seed: int, exact: int) -> None:
    # most subjects lie in one class, those of 6 and 7 in any
    rows = [
        (f"{'abcd'[label]}/{number}.png", subject if subject in (BAD, 6, 7) else 10 * label + subject)
        for label, subjects in enumerate(drawn)
        for number, subject in enumerate(subjects)
    ]
    made = images(rows, exact=lambda index: index % 4 < exact)
    readable = [subject for _, subject in rows if subject != BAD]
    classes_of: dict[int, set[str]] = {}
    for file, subject in rows:
        if subject != BAD:
            classes_of.setdefault(subject, set()).add(file[0])
    own = Counter(min(classes) for classes in classes_of.values() if len(classes) == 1)
    if any(sum(subject != BAD for subject in subjects) < 2 for subjects in drawn):
        assert "at least 2 are required" in made.refusal().message or not readable
        return
    if not any(_can_be_divided(name, own, classes_of) for name in made.folder.classes):
        assert "copies of one another" in made.refusal().message
        return
    data = made.prepare(seed=seed, val_split=0.3)
    found = sides(made, data)
    for name, count in data.folder.counts("val").items():
        assert (count > 0) == _can_be_divided(name, own, classes_of)
    assert set(found) == set(readable)
    assert all(len(side) == 1 for side in found.values())
    assert len(data.folder.files) == len(readable)
    assert data.of("val")
    assert min(data.folder.counts("train").values()) >= 1
    assert data.copies == sum(readable.count(subject) > 1 for subject in readable)
    assert (data.leaks, data.dropped) == ((), 0)
    for one, group in enumerate(data.group_of):
        for two, other in enumerate(data.group_of):
            same = made.subjects[data.features.rows[one]] == made.subjects[data.features.rows[two]]
            assert (group == other) == same
    assert made.prepare(seed=seed, val_split=0.3).folder == data.folder


OWN = [
    *[(f"train/a/{n}.png", n) for n in range(6)],
    *[(f"train/b/{n}.png", 10 + n) for n in range(6)],
    ("val/a/0.png", 20),
    ("val/a/leak.png", 2),  # shows what train/a/2.png does
    ("val/b/0.png", 21),
    ("test/b/leak.png", 13),
    ("test/b/again.png", 21),
    ("train/b/other.png", 2),
    ("train/b/twin.png", 14),
]


def test_own_splits_are_kept_and_leaks_named() -> None:
    made = images(OWN)
    data = made.prepare()
    assert data.folder.files == made.folder.files
    assert data.folder.splits == made.folder.splits
    assert {frozenset(group) for group in data.leaks} == {
        frozenset({"train/a/2.png", "val/a/leak.png", "train/b/other.png"}),
        frozenset({"train/b/3.png", "test/b/leak.png"}),
        frozenset({"val/b/0.png", "test/b/again.png"}),
    }
    assert data.dropped == 0
    assert data.copies == 3 + 2 + 2 + 2


def test_dropping_leaks_leaves_out_those_training_images_and_no_others() -> None:
    made = images(OWN)
    data = made.prepare(drop_leaks=True)
    gone = {"train/a/2.png", "train/b/other.png", "train/b/3.png"}
    assert set(made.folder.files) - set(data.folder.files) == gone
    assert data.dropped == 3
    assert len(data.leaks) == 3  # still told
    assert {split for side in sides(made, data).values() if "train" in side for split in side} == {"train"}
    assert data.folder.counts("val") == made.folder.counts("val")
    assert data.folder.counts("test") == made.folder.counts("test")


def test_dropping_leaks_without_any_changes_nothing() -> None:
    made = images([row for row in OWN if "leak" not in row[0] and "other" not in row[0] and "again" not in row[0]])
    assert made.prepare(drop_leaks=True) == made.prepare()


def test_validation_is_drawn_beside_an_own_test_folder_and_copies_stay_together() -> None:
    rows = [(f"train/{name}/{n}.png", 100 * label + n // 2) for label, name in enumerate("ab") for n in range(20)]
    rows += [("test/a/0.png", 300), ("test/b/leak.png", 103)]
    made = images(rows)
    for seed in range(10):
        data = made.prepare(seed=seed, drop_leaks=True)
        found = sides(made, data)
        assert all(len(side) == 1 for side in found.values())
        assert (data.dropped, len(data.of("test"))) == (2, 2)
        assert data.folder.counts("val") == {"a": 4, "b": 4}
    kept = made.prepare()
    assert kept.dropped == 0
    assert len(kept.leaks) == 1


def test_a_class_that_dropping_leaks_empties() -> None:
    rows = [(f"train/{name}/{n}.png", 10 * label + n) for label, name in enumerate("ab") for n in range(3)]
    rows += [("val/a/0.png", 90), ("val/b/0.png", 10), ("val/b/1.png", 11), ("val/b/2.png", 12)]
    made = images(rows)
    assert made.prepare().dropped == 0
    error = made.refusal(drop_leaks=True)
    assert error.message == "class 'b' has 0 usable images in train/, but at least 2 are required"
    assert error.hint == "3 images could not be used, such as train/b/0.png: a copy of it is in val/ or test/"


def test_a_class_of_copies_of_one_image_is_trained_on_and_not_validated() -> None:
    made = images([*[(f"a/{n}.png", 1) for n in range(5)], *[(f"b/{n}.png", 10 + n) for n in range(5)]])
    data = made.prepare()
    assert data.folder.counts("train") == {"a": 5, "b": 4}
    assert data.folder.counts("val") == {"a": 0, "b": 1}


@pytest.mark.parametrize("each", [2, 5, 10])
def test_images_that_all_have_copies_are_validated_all_the_same(each: int) -> None:
    rows = [(f"{name}/{n}.png", 100 * label + n // each) for label, name in enumerate("ab") for n in range(3 * each)]
    data = images(rows).prepare()
    assert data.folder.counts("val") == {"a": each, "b": each}


def test_nothing_but_copies_cannot_be_validated() -> None:
    error = images([(f"{name}/{n}.png", ord(name)) for name in "ab" for n in range(5)]).refusal()
    assert "no image can be held out for validation" in error.message
    assert error.hint == "add different images, or provide a val/ folder"
    own = [(f"train/{name}/{n}.png", ord(name)) for name in "ab" for n in range(3)] + [("val/a/0.png", 1)]
    assert images(own).prepare().folder.counts("val") == {"a": 1, "b": 0}


def test_too_few_readable_images_name_the_class_and_a_file() -> None:
    rows = [*[(f"a/{n}.png", n) for n in range(4)], ("b/0.png", 10), ("b/1.png", BAD), ("b/2.png", BAD)]
    error = images(rows).refusal()
    assert error.message == "class 'b' has 1 usable image, but at least 2 are required"
    assert error.hint == "2 images could not be used, such as b/1.png: truncated"
    assert len(images([*rows, ("b/3.png", 11)]).prepare().folder.files) == 6


def test_nothing_readable_names_one_file() -> None:
    error = images([(f"{name}/{n}.png", BAD) for name in "ab" for n in range(3)]).refusal()
    assert error.message == "no readable image in /images"
    assert error.hint == "a/0.png: truncated"


@pytest.mark.parametrize(("more", "imbalanced"), [(3, False), (4, False), (5, True)])
def test_twice_the_training_images_is_not_yet_imbalanced(more: int, imbalanced: bool) -> None:
    rows = [(f"train/a/{n}.png", n) for n in range(more)] + [("train/b/0.png", 10), ("train/b/1.png", 11)]
    rows += [(f"val/b/{n}.png", 20 + n) for n in range(30)]
    assert is_imbalanced(images(rows).prepare().folder) is imbalanced


@pytest.mark.parametrize(("most", "told"), [(20, False), (21, True)])
def test_check_the_advisor_and_training_agree_on_what_imbalance_is(most: int, told: bool) -> None:
    rows = [(f"train/a/{n}.png", n) for n in range(most)] + [(f"train/b/{n}.png", 100 + n) for n in range(10)]
    folder = images(rows).folder
    assert is_imbalanced(folder) is told
    assert ("times as many as the smallest" in judge_size(list(folder.counts(TRAIN).values())).why) is told
    kinds = {finding.kind for finding in Checked(most + 10, folder.counts(), imbalance=most / 10).findings()}
    assert ("imbalance" in kinds) is told
