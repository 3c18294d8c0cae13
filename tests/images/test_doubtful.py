"""Folders of which a model of the wrong thing could be made: refused where that is plain, said where it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tlkit.errors import TlkitError
from tlkit.images.folder import scan
from tlkit.images.layout import class_doubts, layout_notes, layout_problems
from tlkit.images.split_names import is_numbered

Make = Callable[..., Path]


def of(*places: str, count: int = 2) -> dict[str, int]:
    return dict.fromkeys(places, count)


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (of("site1/cat", "site1/dog", "site2/cat", "site2/dog"), "so those are probably the classes"),
        (of("2021/cat", "2021/dog", "2022/cat", "2022/dog"), "so those are probably the classes"),
        (of("100CANON", "101CANON"), "named by a camera"),
        (of("2023-05-01", "2023-05-02"), "named like days"),
        (of("train/cat", "train/dog", "more"), "train/ looks like a split"),
        (of("val/cat", "val/dog", "more"), "val/ looks like a split"),
        (of("entrenamiento/cat", "entrenamiento/dog", "else"), "entrenamiento/ looks like a split"),
    ],
)
def test_what_is_plainly_wrong_is_refused(make_folder: Make, folders: dict[str, int], said: str) -> None:
    root = make_folder(folders)
    with pytest.raises(TlkitError, match=said) as caught:
        scan(root)
    assert caught.value.hint
    assert any(said in each.message for each in layout_problems(scan(root, min_classes=0)))


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (
            of("berlin/cat", "berlin/dog", "paris/cat", "paris/dog"),
            "all of these folders hold the same ones (cat, dog)",
        ),
        (of("2021", "2022"), "named like years"),
        (of("cat", "cat (1)", "dog"), "'cat/' and 'cat (1)/' are separate classes"),
        (of("cat", "cat - Copy", "dog"), "'cat/' and 'cat - Copy/' are separate classes"),
        (of("cat", "Copy of cat", "dog"), "'cat/' and 'Copy of cat/' are separate classes"),
        (of("red fox", "red_fox", "dog"), "'red fox/' and 'red_fox/' are separate classes"),
        (of("horse", "horses", "dog"), "'horse/' and 'horses/' are separate classes"),
        (of("cat", "dog", "thumbnails"), "thumbnails/ is used as a class, though its name means something else"),
        (of("cat", "dog", "val"), "val/ is used as a class, though it is named like a split"),
        (of("cat", "cat/dog", "dog"), "the images in cat/dog/ are of the class 'cat', though 'dog' is one too"),
        (of("train/cat", "train/cats", "val/cat"), "'train/cat/' and 'train/cats/' are separate classes"),
    ],
)
def test_what_may_be_wrong_is_said(make_folder: Make, folders: dict[str, int], said: str) -> None:
    folder = scan(make_folder(folders))
    (doubt,) = class_doubts(folder)
    assert said in doubt
    assert doubt in layout_notes(folder)
    assert doubt in [each.message for each in layout_problems(folder)]


@pytest.mark.parametrize(
    "folders",
    [
        of("cat/site1", "cat/site2", "dog/site1", "dog/site2"),
        of("class_0", "class_1", "class_2"),
        of("0", "1", "10"),
        of("class1/left", "class1/right", "class2/back", "class2/front"),
        of("bus", "buses of the past", "pass"),
        of("animals/cat", "animals/dog", "plants/rose", "plants/tulip"),
        of("with_mask", "without_mask"),
        of("copy", "original"),
        of("Valid", "Invalid"),
        of("glass", "grass", "class"),
        of("Audi 2012", "BMW 2012"),
        of("105", "106"),
    ],
)
def test_ordinary_names_are_left_in_peace(make_folder: Make, folders: dict[str, int]) -> None:
    folder = scan(make_folder(folders))
    assert len(folder.classes) == len({name.split("/")[0] for name in folders})
    assert class_doubts(folder) == []


def test_which_names_are_numbered() -> None:
    assert all(map(is_numbered, (["site1", "site2"], ["Cam_01", "cam_02"], ["2021", "2022"], ["2023-01-02"])))
    assert not any(map(is_numbered, (["0", "1"], ["class1", "class2"], ["cat1", "dog2"], ["left", "right"])))


def test_folders_inside_all_classes_are_named(make_folder: Make) -> None:
    folder = scan(make_folder(of("animals/cat", "animals/dog", "plants/rose", "plants/tulip")))
    (remark,) = folder.remarks
    assert remark.startswith("the classes are animals, plants, with all that is in them: animals/cat/, animals/dog/")
    assert scan(make_folder(of("cat/site1", "cat/site2", "dog/site3", "dog/site4"), name="sites")).remarks == ()


def test_one_folder_is_not_two_classes_nor_two_splits(make_folder: Make) -> None:
    root = make_folder(of("cat", "fox"))
    (root / "dog").symlink_to("cat")
    with pytest.raises(TlkitError, match="cat/ and dog/ are the same folder"):
        scan(root)
    root = make_folder(of("train/cat", "train/dog"), name="splits")
    (root / "val").symlink_to("train")
    with pytest.raises(TlkitError, match="train/ and val/ are the same folder"):
        scan(root)
    assert scan(root, min_classes=1).counts("val") == {"cat": 2, "dog": 2}  # to evaluate a bundle


def test_masks_beside_images_are_not_used_and_said(make_folder: Make) -> None:
    folder = scan(make_folder(of("cat/images", "cat/masks", "dog/images", "dog/masks")))
    assert folder.counts() == {"cat": 2, "dog": 2}
    assert [(each.place, each.images) for each in folder.unused] == [("cat/masks/", 2), ("dog/masks/", 2)]
    assert scan(make_folder(of("with/masks", "without/photos"), name="worn")).counts() == {"with": 2, "without": 2}


def test_files_named_like_masks_of_others_are_said(make_folder: Make) -> None:
    root = make_folder({"benign": 4, "malignant": 2})
    for number in (0, 1, 2):
        file = root / "benign" / f"{number}.png"
        (root / "benign" / f"{number}_mask.png").write_bytes(file.read_bytes())
    (doubt,) = class_doubts(scan(root))
    assert doubt == "3 images named like masks of others are used as images, such as benign/0_mask"


def test_folders_beside_the_splits_that_hold_no_split(make_folder: Make) -> None:
    folder = scan(make_folder(of("train/cat", "train/dog", "unlabeled", "predictions")))
    assert folder.classes == ("cat", "dog")
    assert {each.place for each in folder.unused} == {"unlabeled/", "predictions/"}


def test_splits_in_other_languages(make_folder: Make) -> None:
    for number, (train, test) in enumerate(
        (("treino", "teste"), ("Trainingsdaten", "Testdaten"), ("训练集", "测试集"))
    ):
        folder = scan(make_folder(of(f"{train}/a", f"{train}/b", f"{test}/a", f"{test}/b"), name=str(number)))
        assert (folder.classes, set(folder.splits)) == (("a", "b"), {"train", "test"})


def test_an_empty_split_is_said(make_folder: Make) -> None:
    folder = scan(make_folder({"train/a": 2, "train/b": 2, "val/a": 0, "val/b": 0, "test": 0}))
    assert [line for line in layout_notes(folder) if "no images" in line] == ["no images in test/", "no images in val/"]


def test_what_is_packed_must_be_unpacked(make_folder: Make) -> None:
    root = make_folder({"cat": 0})
    (root / "dog.zip").write_bytes(b"PK")
    (root / "cat" / "cat.tar.gz").write_bytes(b"PK")
    with pytest.raises(TlkitError) as caught:
        scan(root)
    assert caught.value.hint == "it holds 2 archives: unpack them first"
