"""The images that a bundle was trained on, as features: enough to solve its head again without the images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from tlkit.backbones.extractor import TOP, Taps
from tlkit.bounded import parse_json
from tlkit.bundle.load import Bundle
from tlkit.bundle.manifest import FILES, KEPT
from tlkit.bundle.verify import damaged
from tlkit.errors import TlkitError
from tlkit.images.duplicates import FINGERPRINT_BYTES
from tlkit.images.folder import TEST, TRAIN, VAL
from tlkit.npz import read_npz
from tlkit.schema import Length, Name, Positive, WrongDataError, parsed

SPLITS = (TRAIN, VAL, TEST)
DIGEST = 32  # bytes of a SHA-256
HALF = "<f2"  # of the feature store too, so that nothing is lost
_ARRAYS = ("matrix", "contents", "prints", "labels", "splits", "groups", "names", "facts")


@dataclass(frozen=True)
class KeptFacts:
    """What is said of all kept images together.

    Attributes:
        taps: (name, width) of the column blocks.
        in_folders: Whether the images came from folders, so that their names give their order.
        own_validation: Whether the validation images come from the folder's own split.
        own_test: Whether the test images do.
    """

    taps: Annotated[tuple[tuple[Name, Positive], ...], Length(1, 1000)]
    in_folders: bool
    own_validation: bool
    own_test: bool


@dataclass(frozen=True, eq=False)
class Kept:
    """Images of a bundle, in the order in which it was trained on them.

    Attributes:
        matrix: Features, float16 [n, columns].
        contents: SHA-256 of each image's bytes in hex.
        prints: Perceptual hash of each image, 16 bytes; empty if blank.
        labels: Class index of each image.
        splits: "train", "val" or "test" for each image.
        groups: `group_digest` of each image's group in hex; "" for images in no group.
        names: Path of each image relative to its folder, with ``/`` between parts. For people and for the order: no
            file is ever opened by it.
        facts: What is said of all of them.
    """

    matrix: NDArray[np.float16]
    contents: tuple[str, ...]
    prints: tuple[bytes, ...]
    labels: tuple[int, ...]
    splits: tuple[str, ...]
    groups: tuple[str, ...]
    names: tuple[str, ...]
    facts: KeptFacts

    def __len__(self) -> int:
        return len(self.contents)

    @property
    def taps(self) -> Taps:
        """(name, width) of the column blocks of ``matrix``."""
        return self.facts.taps

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays for ``np.savez``; `kept_from_arrays` is the inverse."""
        prints = [each.ljust(FINGERPRINT_BYTES, b"\0") + bytes([len(each) > 0]) for each in self.prints]
        facts = {
            "taps": [list(tap) for tap in self.facts.taps],
            **{name: getattr(self.facts, name) for name in ("in_folders", "own_validation", "own_test")},
        }
        return {
            "matrix": self.matrix.astype(HALF, copy=False),
            "contents": _table([bytes.fromhex(each) for each in self.contents], DIGEST),
            "prints": _table(prints, FINGERPRINT_BYTES + 1),
            "labels": np.asarray(self.labels, dtype="<i4"),
            "splits": np.asarray([SPLITS.index(each) for each in self.splits], dtype=np.uint8),
            "groups": _table([bytes.fromhex(each).ljust(DIGEST, b"\0") for each in self.groups], DIGEST),
            "names": _bytes("\0".join(self.names).encode("utf-8", "surrogatepass")),
            "facts": _bytes(json.dumps(facts).encode()),
        }


