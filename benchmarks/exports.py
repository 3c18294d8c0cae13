"""Which formats a bundle can be exported to, for every family of backbones, and how close each is to ``predict``.

    python exports.py --images FOLDER --most 60 BUNDLE BUNDLE              # appends what is missing to exports.jsonl
    python exports.py --write                                              # the tables in docs/export.md

The images need not be those that the bundles were trained on: what is compared is the answers of the same network.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "exports.jsonl", HERE.parent / "docs" / "export.md"
BEGIN, END = "<!-- made by benchmarks/exports.py --write -->\n", "<!-- end -->\n"
ORDER = ("litert", "onnx", "saved-model", "keras", "openvino", "coreml", "web")
PRECISIONS = ("fp32", "fp16", "int8")

Row = dict[str, Any]


def measured(bundle: Path, images: Path, most: int | None, runtime: Path | None) -> Iterator[Row]:
    """Export a bundle in every format and precision that is not measured yet, and yield a row each."""
    from tlkit.api.export.formats import FORMATS
    from tlkit.api.inputs import find_images
    from tlkit.bundle.load import load

    its = load(bundle)
    shown, sample = images, images
    if most is not None:
        files = find_images(images)
        shown, sample = files[:: max(1, len(files) // most)][:most], files[1 :: max(1, len(files) // 40)]
    done = {(row["backbone"], row["format"], row["precision"]) for row in read()}
    backbone = its.manifest["backbone"]
    about = {"backbone": backbone, "input_size": list(its.input_size), "date": str(date.today())}
    for precision in PRECISIONS:
        rows = [each.name for each in FORMATS if precision in each.precisions]
        names = [name for name in rows if (backbone, name, precision) not in done]
        for row in together(its, names, precision, shown, sample, runtime) if names else ():
            yield {**about, "precision": precision, **row}


def together(bundle: Any, names: Sequence[str], precision: str, *given: Any) -> list[Row]:
    """Export several formats in one go, as `predict` then runs once; one by one if any of them fails."""
    import tlkit

    images, calibration, runtime = given
    web = {"runtime": runtime} if "web" in names else {}
    with tempfile.TemporaryDirectory() as place:
        try:
            found = tlkit.export(
                bundle,
                names,
                output=Path(place) / "out",
                precision=precision,
                images=images,
                calibration=calibration,
                **web,
            )
        except tlkit.TlkitError as error:
            if len(names) == 1:
                return [{"format": names[0], "works": False, "error": error.message}]
            each = (together(bundle, [name], precision, *given) for name in names)
            return [row for rows in each for row in rows]
    rows = []
    for file in found.files:
        agreement = None if file.agreement is None else file.agreement.to_json()
        row = {"format": file.format, "works": True, "size": file.size, "original_size": found.original_size}
        rows.append({**row, "agreement": agreement})
    return rows


def read() -> list[Row]:
    """The rows measured so far; of two of the same, the later one."""
    rows = {}
    for line in RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []:
        row = json.loads(line)
        rows[row["backbone"], row["format"], row["precision"]] = row
    return list(rows.values())


def tables() -> str:
    """The tables of the page: largest difference in a probability and size of every export, by precision."""
    rows = read()
    parts = []
    for precision in PRECISIONS:
        own = {(row["backbone"], row["format"]): row for row in rows if row["precision"] == precision}
        formats = [name for name in ORDER if any(each == name for _, each in own)]
        if not own:
            continue
        parts.append(f"### {precision}\n")
        parts.append(f"| backbone | {' | '.join(formats)} |")
        parts.append("|---" * (len(formats) + 1) + "|")
        for backbone in dict.fromkeys(name for name, _ in own):
            cells = [_cell(own.get((backbone, name)), precision) for name in formats]
            parts.append(f"| `{backbone}` | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def _cell(row: Row | None, precision: str) -> str:
    if row is None:
        return "–"
    if not row["works"]:
        return "no"
    size = f"{row['size'] / 1e6:.1f} MB"
    its = row["agreement"]
    if its is None:
        return f"converted, {size}"
    apart = its["max_difference"]
    said = f"{its['same_label']:.1%}" if precision == "int8" else f"{apart:.0e}" if apart else "0"
    return f"{said}, {size}"


def write() -> None:
    """Put the tables into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + tables() + "\n" + END + rest.partition(END)[2], encoding="utf-8")


def main() -> None:
    """Measure, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--most", type=int, help="use so many of the images, spread evenly, without their labels")
    parser.add_argument("--runtime", type=Path, help="where LiteRT.js is, for the web page")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    for bundle in args.bundles:
        for row in measured(bundle, args.images, args.most, args.runtime):
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            sys.stderr.write(f"{row['backbone']} {row['format']} {row['precision']} {row['works']}\n")
    if args.write:
        write()


if __name__ == "__main__":
    main()
