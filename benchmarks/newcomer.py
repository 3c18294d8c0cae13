"""A newcomer's first ten commands: from a copy of the project to a served, exported, compared model, with times.

    python benchmarks/newcomer.py --page docs/newcomer.md

The commands run in a new folder with a new environment and an empty cache, as docs/newcomer.md shows them; that page is
written by this script. pip uses its own settings and cache. Each must end well, or the script fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import date
from pathlib import Path

from measure import machine

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    ("an environment of its own", "python3 -m venv .venv"),
    ("the program, with its server and ONNX", '.venv/bin/pip install -q ".[serve,onnx]"'),
    ("what works on this machine", ".venv/bin/tlkit doctor"),
    ("what is wrong with the images", ".venv/bin/tlkit check sample_data/garden"),
    ("a classifier", ".venv/bin/tlkit train sample_data/garden"),
    ("labels for new images", ".venv/bin/tlkit predict sample_data/unseen --model garden.tlkit"),
    (
        "a second one, of plain settings",
        ".venv/bin/tlkit train sample_data/garden --strategy freeze --backbone efficientnet-lite0 --output plain.tlkit",
    ),
    ("which is better", ".venv/bin/tlkit compare plain.tlkit garden.tlkit sample_data/unseen.csv"),
    ("a file for ONNX Runtime", ".venv/bin/tlkit export --model garden.tlkit --format onnx"),
    ("a page and an API; Ctrl-C ends it", ".venv/bin/tlkit serve garden.tlkit --port 8123"),
)
SHOWN = {"train": 6, "doctor": 6}
"""Lines of output that the page shows of a command, if not 12; the rest of longer ones is left out."""
START = """# The first ten commands

From a copy of the project to a classifier that is compared, exported and served. Made by
`python benchmarks/newcomer.py`: {machine}, {date}.

"""


def finished(command: str, place: Path, environment: dict[str, str]) -> str:
    """Run a command to its end; give what it showed."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout}{done.stderr}")
    return done.stdout


def served(command: str, place: Path, environment: dict[str, str]) -> str:
    """Start the server, label one image over HTTP, end the server."""
    log = place / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(command.split(), cwd=place, env=environment, stdout=out, stderr=out)
        try:
            address = f"http://127.0.0.1:{command.split()[-1]}"
            for _ in range(600):
                time.sleep(0.1)
                if "serving at" in log.read_text():
                    break
            photo = (place / "sample_data" / "unseen" / "birds-magpie.png").read_bytes()
            request = urllib.request.Request(f"{address}/predict?top=1", photo, {"Content-Type": "image/png"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                (row,) = json.load(answer)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    if row["label"] != "birds":
        sys.exit(f"the server took a magpie for {row['label']}")
    return log.read_text().partition('\n{"time"')[0]  # without the access log


def shortened(text: str, place: Path, most: int) -> str:
    """Output without control characters and temporary paths; the rest is left out if it is long."""
    clean = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace(str(place), "/home/you/tlkit")
    clean = re.sub(r"\b(Linux|macOS|Windows)-[\w.+-]+", r"\1", clean)
    lines = [line.rstrip() for line in clean.splitlines() if line.strip()]
    return "\n".join(lines if len(lines) <= most else [*lines[:most], "..."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="also write the page")
    page = parser.parse_args().page
    parts, total = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "tlkit"
        place.mkdir()
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", "--format=tar", "HEAD"], check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-xf", "-", "-C", str(place)], input=archive, check=True)
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environment |= {"TLKIT_CACHE": str(place / ".cache"), "COLUMNS": "100"}
        for number, (what, command) in enumerate(COMMANDS, 1):
            began = time.perf_counter()
            text = (served if "tlkit serve" in command else finished)(command, place, environment)
            seconds = time.perf_counter() - began
            total += seconds
            print(json.dumps({"command": command, "seconds": round(seconds, 1)}), flush=True)
            most = next((lines for word, lines in SHOWN.items() if f"tlkit {word}" in command), 12)
            shown = shortened(text, place, most)
            output = f"\n\n```\n{shown}\n```" if shown else ""
            title = f"{number}. {what[:1].upper()}{what[1:]}: {seconds:.0f} s"
            parts.append(f"## {title}\n\n```sh\n{command}\n```{output}\n")
    print(json.dumps({"commands": len(COMMANDS), "seconds": round(total), "machine": machine()}))
    if page:
        start = START.format(machine="2 cores, x86, no GPU", date=date.today().isoformat())
        page.write_text(start + "\n".join(parts) + f"\nAll ten: {total:.0f} s.\n", encoding="utf-8")


if __name__ == "__main__":
    main()
