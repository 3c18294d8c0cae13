"""What `assess` makes of the facts, with facts made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tlkit.images.check import EXTREME, HUGE, MIN_PER_CLASS, TINY, Checked, assess
from tlkit.images.facts import Facts
from tlkit.images.folder import IMBALANCE, ImageFolder

FIELDS = {
    "groups",
    "group_leaks",
    "images",
    "classes",
    "unreadable",
    "unusable",
    "wrong_extension",
    "duplicates",
    "near_duplicates",
    "conflicts",
    "leaks",
    "blank",
    "tiny",
    "huge",
    "extreme",
    "imbalance",
    "small_classes",
    "layout",
    "modes",
    "suspects",
    "suspects_by",
    "not_searched",
    "dark",
    "overexposed",
    "low_information",
    "blurry",
    "copies",
    "ok",
}


def folder_of(*files: str) -> ImageFolder:
    """``a/1.png`` or ``train/a/1.png``: class and split from the path."""
    parts = [file.split("/") for file in files]
    classes = tuple(dict.fromkeys(part[-2] for part in parts))
    return ImageFolder(
        root=Path("/images"),
        classes=classes,
        files=files,
        labels=tuple(classes.index(part[-2]) for part in parts),
        splits=tuple(part[0] if len(part) == 3 else "" for part in parts),
    )


def good(number: int, **changes: Any) -> Facts:
    """Facts of an image unlike all others."""
    known: dict[str, Any] = {
        "content": f"{number:064x}",
        "error": None,
        "format": "PNG",
        "mode": "RGB",
        "width": 100,
        "height": 80,
        "fingerprint": number.to_bytes(16, "big"),
    }
    return Facts(**{**known, **changes})


BAD = Facts(content="", error="truncated")


def plain(classes: str = "ab", each: int = MIN_PER_CLASS) -> tuple[list[str], list[Facts]]:
    """Files and facts with nothing wrong."""
    files = [f"{name}/{number}.png" for name in classes for number in range(each)]
    return files, [good(number + 1) for number in range(len(files))]


def with_facts(changed: dict[int, Facts]) -> tuple[list[str], Checked]:
    files, facts = plain()
    for index, fact in changed.items():
        facts[index] = fact
    return files, assess(folder_of(*files), facts, [])


def test_nothing_wrong() -> None:
    files, result = with_facts({})
    assert result == Checked(
        images=len(files), classes={"a": MIN_PER_CLASS, "b": MIN_PER_CLASS}, modes={"RGB": 2 * MIN_PER_CLASS}
    )
    assert result.ok
    assert result.findings() == []


def test_what_single_facts_say() -> None:
    blank = good(90, fingerprint=b"")
    files, result = with_facts(
        {
            0: good(91, width=TINY - 1, height=TINY - 1),
            1: good(92, width=TINY, height=TINY),
            2: good(93, width=HUGE + 1, height=1 + HUGE // 4),
            3: good(94, width=HUGE // 5000, height=5000),
            4: good(95, width=100, height=int(100 * EXTREME) + 1),
            5: good(96, width=100, height=int(100 * EXTREME)),
            6: good(97, fits_suffix=False, format="JPEG"),
            7: blank,
            8: good(98, mode="CMYK"),
        }
    )
    assert result.tiny == [files[0]]
    assert result.huge == [files[2]]
    assert result.extreme == [files[4]]
    assert result.wrong_extension == [(files[6], "JPEG")]
    assert result.blank == [files[7]]
    assert result.modes == {"RGB": 2 * MIN_PER_CLASS - 1, "CMYK": 1}
    assert {finding.kind for finding in result.findings()} == {"tiny", "huge", "extreme", "wrong_extension", "blank"}


def test_an_unreadable_file_is_only_that_and_does_not_count_for_its_class() -> None:
    files, result = with_facts({3: BAD})
    assert result.unreadable == [(files[3], "truncated")]
    assert result.small_classes == {"a": MIN_PER_CLASS - 1}
    assert result.classes == {"a": MIN_PER_CLASS, "b": MIN_PER_CLASS}  # what lies in the folder
    assert result.modes == {"RGB": 2 * MIN_PER_CLASS - 1}
    assert result.blank == result.tiny == result.wrong_extension == result.extreme == []


def test_exact_and_near_copies_and_their_classes() -> None:
    files, facts = plain()
    facts[1] = facts[0]
    facts[12] = facts[2]  # in the other class
    copies = [(0, 1), (2, 12), (5, 6), (7, 17), (13, 14), (14, 15)]
    facts[14] = facts[13]
    result = assess(folder_of(*files), facts, copies)
    assert result.duplicates == [[files[0], files[1]], [files[2], files[12]], [files[13], files[14]]]
    assert result.near_duplicates == [
        [files[5], files[6]],
        [files[7], files[17]],
        [files[13], files[14], files[15]],  # an exact pair and a near copy of it are one group
    ]
    assert result.conflicts == [[files[2], files[12]], [files[7], files[17]]]
    assert result.leaks == []  # no split of its own


def test_copies_in_several_splits_are_leaks() -> None:
    files = [f"{split}/{name}/{number}.png" for split in ("train", "val", "test") for name in "ab" for number in "12"]
    facts = [good(number + 1) for number in range(len(files))]
    # train/a/1 = val/a/1 = test/b/1; within train; val and test
    result = assess(folder_of(*files), facts, [(0, 4), (4, 10), (2, 3), (7, 11)])
    assert result.leaks == [[files[0], files[4], files[10]], [files[7], files[11]]]
    assert result.conflicts == [[files[0], files[4], files[10]]]
    assert [files[2], files[3]] in result.near_duplicates
    kinds = [finding.kind for finding in result.findings()]
    assert kinds[0] == "leaks"
    assert "conflicts" not in kinds, "a group is told once, where it matters most"
    rows = result.findings()[0].rows
    assert rows[0][0] == files[0]
    assert files[4] in rows[0][1]
    assert rows[0][1].endswith("; of several classes")
    assert not rows[1][1].endswith("classes")
    assert [copies["files"] for copies in result.to_json()["copies"]] == result.copies
    assert [(copies["leak"], copies["conflict"]) for copies in result.to_json()["copies"]] == [
        (True, True),
        (False, False),
        (True, False),
    ]
    told = [row[0] for finding in result.findings() for row in finding.rows]
    assert len(told) == len(set(told)) == 3


def test_balance_is_that_of_the_training_images() -> None:
    files = [f"train/a/{n}.png" for n in range(60)] + [f"train/b/{n}.png" for n in range(30)]
    files += [f"val/b/{n}.png" for n in range(50)] + ["val/a/1.png", "val/c/1.png"]
    facts = [good(number + 1) for number in range(len(files))]
    result = assess(folder_of(*files), facts, [])
    assert result.small_classes == {"c": 0}
    assert result.imbalance == 60  # a class without training images counts as one
    known = [index for index, file in enumerate(files) if "/c/" not in file]
    kept = [facts[index] for index in known]
    result = assess(folder_of(*(files[index] for index in known)), kept, [])
    assert (result.imbalance, result.small_classes) == (60 / 30, {})
    assert IMBALANCE == 2.0  # twice is not yet told: training does not weight classes either
    assert result.ok
    result = assess(folder_of(*(files[index] for index in known[:60] + known[63:])), kept[:60] + kept[63:], [])
    (finding,) = result.findings()
    assert finding.kind == "imbalance"
    assert "2.2 times" in finding.message


def test_nothing_readable_at_all() -> None:
    files, _ = plain(each=2)
    result = assess(folder_of(*files), [BAD] * 4, [])
    assert len(result.unreadable) == 4
    assert result.small_classes == {"a": 0, "b": 0}
    assert (result.imbalance, result.modes) == (1.0, {})
    assert not result.ok


def everything_wrong() -> Checked:
    files = [f"train/a/{n}.png" for n in range(70)] + ["train/b/1.png", "val/a/x.png", "val/z/y.png"]
    facts = [good(number + 1) for number in range(len(files))]
    facts[0] = BAD
    facts[1] = good(1000, fingerprint=b"")
    facts[2] = facts[3]
    facts[6] = good(1001, fits_suffix=False, format="GIF")
    facts[7] = good(1002, width=1)
    facts[8] = good(1003, width=9000, height=9000)
    result = assess(folder_of(*files), facts, [(2, 3), (4, 5), (69, 71)])
    result.suspects = [("train/a/9.png", "a", "b", -7.12345)]
    result.suspects_by = "probes"
    return result


def test_findings_come_worst_first() -> None:
    assert [finding.kind for finding in everything_wrong().findings()] == [
        "layout",
        "layout",
        "leaks",
        "unreadable",
        "blank",
        "suspects",
        "small_classes",
        "imbalance",
        "duplicates",
        "near_duplicates",
        "wrong_extension",
        "tiny",
        "extreme",
        "huge",
    ]
    for finding in everything_wrong().findings():
        assert finding.message
        assert finding.advice


def test_json_has_the_fields_of_the_contract() -> None:
    result = everything_wrong()
    plain_data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert set(plain_data) == FIELDS
    assert plain_data["ok"] is False
    assert plain_data["unreadable"] == [{"file": "train/a/0.png", "error": "truncated"}]
    assert plain_data["wrong_extension"] == [{"file": "train/a/6.png", "format": "GIF"}]
    assert plain_data["duplicates"] == [["train/a/2.png", "train/a/3.png"]]
    assert plain_data["suspects"] == [{"file": "train/a/9.png", "label": "a", "looks_like": "b", "margin": -7.123}]
    assert plain_data["suspects_by"] == "probes"
    assert all(set(each) == {"problem", "advice"} for each in plain_data["layout"])
    _, clean = with_facts({})
    assert set(clean.to_json()) == FIELDS
    assert clean.to_json()["ok"] is True


def test_suspects_alone_are_not_ok() -> None:
    _, result = with_facts({})
    result.suspects = [("a/1.png", "a", "b", -3.0)]
    assert not result.ok
    assert result.findings()[0].rows == (("a/1.png", "in a, looks like b"),)