def group_digest(name: str) -> str:
    """Return what a bundle keeps of a group's name, which may be that of a patient: its SHA-256 in hex; "" for ""."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest() if name else ""


def plain_name(file: str) -> str:
    """Return the path of an image without steps to a higher folder."""
    parts = file.replace("\0", "_").split("/")
    return "/".join("_" if part == ".." else part for part in parts)


def has_kept(bundle: Bundle) -> bool:
    """Whether a bundle holds the features of its images."""
    return KEPT in bundle.manifest["files"]


def read_kept(bundle: Bundle, use: str) -> Kept:
    """Return the kept images of a bundle, which may come from a stranger.

    Args:
        bundle: The bundle.
        use: The option or command that needs them, for the message.

    Raises:
        TlkitError: It has none, or they are not as they must be.
    """
    if not has_kept(bundle):
        raise TlkitError(
            f"{use} requires a bundle with the features of its images, and {bundle.path} has none",
            "train it once more with --keep-features",
        )
    try:
        arrays = read_npz(bundle.path / KEPT, FILES[KEPT], _ARRAYS)
        return kept_from_arrays(arrays, len(bundle.classes))
    except OSError as error:
        raise TlkitError(f"cannot read {bundle.path / KEPT}: {error.strerror or error}") from error
    except ValueError as error:
        raise damaged(bundle.path, KEPT, error) from error


def write_kept(folder: Path, kept: Kept) -> None:
    """Write the kept images into the folder of a bundle."""
    np.savez(folder / KEPT, **kept.arrays())  # type: ignore[arg-type]


def kept_from_arrays(arrays: dict[str, NDArray[Any]], classes: int) -> Kept:
    """Rebuild kept images from `Kept.arrays`.

    Args:
        arrays: The arrays by name.
        classes: Number of classes.

    Raises:
        ValueError: Types, shapes or values are not as they must be.
    """
    try:
        facts = parsed(KeptFacts, parse_json(_text(arrays["facts"], "facts").encode()), "facts")
    except WrongDataError as error:
        raise ValueError(str(error)) from error
    names = [name for name, _ in facts.taps]
    if len(set(names)) != len(names) or TOP not in names:
        raise ValueError(f"facts.taps must have each block once, and '{TOP}' among them")
    count, columns = len(arrays["labels"].ravel()), sum(width for _, width in facts.taps)
    _check(arrays, count, columns)
    files = tuple(_text(arrays["names"], "names").split("\0"))
    if len(files) != count:
        raise ValueError(f"there are {len(files)} names of {count} images")
    if any(".." in name.split("/") for name in files):
        raise ValueError("a name leads out of its folder")
    labels = arrays["labels"].tolist()
    if min(labels) < 0 or max(labels) >= classes:
        raise ValueError(f"labels must be from 0 to {classes - 1}")
    if arrays["splits"].max() >= len(SPLITS):
        raise ValueError("splits has a value of no split")
    groups = [row.tobytes() for row in arrays["groups"]]
    return Kept(
        matrix=arrays["matrix"],
        contents=tuple(row.tobytes().hex() for row in arrays["contents"]),
        prints=tuple(row[:-1].tobytes() if row[-1] else b"" for row in arrays["prints"]),
        labels=tuple(labels),
        splits=tuple(SPLITS[each] for each in arrays["splits"].tolist()),
        groups=tuple(each.hex() if any(each) else "" for each in groups),
        names=files,
        facts=facts,
    )


def _check(arrays: dict[str, NDArray[Any]], count: int, columns: int) -> None:
    byte = np.dtype(np.uint8)
    wanted = {
        "matrix": (np.dtype(HALF), (count, columns)),
        "contents": (byte, (count, DIGEST)),
        "prints": (byte, (count, FINGERPRINT_BYTES + 1)),
        "labels": (np.dtype("<i4"), (count,)),
        "splits": (byte, (count,)),
        "groups": (byte, (count, DIGEST)),
    }
    if not count:
        raise ValueError("there are no images in it")
    for name, (kind, shape) in wanted.items():
        array = arrays[name]
        if array.dtype != kind or array.shape != shape:
            raise ValueError(f"{name} must be {kind} {list(shape)}, not {array.dtype} {list(array.shape)}")
    if not np.isfinite(arrays["matrix"]).all():
        raise ValueError("matrix has values that are not finite")


def _table(rows: Sequence[bytes], width: int) -> NDArray[np.uint8]:
    return _bytes(b"".join(rows)).reshape(len(rows), width)


def _bytes(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8)


def _text(array: NDArray[Any], name: str) -> str:
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError(f"{name} must be uint8 of one dimension")
    try:
        return array.tobytes().decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8") from error
