"""Makes the sample images from Debian's package tuxpaint-stamps-default 2022.06.04-1.

    apt-get download tuxpaint-stamps-default=2022.06.04-1
    dpkg -x tuxpaint-stamps-default_2022.06.04-1_all.deb stamps
    python sample_data/make.py stamps

Writes ``garden/<class>/<name>.png`` and ``unseen/<class>-<name>.png``. The same package and the same Pillow
give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from PIL import Image

STAMPS = Path("usr/share/tuxpaint/stamps")
CLASSES = {
    "birds": "animals/birds",
    "flowers": "plants/flowers",
    "fruit": "food/fruit",
    "vegetables": "food/vegetables",
}
LONGEST_SIDE = 256
UNSEEN_PER_CLASS = 2
SEED = "tlkit-garden-1"

# The package's change log gives these a licence of their own, or takes them from a site with its own terms.
OTHER_LICENCE = {
    "birds/helmeted_guineafowl": "GFDL, Paul Venter",
    "birds/heron_greatblue": "CC BY-SA 2.5, Erinn Lynch",
    "birds/heron_greatblue_flying": "CC BY-SA 2.5, Erinn Lynch",
    "birds/pelican": "CC BY-SA 2.5, Erinn Lynch",
    "flowers/adeenia": "CC BY-SA 3.0, VHSS Irimpanam school",
    "flowers/anthoorium": "CC BY-SA 3.0, VHSS Irimpanam school",
    "flowers/appooppanthady": "CC BY-SA 3.0, VHSS Irimpanam school",
    "flowers/bolsom": "CC BY-SA 3.0, VHSS Irimpanam school",
    "flowers/chemparathi": "CC BY-SA 3.0, VHSS Irimpanam school",
    "fruit/Apricot_whole": "GFDL, Benjamint444",
    "fruit/Cherry_Stella": "GFDL, Benjamint444",
    "fruit/Strawberry2": "GFDL, Benjamint444",
    "fruit/grapes": "from the stock photo site sxc.hu",
    "fruit/sliced_lime": "from the stock photo site sxc.hu",
    "fruit/sliced_orange": "from the stock photo site sxc.hu",
}
NOT_A_PHOTOGRAPH = {
    "birds/quetzal": "looks painted or heavily retouched",
}
# Images made from one photograph. They all stay in garden, where the draw for unseen cannot reach them.
TWINS = {
    "fruit/apple_green": "the same apple as apple_red, recoloured",
    "fruit/apple_red": "the same apple as apple_green, recoloured",
}


def main() -> None:
    """Read the command line and make the images."""
    parser = argparse.ArgumentParser(description="Make tlkit's sample images from Tux Paint's stamps.")
    parser.add_argument("package", type=Path, help="the unpacked package, the folder that holds usr/")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parent,
        help="where garden/ and unseen/ go (default: here)",
    )
    options = parser.parse_args()
    stamps = options.package / STAMPS
    if not stamps.is_dir():
        parser.error(f"{options.package} holds no {STAMPS}")
    sources = {name: find_photographs(name, stamps / folder) for name, folder in CLASSES.items()}
    found = {f"{name}/{file.stem}" for name, files in sources.items() for file in files}
    missing = sorted({*OTHER_LICENCE, *NOT_A_PHOTOGRAPH, *TWINS} - found)
    if missing:
        parser.error(f"another version of the package: it has no {', '.join(missing)}")
    for name, files in sources.items():
        used = [f for f in files if f"{name}/{f.stem}" not in {*OTHER_LICENCE, *NOT_A_PHOTOGRAPH}]
        write_class(name, used, options.output)


def find_photographs(name: str, folder: Path) -> list[Path]:
    """List a class's PNG files, by name; its folders (cartoon, plastic) and SVG files are no photographs."""
    files = sorted(folder.glob("*.png"))
    if not files:
        sys.exit(f"error: no images of {name} in {folder}")
    return files


def write_class(name: str, files: list[Path], output: Path) -> None:
    """Write one class's images to ``garden`` and, of those drawn, to ``unseen``."""
    garden, unseen = output / "garden" / name, output / "unseen"
    garden.mkdir(parents=True, exist_ok=True)
    unseen.mkdir(parents=True, exist_ok=True)
    for old in (*garden.glob("*.png"), *unseen.glob(f"{name}-*.png")):
        old.unlink()
    drawn = draw_unseen(name, files)
    for file in files:
        target = unseen / f"{name}-{file.name}" if file in drawn else garden / file.name
        shrink(file, target)
    sys.stdout.write(f"{name}: {len(files) - len(drawn)} in garden, {len(drawn)} unseen\n")


def draw_unseen(name: str, files: list[Path]) -> set[Path]:
    """Draw by the SHA-256 of seed, class and name: the lowest win, on every version of Python."""
    candidates = [file for file in files if f"{name}/{file.stem}" not in TWINS]
    candidates.sort(key=lambda file: hashlib.sha256(f"{SEED}/{name}/{file.stem}".encode()).digest())
    return set(candidates[:UNSEEN_PER_CLASS])


def shrink(source: Path, target: Path) -> None:
    """Save an image as RGBA, its longer side at most ``LONGEST_SIDE`` pixels, without metadata."""
    with Image.open(source) as opened:
        image = opened.convert("RGBA")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    clean = Image.frombytes("RGBA", image.size, image.tobytes())
    clean.save(target, "PNG", optimize=True)


if __name__ == "__main__":
    main()
