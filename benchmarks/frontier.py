"""Accuracy reached against wall-clock: ``tlkit train --time-budget``, Keras's guide and a fastai-like recipe.

    python benchmarks/frontier.py FOLDER FOLDER --budgets 30 120 300 --table frontier.jsonl
    python benchmarks/frontier.py --table frontier.jsonl --report
    python benchmarks/frontier.py --table frontier.jsonl --plot frontier.svg

Needs PyTorch for the fastai-like recipe, and matplotlib for ``--plot``. Runs that the table holds are skipped, so that
it can be made in pieces; one line is appended for each run and budget.

The test images of FOLDER are those of FOLDER_test, if there is one, else FOLDER's own val/, else up to 500 images that
are drawn before 50 of each class to train on. Every tool gets a folder of links to the same training images, and what
it takes the test images for is compared with their labels by the same code. The networks of the two recipes start from
the weights of EfficientNet-Lite0 that tlkit ships; tlkit chooses its network itself.

- tlkit: a process for each budget, with an empty cache; all of it counts, also what it takes longer than the budget.
- keras-guide: one process, as its recipe does not depend on the budget, judged when each budget is over.
- fastai-like: a process for each budget, as its schedule does. The recipes are in ``frontier_peers.py`` and
  ``torch_recipe.py``; imports count, judging the test images does not, and they train on all images.

``others_cores``: how many cores other processes kept busy during the run, on average.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

from measure import TLKIT, fresh_cache, machine, require_success, run_json, watch
from strategies import Row, Subset, draw, report, rows_in

TOOLS = ("tlkit", "keras-guide", "fastai-like")
PER_CLASS, TEST = 50, 500  # of a folder without test images
ALL = 10**6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="*")
    parser.add_argument("--budgets", type=int, nargs="+", default=[30, 120, 300], help="seconds")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--tlkit", type=Path, default=TLKIT, help="the command; else that beside this Python")
    parser.add_argument("--table", type=Path, default=Path(__file__).with_name("frontier.jsonl"))
    parser.add_argument("--report", action="store_true", help="print what the table says")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw what the table says")
    arguments = parser.parse_args()
    if arguments.images and "fastai-like" in arguments.tools and importlib.util.find_spec("torch") is None:
        parser.exit(1, "the fastai-like recipe needs PyTorch: pip install torch, or leave it out with --tools\n")
    for images in arguments.images:
        for seed in range(arguments.seeds):
            measure(images.resolve(), seed, arguments)
    rows = list(rows_in(arguments.table))
    if arguments.report:
        print(in_words(rows))
    if arguments.plot:
        from frontier_plot import draw_frontier

        draw_frontier(rows, arguments.plot)


def measure(images: Path, seed: int, arguments: argparse.Namespace) -> None:
    """Make the runs of a folder and seed that the table lacks."""
    known = {(row["images"], row["seed"], row["tool"], row["budget"]) for row in rows_in(arguments.table)}
    lacking = {
        tool: [each for each in arguments.budgets if (images.name, seed, tool, each) not in known]
        for tool in arguments.tools
    }
    if not any(lacking.values()):
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subset = split_of(images, seed)
        subset.link(place)
        for tool, budgets in lacking.items():
            for found in runs_of(tool, budgets, seed, place, arguments.tlkit):
                budget, predicted = found.pop("budget"), found.pop("predicted")
                row: Row = {
                    "benchmark": "frontier",
                    "images": images.name,
                    "seed": seed,
                    "tool": tool,
                    "budget": budget,
                    "train": len(subset.train),
                    "test": len(subset.test),
                    "accuracy": accuracy(predicted, place / "test"),
                }
                report({**row, **found, **machine()}, arguments.table)


def split_of(images: Path, seed: int) -> Subset:
    """Training and test images of a folder."""
    beside = images.with_name(f"{images.name}_test")
    if beside.is_dir():
        train, test = (draw(folder, 0, 0, seed) for folder in (images, beside))
        if train.classes != test.classes:
            raise SystemExit(f"{images.name} and {beside.name} have different classes")
        return Subset(train.classes, train.train, (), test.train)
    if (images / "val").is_dir():
        subset = draw(images, 0, ALL, seed)
        return Subset(subset.classes, subset.train, (), subset.val)
    return draw(images, PER_CLASS, 0, seed, test=TEST)


def accuracy(predicted: dict[str, str], test: Path) -> float:
    """The share of the images below class folders that were taken for what they are; ``predicted`` by CLASS/FILE."""
    files = [path.relative_to(test) for path in test.glob("*/*")]
    return round(mean(predicted.get(file.as_posix()) == file.parent.name for file in files), 4)


def runs_of(tool: str, budgets: Sequence[int], seed: int, place: Path, tlkit: Path) -> Iterator[Row]:
    """What a tool took the test images for at each budget."""
    if tool == "tlkit":
        for budget in budgets:
            yield run_ours(tlkit, budget, seed, place)
    elif tool == "fastai-like":
        for budget in budgets:
            yield from run_peer(tool, [budget], seed, place)
    elif budgets:
        yield from run_peer(tool, budgets, seed, place)


def run_ours(tlkit: Path, budget: int, seed: int, place: Path) -> Row:
    """One run of the installed command, and its predictions."""
    env, bundle = fresh_cache(place), place / f"{budget}.tlkit"
    options = ("--time-budget", f"{budget}s", "--seed", seed, "--output", bundle, "--overwrite", "--json")
    others = Others()
    ran = run_json([tlkit, "train", place / "train", *options], cwd=place, env=env)
    busy = others.cores()
    command = [tlkit, "predict", place / "test", "--model", bundle, "--json"]
    judged = watch(command, cwd=place, env=env)
    require_success(judged, command)
    predicted = {}
    for line in (json.loads(each) for _, each in judged.out):
        predicted["/".join(Path(line["file"]).parts[-2:])] = line["label"]
    tuning = ran.result["tuning"] or {}
    return {
        "budget": budget,
        "seconds": ran.seconds,
        "others_cores": busy,
        "strategy": ran.result["strategy"],
        "backbone": ran.result["backbone"],
        "input_size": ran.result["plan"]["input_size"],
        "features": ran.result["plan"].get("frozen_features"),
        "kept": tuning.get("kept"),
        "steps": tuning.get("steps"),
        "stopped": tuning.get("stopped"),
        "val_accuracy": round(ran.result["metrics"]["val_accuracy"], 4),
        "predicted": predicted,
    }


def run_peer(tool: str, budgets: Sequence[int], seed: int, place: Path) -> Iterator[Row]:
    """One process of a recipe; its answers as they come."""
    script = Path(__file__).resolve().with_name("frontier_peers.py")
    options = ["--seed", seed, "--started", time.time(), "--budgets", *budgets]
    others = Others()
    command = [str(each) for each in (sys.executable, script, tool, place, *options)]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                answer = json.loads(line)
                yield {**answer, "budget": int(answer["budget"]), "others_cores": others.cores(process.pid)}
    if process.returncode:
        raise SystemExit(f"{tool} ended with {process.returncode}")


class Others:
    """What other processes keep busy, from now on (Linux)."""

    def __init__(self) -> None:
        self.began, self.all, self.ours = time.perf_counter(), self._busy(), self._own()

    def cores(self, child: int | None = None) -> float:
        """How many cores, on average until now, without this process, its children that have ended, and ``child``."""
        ours = self._own() - self.ours
        if child is not None:
            user, system = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]
            ours += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        return round(max(0.0, self._busy() - self.all - ours) / (time.perf_counter() - self.began), 2)

    @staticmethod
    def _busy() -> float:
        user, nice, system = (int(each) for each in Path("/proc/stat").read_text().split()[1:4])
        return (user + nice + system) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _own() -> float:
        usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def means(rows: Sequence[Row]) -> dict[tuple[str, int], dict[str, float]]:
    """Mean accuracy of the seeds in percent, by images and budget, then by tool."""
    cells: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows:
        cell = cells.setdefault((row["images"], row["budget"]), {})
        cell.setdefault(row["tool"], []).append(100 * row["accuracy"])
    return {key: {tool: mean(all_of) for tool, all_of in cell.items()} for key, cell in cells.items()}


def in_words(rows: Sequence[Row]) -> str:
    """A table of accuracies and of tlkit's leads in Markdown, and late runs."""
    peers = TOOLS[1:]
    lines = [f"| images, budget | {' | '.join(TOOLS)} | {' | '.join(f'lead over {peer}' for peer in peers)} |"]
    lines.append("|---" * (1 + len(TOOLS) + len(peers)) + "|")
    leads: dict[tuple[int, str], list[float]] = {}
    for (images, budget), cell in means(rows).items():
        shown = [f"{cell[tool]:.1f}%" if tool in cell else "" for tool in TOOLS]
        for peer in peers:
            if "tlkit" in cell and peer in cell:
                leads.setdefault((budget, peer), []).append(cell["tlkit"] - cell[peer])
                shown.append(f"{leads[budget, peer][-1]:+.1f}")
            else:
                shown.append("")
        lines.append(f"| {images}, {budget} s | {' | '.join(shown)} |")
    for budget in sorted({budget for budget, _ in leads}):
        found = [f"{mean(leads[budget, peer]):+.1f}" if (budget, peer) in leads else "" for peer in peers]
        lines.append(f"| mean lead, {budget} s | {' | '.join([''] * len(TOOLS) + found)} |")
    late = [row for row in rows if row["seconds"] > row["budget"]]
    lines += ["", f"{len(late)} of {len(rows)} runs ended after their budget:"]
    lines += [f"- {row['tool']}, {row['images']}: {row['seconds']:.1f} s of {row['budget']} s" for row in late]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
