"""Whether the OpenAPI document of ``tlkit serve`` is true: schemathesis sends what it allows, and what it does not.

    pip install schemathesis
    python benchmarks/serve_schema.py BUNDLE [--examples 100]

All checks of schemathesis, without and with a token. Bodies are real images in several formats and sizes,
since the document says that images are accepted. The exit code is schemathesis's.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from PIL import Image

TOKEN = "a-token-of-some-length"
HOOKS = "SCHEMATHESIS_HOOKS"


def images() -> list[bytes]:
    found = []
    for number, (kind, mode) in enumerate(
        [("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("GIF", "P"), ("BMP", "RGB")]
    ):
        file = io.BytesIO()
        Image.effect_noise((20 + 40 * number, 30), 50).convert(mode).save(file, kind)
        found.append(file.getvalue())
    return found


def register() -> None:
    """Teach schemathesis what an image is; called when it imports this file."""
    import schemathesis
    from hypothesis import strategies as st

    pictures = st.sampled_from(images())
    for kind in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, pictures)
    schemathesis.openapi.format("image", pictures.map(lambda data: data.decode("latin-1")))
    schemathesis.openapi.format("image-base64", pictures.map(lambda data: base64.b64encode(data).decode()))


def main() -> int:
    from serving import serving

    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--examples", type=int, default=100)
    given = parser.parse_args()
    tool = os.environ.get("SCHEMATHESIS", str(Path(sysconfig.get_path("scripts")) / "schemathesis"))
    environment = {**os.environ, HOOKS: Path(__file__).stem, "PYTHONPATH": str(Path(__file__).resolve().parent)}
    code = 0
    for options, headers in (((), ()), (("--token", TOKEN), ("-H", f"Authorization: Bearer {TOKEN}"))):
        with serving(given.bundle, *options) as server:
            command = [tool, "run", f"{server.url}/openapi.json", "--checks", "all", *headers]
            command += ["--max-examples", str(given.examples), "--seed", "1", "--continue-on-failure", "--no-color"]
            with tempfile.TemporaryDirectory() as place:  # where it would leave a report
                code = subprocess.run(command, cwd=place, env=environment, check=False).returncode or code
    return code


if __name__ == "__main__":
    sys.exit(main())
if HOOKS in os.environ:
    register()
