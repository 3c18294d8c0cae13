"""The page of the JSON that commands print, read from the records' ``to_json``."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

Row = tuple[str, str]

START = """# JSON

Made by `python docs/make_reference.py` from the code; a test compares.

`--json` prints one JSON document on stdout and nothing else there; `tlkit predict --json` and `--output F.jsonl` have
one line per image. Names are stable: fields may be added, none is renamed. A number that is not finite is `null`.
Shares and accuracies are 0 to 1, times are in seconds, log loss is in nats. `a.b` is field `b` of the object `a`;
`a[].b` is that of each entry of a list, `a.*.b` that of each entry by name.
"""


UNSAID = {
    "file": "The file.",
    "error": "Why it was left out.",
    "reason": "Why it was left as it is.",
    "format": "The format that it has.",
    "files": "The files of the group.",
    "class": "The class.",
    "label": "The class.",
    "probability": "Its probability.",
    "promise": "What is promised for it; fields as in `precisions[]`. None: nothing.",
    "looks_like": "The class that it looks like.",
    "margin": "How much more probable that class is, in log probability.",
    "per_class_min": "Training images of the smallest class.",
    "classes": "The bundle's class names.",
    "per_class": "The figures of each class.",
    "confusion_matrix": "Counts; a row is the class, a column the answer, both in the order of `classes`.",
    "most_confused": "The pairs of classes with the most mistakes.",
    "accuracy_interval": "How the interval is computed.",
    "backbones": "The networks asked for.",
    "others": "Well-known networks that the catalogue lacks.",
    "others_how": "How they can be used all the same.",
    "stages": "The stages, from input to output.",
    "fetched": "The networks asked for.",
    "folder": "The folder.",
    "freed": "Bytes that were freed.",
    "left": "What could not be removed.",
    "findings": "What was looked at.",
}
"""What fields hold that no record describes."""


def json_page() -> str:
    """The page of every command with ``--json``."""
    from tlkit.api import cache, comparison, doctor, evaluation, explain, features, merge, predict, predict_file
    from tlkit.api.backbones import fetch, listing, show
    from tlkit.api.embed import file
    from tlkit.api.export import result as export
    from tlkit.api.recommend import recommend
    from tlkit.api.review_apply import Applied
    from tlkit.api.sort import Sorted
    from tlkit.api.suggestion import Suggested
    from tlkit.api.train import result as train
    from tlkit.images.check import Checked
    from tlkit.moves.batch import TakenBack

    of: list[tuple[str, str, Any]] = [
        ("tlkit train", "", train.TrainResult),
        ("tlkit recommend", "", recommend.Recommendation),
        ("tlkit check", "", Checked),
        ("tlkit review", "null if nothing was applied.", Applied),
        ("tlkit predict", "One line for each image.", predict.Prediction),
        ("tlkit predict --output", "", predict_file.Predicted),
        ("tlkit predict --sort-into", "", Sorted),
        ("tlkit evaluate", "", evaluation.Evaluation),
        ("tlkit compare", "", comparison.Comparison),
        ("tlkit explain", "A list with one object for each image.", explain.Explained),
        ("tlkit suggest", "", Suggested),
        ("tlkit embed", "", file.Embedded),
        ("tlkit features", "", features.Kept),
        ("tlkit merge", "Of parts of `check`: the fields of `tlkit check`.", merge.Merged),
        ("tlkit undo", "", TakenBack),
        ("tlkit export", "", export.Exported),
        ("tlkit backbones", "", listing.Catalogue),
        ("tlkit backbones show", "", show.Stages),
        ("tlkit backbones fetch", "", fetch.to_json),
        ("tlkit cache", "", cache.CacheContents),
        ("tlkit cache --clear", "", cache.Cleared),
        ("tlkit doctor", "With `--benchmark`, also `benchmark`.", doctor.Diagnosis),
    ]
    return "\n".join([START, *(_section(title, note, source) for title, note, source in of)])


def fields(source: Any) -> list[Row]:
    """The fields of a record's JSON, with what each holds: (path, text).

    Args:
        source: A class with ``to_json``, or a function that returns a dictionary.
    """
    function = source if inspect.isfunction(source) else source.to_json
    owner = source if inspect.isclass(source) else None
    seen: dict[str, str] = {}
    for path, text in _of_function(function, owner, 0):
        seen[path] = seen.get(path) or text
    said = {path: text or UNSAID.get(re.split(r"[.]", path)[-1], "") for path, text in seen.items()}
    return [(path, re.sub(r"\bNone\b", "null", text)) for path, text in said.items()]


def _section(title: str, note: str, source: Any) -> str:
    rows = [f"| `{path}` | {text.replace('|', '&#124;')} |" for path, text in fields(source)]
    return "\n".join([f"## {title}\n", *([f"{note}\n"] if note else []), "| field | holds |", "|---|---|", *rows, ""])


def _of_function(function: Any, owner: type[Any] | None, depth: int) -> Iterator[Row]:
    function = inspect.unwrap(function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    module = sys.modules[function.__module__]
    local: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
            both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            pairs = zip(target.elts, value.elts, strict=True) if both else ()
            for name, its in [(target, value), *pairs]:
                if isinstance(name, ast.Name):
                    local[name.id] = its
    known = {name: (str(text), module) for name, text in inspect.get_annotations(function).items() if name != "return"}
    if owner is not None:
        known["self"] = (owner.__name__, sys.modules[owner.__module__])
    reader = _Reader(module, local, known, depth)
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and node.value is not None:
            another = isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute)
            if not another:  # the JSON of another command
                yield from reader.rows(node.value)


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads fields from expressions of one function.

    Attributes:
        module: Where its names are found.
        local: Expressions of its variables.
        known: Annotations of its parameters, and where their names are found.
        depth: How many functions deep this is.
    """

    module: ModuleType
    local: dict[str, ast.expr]
    known: dict[str, tuple[str, ModuleType]]
    depth: int

    def rows(self, node: ast.expr) -> Iterator[Row]:
        """The fields of the object that an expression makes; none if it makes something else."""
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None:
                    yield from self.rows(value)
                elif isinstance(key, ast.Constant):
                    yield from self._entry(str(key.value), value)
                elif isinstance(key, ast.Name) and isinstance(its := getattr(self.module, key.id, None), str):
                    yield from self._entry(its, value)
        elif isinstance(node, ast.DictComp):
            over = node.generators[0].iter
            names = getattr(self.module, over.id, None) if isinstance(over, ast.Name) else None
            if isinstance(names, tuple) and "self" in self.known:  # the attributes that a constant names
                its = getattr(self.module, self.known["self"][0])
                yield from ((name, attributes(its).get(name, "")) for name in names)
            inner = self._inside(node.generators)
            for path, text in inner.rows(node.value):
                yield f"*.{path}", text
        elif isinstance(node, ast.BinOp):
            yield from self.rows(node.left)
            yield from self.rows(node.right)
        elif isinstance(node, ast.IfExp):
            yield from self.rows(node.body)
            yield from self.rows(node.orelse)
        elif isinstance(node, ast.Name) and node.id in self.local:
            yield from self.rows(self.local[node.id])
        elif isinstance(node, ast.Call):
            yield from self._call(node)

    def _entry(self, key: str, value: ast.expr) -> Iterator[Row]:
        while isinstance(value, ast.Name) and value.id in self.local:
            value = self.local[value.id]
        yield key, self._text(value)
        for path, text in self.rows(value):
            yield f"{key}.{path}", text
        if isinstance(value, ast.ListComp):
            for path, text in self._inside(value.generators).rows(value.elt):
                yield f"{key}[].{path}", text

    def _inside(self, generators: list[ast.comprehension]) -> _Reader:
        """The same within a comprehension, whose variables are known by what they run over."""
        known = dict(self.known)
        for each in generators:
            its = self._annotation(each.iter)
            if its is None:
                continue
            inner = _element(its[0])
            last = each.target.elts[-1] if isinstance(each.target, ast.Tuple) else each.target
            if inner and isinstance(last, ast.Name):
                known[last.id] = (inner, its[1])
        return dataclasses.replace(self, known=known)

    def _call(self, node: ast.Call) -> Iterator[Row]:
        if self.depth > 4:
            return
        called = node.func
        if isinstance(called, ast.Name) and called.id == "asdict" and node.args:
            its = self._type(node.args[0])
            if its is not None and dataclasses.is_dataclass(its):
                said = attributes(its)
                yield from ((each.name, said.get(each.name, "")) for each in dataclasses.fields(its))
        elif isinstance(called, ast.Attribute) and called.attr == "to_json":
            its = self._type(called.value)
            if its is not None and hasattr(its, "to_json"):
                yield from _of_function(its.to_json, its, self.depth + 1)
        elif isinstance(called, ast.Name):
            function = getattr(self.module, called.id, None)
            if inspect.isfunction(function) and function.__module__.startswith("tlkit"):
                yield from _of_function(function, None, self.depth + 1)

    def _annotation(self, node: ast.expr) -> tuple[str, ModuleType] | None:
        """The annotation of what an expression makes, and the module in which it is to be read."""
        if isinstance(node, ast.Name):
            if node.id in self.known:
                return self.known[node.id]
            return self._annotation(self.local[node.id]) if node.id in self.local else None
        if isinstance(node, ast.Attribute) and (its := self._type(node.value)) is not None:
            module = sys.modules[its.__module__]
            if text := inspect.get_annotations(its).get(node.attr):
                return str(text), module
            member = vars(its).get(node.attr)
            if isinstance(member, property) and member.fget:
                return str(member.fget.__annotations__.get("return", "")), module
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            function = getattr(self.module, node.func.id, None)
            if inspect.isfunction(function):
                return str(function.__annotations__.get("return", "")), sys.modules[function.__module__]
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("items", "values")
        ):
            return self._annotation(node.func.value)
        return None

    def _type(self, node: ast.expr) -> type[Any] | None:
        """The class of what an expression makes."""
        annotation = self._annotation(node)
        if annotation is None:
            return None
        found = getattr(annotation[1], annotation[0].replace("| None", "").strip(), None)
        return found if inspect.isclass(found) else None

    def _text(self, node: ast.expr) -> str:
        """What the record's docstring says of the first attribute in an expression."""
        for each in ast.walk(node):
            if isinstance(each, ast.Attribute) and (its := self._type(each.value)) is not None:
                if said := attributes(its).get(each.attr):
                    return said
                member = vars(its).get(each.attr)
                if isinstance(member, property) and member.__doc__:
                    return _line(member.__doc__.split("\n\n")[0])
        return ""


def _element(annotation: str) -> str:
    """What a collection holds, by its annotation; of a mapping, its values."""
    found = re.match(r"(?:tuple|list|Sequence|Iterable)\[(\w+)(?:, \.\.\.)?\]|(?:dict|Mapping)\[\w+, (\w+)", annotation)
    return (found.group(1) or found.group(2)) if found else ""


def attributes(record: type[Any]) -> dict[str, str]:
    """What a class's docstring says of its attributes."""
    doc = inspect.cleandoc(record.__doc__ or "")
    _, _, block = doc.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in block.split("\n"):
        if line and not line.startswith(" "):
            break
        if match := re.match(r"    (\w[\w, ]*): (.*)", line):
            name = match.group(1)
            for each in name.split(", "):
                found[each] = match.group(2)
        elif name and line.strip():
            for each in name.split(", "):
                found[each] += f" {line.strip()}"
    return {each: _line(text) for each, text in found.items()}


def _line(text: str) -> str:
    return re.sub(r"([*<_](?![^`]*`))", r"\\\1", " ".join(text.replace("``", "`").split()))
