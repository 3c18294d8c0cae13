"""Check what an installation of tlkit put into the environment: the package, and nothing that does not belong there."""

from __future__ import annotations

import importlib.metadata
import sys

NEEDED = (
    "tlkit/py.typed",
    "tlkit/report/templates/base.html",
    "tlkit/serve/page/serve.js",
    "tlkit/formats/page/page.css",
)

its = importlib.metadata.distribution("tlkit")
files = [each.as_posix() for each in its.files or ()]
strange = [each for each in files if not each.startswith(("tlkit/", "tlkit-")) and "/bin/tlkit" not in f"/{each}"]
strange = [each for each in strange if not each.lower().endswith("scripts/tlkit.exe")]
missing = [each for each in NEEDED if each not in files]
missing += [name for name in ("LICENSE", "NOTICE") if not any(each.endswith(name) for each in files)]
if strange or missing:
    sys.exit(f"strange: {strange}\nmissing: {missing}")
sys.stdout.write(f"{len(files)} files, all of tlkit\n")
