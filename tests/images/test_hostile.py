"""Images made to harm are refused by their header, or read without harm. Here with small files and small limits."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

from tlkit.images import budget, claims, png, read
from tlkit.images.batches import load_image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
SIZE = (64, 64)


@pytest.fixture(scope="module")
def hostile() -> ModuleType:
    folder = Path(__file__).parent
    spec = util.spec_from_file_location("hostile_images", folder / "hostile.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    module.SIDE, module.SCALE = 1700, 0.02
    return module


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget.decoding, "total", 8 << 20)
    monkeypatch.setattr(claims, "MAX_PLAIN", 100_000)
    monkeypatch.setattr(claims, "MAX_METADATA", 1_000_000)
    monkeypatch.setattr(claims, "MAX_SCANS", 30)
    monkeypatch.setattr(png, "MAX_CHUNKS", 10_000)


@pytest.mark.usefixtures("small_limits")
def test_each_is_refused_for_its_reason_or_read_at_once(hostile: ModuleType, tmp_path: Path) -> None:
    found = hostile.hostile()
    assert len(found) >= 35
    for path in hostile.write(tmp_path, list(found)):
        start = time.monotonic()
        why = load_image(path, SIZE).error or ""
        expected = found[path.name][0]
        assert why.startswith(expected), (path.name, why)
        assert bool(why) == bool(expected), (path.name, why)
        assert time.monotonic() - start < 3, path.name


SCRIPT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from PIL import Image
from tlkit.images.batches import load_image
Image.init()
paths = sorted(Path(sys.argv[1]).iterdir())
def kib(name): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
before = kib("VmRSS")
with ThreadPoolExecutor(8) as pool:
    rows = list(pool.map(lambda path: load_image(path, (64, 64)), paths * 2))
print((kib("VmHWM") - before) // 1024)
"""


def test_eight_threads_together_stay_below_the_limit(hostile: ModuleType, tmp_path: Path) -> None:
    """At the true limit, with images that need most of it: each alone would do, all together would not."""
    side = 6000
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(hostile.flat_png(side, 8, 6, 4))
    (tmp_path / "forged.jp2").write_bytes(hostile.hostile()["huge.jp2"][1]())
    root = str(Path(read.__file__).parents[2])
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": root},
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert 200 < int(ran.stdout) < 450


def test_a_thread_that_wants_more_waits_and_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, order = budget.Budget(100), []

    def take(count: int) -> None:
        with pool.hold(count):
            order.append(count)
            time.sleep(0.01)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(take, [60, 60, 30, 1000, 10, 60] * 3))
    assert sorted(order) == sorted([60, 60, 30, 1000, 10, 60] * 3)
    assert pool._held == 0
