"""Attack the reader with damaged images, by hand and for as long as you like; pytest does not collect it.

    python tests/images/fuzz_read.py                    five minutes of random damage
    python tests/images/fuzz_read.py --seconds 3600 --seed 7
    python tests/images/fuzz_read.py --atheris -max_total_time=600

With ``--atheris``, and Atheris installed, coverage of the Python code guides the damage; what follows goes to
libFuzzer. An input that breaks the reader's promise, a whole RGB image or `UnreadableImage`, is written to
``crash-*`` in the current folder and its traceback is shown. A crash of a decoder itself ends the process: the input
it was reading is left in ``fuzz-last``.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import corpus  # noqa: E402
import numpy as np  # noqa: E402

from tlkit.images.opening import RefusedError  # noqa: E402
from tlkit.images.read import UnreadableImage, read_details  # noqa: E402

SIZE = (24, 36)
SLOW_SECONDS = 5.0


def check(data: bytes) -> bool:
    """Read `data`; True if it is an image. Whatever else than a refusal goes wrong is raised."""
    started = time.monotonic()
    try:
        image = read_details(data, SIZE)
    except UnreadableImage as error:
        cause = error.__cause__
        last = traceback.extract_tb(cause.__traceback__)[-1] if cause else None
        ours = last is not None and "tlkit/images" in Path(last.filename).as_posix()
        if ours and not isinstance(cause, RefusedError):
            raise
        return False
    finally:
        if time.monotonic() - started > SLOW_SECONDS:
            raise TimeoutError(f"took more than {SLOW_SECONDS} s")
    assert image.pixels.shape == (*SIZE, 3)
    assert image.pixels.dtype == np.uint8
    return True


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Change a few bytes of an image, and cut, drop or repeat a part of it at times."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        reach = chance.choice((64, 512, len(changed)))
        place = chance.randrange(min(reach, len(changed)))
        changed[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256), changed[place] ^ 1))
    start, end = sorted(chance.randrange(len(changed) + 1) for _ in range(2))
    kind = chance.randrange(8)
    if kind == 0:
        del changed[end:]
    elif kind == 1:
        del changed[start:end]
    elif kind == 2:
        changed[end:end] = changed[start:end]
    return bytes(changed)


def random_loop(seconds: float, seed: int) -> int:
    """Damage images of the corpus at random; give how many inputs broke the promise."""
    chance = random.Random(seed)
    seeds = [case.data for case in corpus.good().values()]
    tried = images = broken = 0
    last = Path("fuzz-last")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = damaged(chance.choice(seeds), chance)
        last.write_bytes(data)
        tried += 1
        try:
            images += check(data)
        except Exception:
            broken += 1
            path = Path(f"crash-{hashlib.sha256(data).hexdigest()[:12]}")
            path.write_bytes(data)
            print(f"{path}:\n{traceback.format_exc()}", file=sys.stderr)
    last.unlink(missing_ok=True)
    print(f"{tried} inputs, {images} still images, {broken} broken promises")
    return broken


def guided(arguments: list[str]) -> None:
    """Let Atheris choose the damage."""
    try:
        import atheris
    except ImportError:
        sys.exit("error: atheris is not installed\nhint: pip install atheris, or leave --atheris out")
    seeds = Path("fuzz-seeds")
    corpus.write(seeds)
    atheris.instrument_all()

    def one(data: bytes) -> None:
        check(bytes(data))

    atheris.Setup([sys.argv[0], *arguments, str(seeds / "good")], one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description="attack the image reader with damaged images")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="let Atheris guide the damage")
    options, rest = parser.parse_known_args()
    if options.atheris:
        guided(rest)
    else:
        sys.exit(random_loop(options.seconds, options.seed) > 0)


if __name__ == "__main__":
    main()
