"""What the site needs beyond the pages in docs/: those beside it, and links to code.

README, changes and measurements lie outside docs/. They become pages, and links from and to them follow. A link to any
other file of the project leads to the file on the project's page.
"""

from __future__ import annotations

import configparser
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
FENCE = re.compile(r"^ *(```+|~~~+)")
SHIM = re.compile(r"https://unpkg\.com/iframe-worker/shim[^\"'>\s]*")
INFO = re.compile(r"^( *```+)(\w+) [^`]*$")


def repository() -> str:
    """The address of the project's files."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return f"{parser['metadata']['url']}/blob/main"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie beside docs/."""
    from mkdocs.structure.files import File

    for name in BESIDE:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point links at pages of the site, or at files of the project; leave words after a block's language out."""
    del config
    name = page.file.src_uri
    place = name if name in BESIDE else f"docs/{name}"
    lines, fence = [], ""
    for line in markdown.split("\n"):
        opened = FENCE.match(line)
        if fence:
            if opened and line.strip() == fence:
                fence = ""
            lines.append(line)
        elif opened:
            fence = opened.group(1)
            lines.append(INFO.sub(r"\1\2", line))
        else:
            lines.append(LINK.sub(lambda its: _link(its, place, name, files), line))
    return "\n".join(lines)


def _link(its: re.Match[str], place: str, name: str, files: Any) -> str:
    start, target, anchor, end = its.group(1), its.group(2), its.group(3) or "", its.group(4)
    if re.match(r"[a-z]+:", target):
        return its.group()
    file = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    source = file.removeprefix("docs/") if file.startswith("docs/") else file
    page = files.get_file_from_path(source) if file in BESIDE or file.startswith("docs/") else None
    if page is not None and page.inclusion.is_included():
        return start + posixpath.relpath(source, posixpath.dirname(name) or ".") + anchor + end
    if (ROOT / file).exists():
        return f"{start}{repository()}/{file}{end}"
    return its.group()


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Take our own stand-in for workers, which the plugin for use from files would load from elsewhere."""
    del config
    return SHIM.sub(posixpath.relpath("assets/worker.js", posixpath.dirname(page.file.dest_uri) or "."), output)


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """The same on the page of an address that is not there."""
    del template_name, config
    return SHIM.sub("assets/worker.js", output_content)
