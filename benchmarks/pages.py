"""What a browser finds wrong with HTML pages: one row a page.

    pip install axe-core-python html5lib
    python benchmarks/pages.py report.html more.html [--shots DIR]

Each page is opened by Chromium at 400 and 1,200 pixels, light and dark. A row says its size, the violations that
axe-core finds (rules and their impact), errors of an HTML parser as strict as the standard, what scrolls sideways,
errors in the browser's console, and requests to anywhere else. ``--shots`` keeps the screenshots. Exit code 1 if
anything is found.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from chromium import Chromium

WIDTHS, SCHEMES, HEIGHT = (400, 1200), ("light", "dark"), 900


@dataclass(frozen=True)
class Looked:
    """What was found on one page."""

    name: str
    kilobytes: float
    problems: tuple[str, ...]

    @property
    def row(self) -> str:
        """A row of the table."""
        return f"| {self.name} | {self.kilobytes:,.0f} kB | {'; '.join(self.problems) or 'nothing'} |"


def parse_errors(text: str) -> list[str]:
    """Errors of the HTML standard's parser, each with its line."""
    import html5lib

    parser = html5lib.HTMLParser(strict=False)
    parser.parse(text)
    return [f"line {place[0]}: {code}" for place, code, _ in parser.errors]


def axe_source() -> str:
    """The script of axe-core."""
    spec = importlib.util.find_spec("axe_core_python")
    assert spec is not None, "pip install axe-core-python"
    assert spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def looked_at(tab: Chromium, page: Path, axe: str, shots: Path | None) -> Looked:
    """Open a page in every size and scheme."""
    text = page.read_text(encoding="utf-8")
    problems = [f"HTML {each}" for each in parse_errors(text)[:5]]
    name = f"{page.parent.name}/{page.name}" if page.name == "report.html" else page.name
    for width in WIDTHS:
        for scheme in SCHEMES:
            where = f"{width} px, {scheme}"
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            tab.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=HEIGHT,
                deviceScaleFactor=1,
                mobile=width < 600,
            )
            tab.call("Emulation.setEmulatedMedia", features=features)
            tab.events.clear()
            tab.open(page.absolute().as_uri())
            wide = tab.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                problems.append(f"{where}: {wide} px wide")
            problems += sorted(
                {f"asks for {each[:80]}" for each in tab.requests() if not each.startswith(("file:", "data:"))}
            )
            problems += [f"{where}: console" for each in tab.events if each["method"] == "Runtime.exceptionThrown"]
            tab.evaluate(axe)
            found = tab.evaluate("axe.run().then((its) => its.violations.map((v) => `${v.id} (${v.impact})`))")
            problems += [f"{where}: {each}" for each in found]
            if shots is not None:
                stem = name.replace("/", "-").removesuffix(".html")
                tab.screenshot(shots / f"{stem}-{width}-{scheme}.png", width, HEIGHT, scheme)
    return Looked(name, page.stat().st_size / 1000, tuple(problems))


def main() -> None:
    """Look at the pages and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--shots", type=Path)
    options = parser.parse_args()
    if options.shots is not None:
        options.shots.mkdir(exist_ok=True)
    axe = axe_source()
    with Chromium() as tab:
        rows = [looked_at(tab, page, axe, options.shots) for page in options.pages]
    print("| page | size | found |\n|---|---|---|")
    print("\n".join(each.row for each in rows))
    sys.exit(any(each.problems for each in rows))


if __name__ == "__main__":
    main()
