"""Recognise folder names that stand for a split or a fold, in the spellings that people use."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

TRAIN, VAL, TEST = "train", "val", "test"

_WORDS = {
    TRAIN: (
        *("train", "training", "trn", "trainval", "entrenamiento", "treino", "treinamento", "entrainement"),
        *("entraînement", "apprentissage", "addestramento", "trainingsdaten", "обучение", "训练", "训练集", "訓練"),
    ),
    VAL: (
        *("val", "valid", "validation", "validate", "validating", "vld", "dev", "eval", "evaluation", "validacion"),
        *(
            "validación",
            "validacao",
            "validação",
            "validazione",
            "validierung",
            "validierungsdaten",
            "验证",
            "验证集",
            "検証",
        ),
    ),
    TEST: (
        *("test", "testing", "tests", "tst", "holdout", "heldout", "hold out", "held out", "prueba", "pruebas"),
        *("testdaten", "teste", "testes", "тест", "测试", "测试集", "テスト"),
    ),
}
_FILLERS: Final = (
    "set data dataset dir folder split images image imgs img photos photo pictures pics pic samples examples files "
    "the my new raw seg v public private final full mini small cropped resized"
)
_JOINED = ("set", "sets", "data", "dataset", "images", "imgs", "folder", "split")  # as in trainset, testdata
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_SPLIT_OF |= {word + end: split for word, split in _SPLIT_OF.items() if " " not in word for end in _JOINED}
_SEPARATORS = re.compile(r"[\s_.,()\[\]-]+")
_TRAILING = re.compile(r"(?<=[a-z])[0-9]+$")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_FOLD = re.compile(
    r"(?:(?:train|test|val|cv|k|data|my)[\s_.-]*)?"
    r"(?:folds?|parts?|sets?|splits?|subsets?|chunks?|shards?|batch|batches|cv|partition)"
    r"(?:[\s_.-]*[0-9]+|[\s_.-]+[a-z])",
    re.IGNORECASE,
)

_DATE = re.compile(r"(?:19|20)[0-9]{2}[\s_.-]?(?:0[1-9]|1[0-2])[\s_.-]?(?:0[1-9]|[12][0-9]|3[01])(?:\D.*)?")
_CAMERA = re.compile(r"[1-9][0-9]{2}[A-Z0-9_]{5}", re.IGNORECASE)  # the standard for cameras (DCF): 100CANON, 101_PANA
_YEAR = re.compile(r"(?:19|20)[0-9]{2}")
_NUMBERED = re.compile(r"(.*?)[\s_.-]*[0-9]+")
_CLASS_WORDS: Final = frozenset(
    {"", "class", "label", "category", "type", "kind", "grade", "stage", "level", "score", "group", "cluster"}
)
BESIDE_SPLITS: Final = frozenset(
    {
        "unlabeled", "unlabelled", "unsup", "predict", "prediction", "predictions", "pred", "preds", "inference",
        "submission", "submissions", "sample", "samples", "extra", "extras", "output", "outputs", "result", "results",
        "log", "logs", "model", "models", "checkpoints", "runs",
    }
)  # fmt: skip
"""Names of folders beside split folders that hold no split, lower case."""

Split = str


def split_of(name: str) -> Split | None:
    """Return "train", "val" or "test" if a folder's name means that split, else None.

    Case, separators, words such as "set" or "images", and trailing numbers or years do not matter.

    Example:
        >>> split_of("Training_Set"), split_of("val2017"), split_of("hold-out"), split_of("bus")
        ('train', 'val', 'test', None)
    """
    return _meaning(_words(name))[0]


def splits_among(names: Iterable[str]) -> dict[str, Split]:
    """Return the split of every name that means one.

    Names may share other words, if they mean different splits: ``flowers_train`` beside ``flowers_test``.
    """
    found: dict[str, Split] = {}
    alike: dict[tuple[str, ...], dict[str, Split]] = {}
    for name in names:
        split, others = _meaning(_words(name))
        if split is not None:
            found[name] = split
        elif others is not None:
            words = tuple(word for word in others if word not in _SPLIT_OF)
            meant = [word for word in others if word in _SPLIT_OF]
            if len(meant) == 1:
                alike.setdefault(words, {})[name] = _SPLIT_OF[meant[0]]
    for group in alike.values():
        if TRAIN in group.values() and len({*group.values()}) > 1:
            found |= group
    return found


def is_fold(name: str) -> bool:
    """Return whether a folder's name is that of one fold or part among several, such as ``fold1`` or ``part_b``."""
    return _FOLD.fullmatch(name.strip()) is not None


def is_day(name: str) -> bool:
    """Return whether a folder's name begins with a date, such as ``2023-05-17``."""
    return _DATE.fullmatch(name.strip()) is not None


def is_of_camera(name: str) -> bool:
    """Return whether a camera names its folders like this, such as ``100CANON``."""
    return _CAMERA.fullmatch(name.strip()) is not None and not name.strip().isdecimal()


def is_year(name: str) -> bool:
    """Return whether a folder's name is that of a year."""
    return _YEAR.fullmatch(name.strip()) is not None


def is_numbered(names: Iterable[str]) -> bool:
    """Return whether names are one word with numbers, as of sites, cameras or sessions; years are such too.

    Numbers alone, and words such as "class" with numbers, may be classes.
    """
    names = list(names)
    if all(map(is_year, names)) or all(map(is_day, names)):
        return True
    matches = [_NUMBERED.fullmatch(name.strip().casefold()) for name in names]
    words = {match[1] if match else None for match in matches}
    return len(words) == 1 and None not in words and not words & _CLASS_WORDS


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, without numbers."""
    parts = _SEPARATORS.split(_CAMEL.sub(" ", name.strip()).casefold())
    words = [_TRAILING.sub("", part) for part in parts]
    return [word for word in words if word and not word.isdecimal()]


def _meaning(words: list[str]) -> tuple[Split | None, list[str] | None]:
    """Return the split that words mean; None and those words that are no fillers if they mean none."""
    words = _two_as_one(words)
    if len(words) == 2 and words[0] in _SPLIT_OF and words[1] in ("a", "b", "c", "d"):
        words = words[:1]  # trainA and trainB, as for image translation
    rest = [word for word in words if word not in _FILLERS.split()]
    meant = [word for word in rest if word in _SPLIT_OF]
    if meant == rest == ["train", "val"]:
        return TRAIN, None
    if len(meant) == 1 and len(rest) == 1:
        return _SPLIT_OF[meant[0]], None
    return None, rest


def _two_as_one(words: list[str]) -> list[str]:
    for index in range(len(words) - 1):
        if words[index] in ("hold", "held") and words[index + 1] == "out":
            return [*words[:index], "holdout", *words[index + 2 :]]
    return words
