"""From a table of files and labels to an `ImageFolder`. Nothing is copied, and no image is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from tlkit.csvtext import original
from tlkit.errors import TlkitError
from tlkit.images.class_names import is_letter, name_key, one_spelling
from tlkit.images.folder import Dropped, ImageFolder, existing_folder
from tlkit.images.layout_faults import LayoutProblem
from tlkit.images.natural import natural
from tlkit.images.table.columns import Chosen, Columns, choose, open_with_columns
from tlkit.images.table.files import NO_FILE, Finder, hint_for
from tlkit.images.table.meaning import label_reader, several_labels, split_reader
from tlkit.images.table.text import Table
from tlkit.words import plural, some

MAX_SHOWN = 3


@dataclass(frozen=True)
class Source:
    """A table among those that make up a data set.

    Attributes:
        path: The file.
        base: What is put before its relative paths, such as "train/"; empty: nothing.
        split: The split of all its images; empty: as its column says.
    """

    path: Path
    base: str = ""
    split: str = ""


@dataclass
class _Found:
    """What the rows come to: what they say of each file, and what is left out."""

    said: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    contradicted: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)
    repeated: int = 0
    labels: dict[str, None] = field(default_factory=dict)

    def add(self, file: str, said: tuple[str, str, str]) -> None:
        """Add what a row says of a file: its label, split and group."""
        known = self.said.setdefault(file, said)
        if known is said:
            return
        if known == said or _same(known, said):
            self.repeated += 1
        else:
            self.contradicted.setdefault(file, [known]).append(said)


def read_tables(
    sources: Sequence[Source], given: Columns, root: Path, *, min_classes: int = 2, known_only: bool = False
) -> ImageFolder:
    """Read the tables of a data set.

    A row costs itself if its file is missing or it has no label; a file if its rows contradict each other. They are
    listed in ``dropped``. Rows that say the same count once.

    Args:
        sources: The tables, at least one.
        given: What the user says of their columns.
        root: The folder that relative paths start from, absolute.
        min_classes: Number of classes that must have images.
        known_only: Whether a column of labels must have a known name, and not just be the only one left.

    Raises:
        TlkitError: A table or its columns cannot be understood, no file exists, or fewer than ``min_classes`` classes
            have images.
    """
    found, finder = _Found(), Finder(root)
    remarks: list[str] = []
    first = sources[0].path
    for source in sources:
        table = open_with_columns(source.path, given)
        exists = partial(_exists, finder, source.base)
        chosen = choose(table, given, exists, labelled=True, known_only=known_only)
        _read(table, chosen, source, finder, found)
        remarks += _remarks(table, chosen)
    for file, rows in found.contradicted.items():
        label, split, _ = found.said.pop(file)
        found.dropped.append(Dropped(file, _contradiction(rows), label, split))
    if not found.said:
        raise _nothing(first, root, found)
    if found.repeated:
        remarks.append(f"{plural(found.repeated, 'repeated row')} of {first.name} counted once")
    problems = _one_spelling(found)
    folder = _folder(found, root, first, tuple(dict.fromkeys(remarks)), problems)
    _check_classes(folder, min_classes)
    return folder


def _read(table: Table, chosen: Chosen, source: Source, finder: Finder, found: _Found) -> None:
    """Add the rows of a table to what is found."""
    rows: list[tuple[str, tuple[str, str, str]]] = []
    label_of, split_of = label_reader(table, chosen), split_reader(table, chosen, source.split)
    width, several = len(table.columns), 0
    for line, cells in table.records():
        if len(cells) > width and any(cell.strip() for cell in cells[width:]):
            found.dropped.append(Dropped(f"line {line}", f"has {len(cells)} cells instead of {width}"))
            continue
        cells += [""] * (width - len(cells))
        file, labels, split = cells[chosen.file].strip(), label_of(cells), split_of(cells)
        group = "" if chosen.group is None else cells[chosen.group].strip()
        if not file:
            found.dropped.append(Dropped(f"line {line}", "no file name", labels[0] if labels else "", split or ""))
        elif len(labels) != 1:
            several += len(labels) > 1
            found.dropped.append(Dropped(file, _several(labels) if labels else "no label", "", split or ""))
        elif split is None:
            found.dropped.append(Dropped(file, "no split", labels[0]))
        else:
            rows.append((_based(source.base, file), (labels[0], split, group)))
    joined = several_labels({said[0] for _, said in rows}, table.columns[chosen.labels[0]])
    for name, (label, split, _) in rows:
        if label in joined:
            several += 1
            found.dropped.append(Dropped(name, _several(joined[label]), "", split))
    rows = [row for row in rows if row[1][0] not in joined]
    if several > len(rows):
        raise TlkitError(
            f"most rows of {table.path} have several labels",
            "an image has one label here; name it: --label-column NAME",
        )
    hits = _find(finder, [name for name, _ in rows], table)
    for (name, said), (hit, problem) in zip(rows, hits, strict=True):
        found.labels[said[0]] = None
        if hit is None:
            found.dropped.append(Dropped(name, problem, *said[:2]))
        else:
            found.add(hit, said)


def _several(labels: Sequence[str]) -> str:
    return f"{len(labels)} labels: {some(labels, MAX_SHOWN)}"


def _find(finder: Finder, names: Sequence[str], table: Table) -> list[tuple[str | None, str]]:
    """Find files; names that tlkit has escaped in CSV are found too, and those with escapes of URLs."""
    hits = finder.find(names)
    for place, ((hit, _), name) in enumerate(zip(hits, names, strict=True)):
        if hit is not None:
            continue
        for plain in (original(name) if table.is_csv else name, unquote(name) if "%" in name else name):
            if plain != name and hits[place][0] is None:
                (again,) = finder.find([plain])
                hits[place] = again if again[0] is not None else hits[place]
    return hits


def existing_root(path: Path) -> Path:
    """Return a folder that relative paths are to start from.

    Raises:
        TlkitError: It does not exist or cannot be read.
    """
    try:
        return existing_folder(path)
    except TlkitError as error:
        raise TlkitError(f"--root: {error.message}") from None


def _exists(finder: Finder, base: str, name: str) -> bool:
    return finder.exists(_based(base, name))


def _based(base: str, name: str) -> str:
    return name if name.startswith("/") else base + name


def _remarks(table: Table, chosen: Chosen) -> Iterator[str]:
    names = table.columns
    if len(chosen.labels) == 1:
        said = f"labels from column '{names[chosen.labels[0]]}' of {table.path.name}"
    else:
        said = f"labels from {len(chosen.labels)} columns of {table.path.name}, {names[chosen.labels[0]]} to "
        said += names[chosen.labels[-1]]
    parts = ((chosen.file, "files"), (chosen.split, "splits"), (chosen.group, "groups"))
    yield ", ".join([said, *(f"{what} from '{names[column]}'" for column, what in parts if column is not None)])
    if table.encoding in ("cp1252", "latin-1"):
        yield f"{table.path.name} is not UTF-8; it is read as Windows-1252"


def _same(one: tuple[str, str, str], two: tuple[str, str, str]) -> bool:
    """Whether two rows say the same, the label perhaps in two spellings."""
    return one[1:] == two[1:] and not is_letter(one[0]) and name_key(one[0]) == name_key(two[0])


def _one_spelling(found: _Found) -> tuple[LayoutProblem, ...]:
    """Take labels that differ only in case or spaces for one class, and say so."""
    counts = Counter(label for label, *_ in found.said.values())
    spelled = one_spelling({label: counts[label] for label in natural(sorted(found.labels))})
    if not spelled:
        return ()
    found.said = {file: (spelled.get(said[0], said[0]), *said[1:]) for file, said in found.said.items()}
    found.labels = dict.fromkeys(spelled.get(label, label) for label in found.labels)
    merged: dict[str, list[str]] = {}
    for label, its in spelled.items():
        merged.setdefault(its, []).append(label)
    return tuple(
        LayoutProblem(
            f"labels {_quoted((its, *labels))} are taken for one class, '{its}'",
            "write the label in one way, or give the classes different names",
            about_classes=True,
        )
        for its, labels in merged.items()
    )


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)


def _contradiction(rows: Sequence[tuple[str, str, str]]) -> str:
    for place, what in enumerate(("labels", "splits", "groups")):
        values = list(dict.fromkeys(row[place] for row in rows))
        if len(values) > 1:
            return f"{len(values)} {what}: {some(values, MAX_SHOWN)}"
    raise AssertionError("rows that say the same")


def _folder(
    found: _Found, root: Path, table: Path, remarks: tuple[str, ...], problems: tuple[LayoutProblem, ...]
) -> ImageFolder:
    classes = tuple(natural(sorted(found.labels)))
    number = {name: index for index, name in enumerate(classes)}
    # sorted, so that the order of the rows does not matter
    rows = sorted((split, number[label], file, group) for file, (label, split, group) in found.said.items())
    grouped = any(group for *_, group in rows)
    return ImageFolder(
        root=root,
        classes=classes,
        files=tuple(file for _, _, file, _ in rows),
        labels=tuple(label for _, label, _, _ in rows),
        splits=tuple(split for split, *_ in rows),
        groups=tuple(group for *_, group in rows) if grouped else (),
        table=table,
        # a file without a label in one row may have one in another
        dropped=tuple(each for each in found.dropped if each.label or each.file not in found.said),
        remarks=remarks,
        problems=problems,
    )


def _check_classes(folder: ImageFolder, min_classes: int) -> None:
    filled = [name for name, count in folder.counts().items() if count]
    if len(filled) < min_classes:
        raise TlkitError(f"only one label ('{filled[0]}') in {folder.table}", "a classifier needs at least two classes")
    if min_classes > 1 and len(filled) > max(10, len(folder.files) // 2):
        raise TlkitError(
            f"{folder.table} has {len(filled)} different labels for {plural(len(folder.files), 'image')}",
            "choose another column with --label-column",
        )


def _nothing(table: Path, root: Path, found: _Found) -> TlkitError:
    """The error if no image is left."""
    missing = [each for each in found.dropped if each.label]
    if not missing:
        first = found.dropped[0]
        return TlkitError(f"no usable row in {table}", f"{first.file}: {first.reason}")
    message = f"none of the files in {table} can be used, such as {missing[0].file} ({missing[0].reason})"
    lost = [each.file for each in missing if each.reason == NO_FILE]
    return TlkitError(message, hint_for(root, lost[:MAX_SHOWN]) if lost else None)


def table_files(path: Path, given: Columns) -> list[Path]:
    """Return the files that a table names, each once, in the order of the rows; also those that do not exist.

    Raises:
        TlkitError: The table or its column of files cannot be understood, or it names no file.
    """
    root = path.parent if given.root is None else existing_root(given.root)
    table, finder = open_with_columns(path, given), Finder(root)
    column = choose(table, given, finder.exists, labelled=False).file
    names = [cells[column].strip() for _, cells in table.records() if len(cells) > column and cells[column].strip()]
    if not names:
        raise TlkitError(f"{path} names no files")
    found = _find(finder, names, table)
    return list(dict.fromkeys(root / (file or name) for (file, _), name in zip(found, names, strict=True)))
