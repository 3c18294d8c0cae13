"""What `tlkit.images.read` makes of every kind of file."""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlkit.errors import TlkitError
from tlkit.images import budget, formats, modes, opening, read
from tlkit.images.read import UnreadableImage, read_details, read_image


def difference(one: np.ndarray, other: np.ndarray) -> int:
    """The largest difference between two arrays of the same shape."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


def test_good_image_reads_as_what_was_drawn(good_image: Any) -> None:
    image = read_details(good_image.data)
    assert image.pixels.dtype == np.uint8
    assert difference(image.pixels, good_image.pixels) <= good_image.tolerance
    assert (image.format, image.frames) == (good_image.format, good_image.frames)
    assert (image.height, image.width) == good_image.pixels.shape[:2]
    assert image.orientation == good_image.orientation


def test_bad_image_is_refused_with_its_reason(bad_image: Any) -> None:
    with pytest.raises(UnreadableImage) as caught:
        read_image(bad_image.data, size=(32, 32))
    assert re.search(bad_image.reason, caught.value.reason)
    assert len(caught.value.reason) < 60
    _assert_not_our_defect(caught.value)


def _assert_not_our_defect(error: UnreadableImage) -> None:
    """What Pillow raised is a bad file; what our own lines raised, other than on purpose, is a defect."""
    cause = error.__cause__
    assert cause is not None
    if isinstance(cause, opening.RefusedError):
        return
    trace = cause.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    assert Path(trace.tb_frame.f_code.co_filename).parent != Path(read.__file__).parent, repr(cause)


def test_path_string_and_bytes_read_alike(corpus_files: Any) -> None:
    for path in corpus_files[0]:
        expected = read_image(path.read_bytes())
        np.testing.assert_array_equal(read_image(path), expected)
        np.testing.assert_array_equal(read_image(str(path)), expected)


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (224, 224), (300, 20)])
def test_asked_size_is_exact_for_every_image(corpus: ModuleType, size: tuple[int, int]) -> None:
    for case in corpus.good().values():
        image = read_details(case.data, size)
        assert image.pixels.shape == (*size, 3), case.name
        assert (image.height, image.width) == case.pixels.shape[:2], case.name


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_impossible_size_is_the_callers_mistake(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1x1"):
        read_image(b"", size)


def test_pixels_cannot_be_changed_by_accident(corpus: ModuleType) -> None:
    for name in ("plain.jpg", "plain.png", "deep16.png", "turn6.jpg"):
        with pytest.raises(ValueError, match="read-only"):
            read_image(corpus.good()[name].data)[0, 0] = 0


@pytest.mark.parametrize("turn", range(1, 9))
def test_turned_photo_is_upright_at_a_smaller_size(corpus: ModuleType, turn: int) -> None:
    upright = corpus.quarters(1200, 1800)
    tags = corpus.exif(turn)
    data = corpus.encode(corpus.stored(upright, turn), "JPEG", exif=tags, quality=95)
    image = read_details(data, (64, 96))
    assert (image.width, image.height, image.orientation) == (1800, 1200, turn)
    # Compared inside the quarters: at the edges the scaled decoding smears a little.
    expected = corpus.quarters(64, 96)
    for rows, columns in ((slice(2, 30), slice(2, 30)), (slice(34, 62), slice(34, 94))):
        assert difference(image.pixels[rows, columns], expected[rows, columns]) <= 4


def _sizes_decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    sizes: list[tuple[int, int]] = []

    def spy(image: Image.Image) -> Image.Image:
        sizes.append(image.size)
        return modes.to_rgb_or_grey(image)

    monkeypatch.setattr(read, "to_rgb_or_grey", spy)
    return sizes


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(100, 100), (224, 224), (50, 300), (280, 380)])
@pytest.mark.parametrize("turn", [1, 6])
def test_large_jpeg_is_decoded_small_but_at_twice_the_size(
    corpus: ModuleType, monkeypatch: pytest.MonkeyPatch, mode: str, size: tuple[int, int], turn: int
) -> None:
    image = Image.fromarray(corpus.photo(1201, 1603))
    data = corpus.encode(image.convert(mode), "JPEG", quality=95, exif=corpus.exif(turn))
    sizes = _sizes_decoded(monkeypatch)
    small = read_image(data, size)
    whole = Image.fromarray(read_image(data)).resize(size[::-1], Image.Resampling.BICUBIC)
    width, height = sizes[0][::-1] if turn == 6 else sizes[0]
    assert width >= 2 * size[1]
    assert height >= 2 * size[0]
    if max(size) <= 224:
        assert width * height <= 1201 * 1603 / 3
    assert np.abs(small.astype(int) - np.asarray(whole)).mean() < 1.5


def test_shrinking_does_not_alias(corpus: ModuleType) -> None:
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    for format in ("PNG", "BMP"):
        small = read_image(corpus.encode(stripes, format), (64, 64))
        assert difference(small, np.full((64, 64, 3), 127, np.uint8)) <= 2


def test_cmyk_jpeg_and_cmyk_tiff_have_the_same_colours(corpus: ModuleType) -> None:
    inverted, plain = (read_image(corpus.good()[name].data) for name in ("cmyk-adobe.jpg", "cmyk.tif"))
    assert difference(inverted, plain) <= 6


def test_icc_profile_changes_nothing(corpus: ModuleType) -> None:
    rgb = corpus.photo(40, 40)
    swapped = b"\0" * 128
    with_profile = corpus.encode(rgb, "PNG", icc_profile=swapped)
    np.testing.assert_array_equal(read_image(with_profile), rgb)


def test_whole_but_for_its_last_bytes_is_whole_or_refused(corpus: ModuleType) -> None:
    whole, refused = 0, 0
    for case in corpus.good().values():
        for cut in (1, 2, 5, 12):
            if cut >= len(case.data) or case.frames > 1:
                continue
            try:
                pixels = read_image(case.data[:-cut])
            except UnreadableImage:
                refused += 1
            else:
                whole += 1
                assert difference(pixels, case.pixels) <= case.tolerance, case.name
    assert whole > 20
    assert refused > 100


def test_zeros_after_a_whole_jpeg_do_no_harm_and_zeros_within_do(corpus: ModuleType) -> None:
    jpeg = corpus.encode(corpus.photo(200, 200), "JPEG")
    np.testing.assert_array_equal(read_image(jpeg + bytes(500)), read_image(jpeg))
    for part in (0.5, 0.9):
        kept = int(len(jpeg) * part)
        with pytest.raises(UnreadableImage, match="truncated"):
            read_image(jpeg[:kept] + bytes(len(jpeg) - kept))
    # At high quality a zero stands for less than the bytes it replaces, and the decoder gets to the end.
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    jpeg = corpus.encode(noise, "JPEG", quality=100)
    zeros = len(jpeg) // 3
    Image.open(io.BytesIO(jpeg[:-zeros] + bytes(zeros))).load()
    with pytest.raises(UnreadableImage, match="truncated"):
        read_image(jpeg[:-zeros] + bytes(zeros))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.jpg", "no such file"), ("", "a folder"), ("plain.jpg/x", "no such file"), ("a\0b", "null")],
)
def test_path_without_a_file(tmp_path: Path, corpus: ModuleType, name: str, reason: str) -> None:
    (tmp_path / "plain.jpg").write_bytes(corpus.good()["plain.jpg"].data)
    with pytest.raises(UnreadableImage, match=reason) as caught:
        read_image(os.path.join(tmp_path, name))  # noqa: PTH118 - Path drops an empty name
    assert caught.value.source is not None
    assert str(tmp_path) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnreadableImage, match="not a regular file"):
        read_image(tmp_path / "pipe.jpg")


def test_forbidden_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"x")

    def forbid(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tlkit.images.opening.open", forbid, raising=False)
    with pytest.raises(UnreadableImage, match="permission denied"):
        read_image(tmp_path / "secret.jpg")


def test_no_memory_left(corpus: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(read, "to_rgb_or_grey", fail)
    with pytest.raises(UnreadableImage, match="too large for the available memory"):
        read_image(corpus.good()["plain.jpg"].data)


def test_our_own_limit_holds_when_pillow_has_none(corpus: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(UnreadableImage, match="too large: 20000x20000 pixels"):
        read_image(corpus.bad()["bomb20000x20000.png"].data)


def test_error_says_which_file_and_survives_a_process_border(tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_bytes(b"Dear all,")
    with pytest.raises(TlkitError) as caught:
        read_image(tmp_path / "letter.jpg")
    error = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(error, UnreadableImage)
    assert str(error) == f"cannot read {tmp_path / 'letter.jpg'}: not an image"
    assert (error.reason, error.hint) == ("not an image", None)


HEIC_HEADER = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(100)


def test_heic_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats.register_heif.cache_clear()
    try:
        with pytest.raises(UnreadableImage, match="HEIC images require the extra 'heif'") as caught:
            read_image(HEIC_HEADER)
    finally:
        formats.register_heif.cache_clear()
    assert caught.value.hint == 'pip install "tlkit[heif]"'


def test_heic_with_the_extra_reads(corpus: ModuleType) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(corpus.quarters(64, 96))).save(buffer, quality=100, chroma=444)
    image = read_details(buffer.getvalue())
    assert image.format == "HEIC"
    assert np.abs(image.pixels.astype(int) - corpus.quarters(64, 96)).mean() < 4
    with pytest.raises(UnreadableImage):
        read_image(buffer.getvalue()[:-200])


def test_format_the_installed_pillow_lacks(corpus: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "decodable", lambda: ("JPEG", "PNG"))
    with pytest.raises(UnreadableImage, match="the installed Pillow cannot read GIF") as caught:
        read_image(corpus.good()["plain.gif"].data)
    assert caught.value.hint == "pip install --upgrade pillow"


def test_threads_read_what_one_thread_reads(corpus_files: Any) -> None:
    good, bad = corpus_files

    def look(path: Path) -> Any:
        try:
            return read_image(path, (32, 32)).tobytes()
        except UnreadableImage as error:
            return error.reason

    paths = [*good, *bad]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(look, paths))
    assert together == [look(path) for path in paths]


def test_threads_share_the_memory_for_decoding(corpus: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def slow(image: Image.Image) -> Image.Image:
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with guard:
            inside -= 1
        return modes.to_rgb_or_grey(image)

    monkeypatch.setattr(read, "to_rgb_or_grey", slow)
    for name, each in (("plain.png", 4 * 48 * 32), ("plain.jpg", 4 * 48 * 32), ("lossless.webp", 20 * 48 * 32)):
        data = [case.data for case in corpus.good().values() if case.name == name] * 6
        for total, expected in ((6 * each, range(2, 7)), (2 * each - 1, range(1, 2))):
            monkeypatch.setattr(budget.decoding, "total", total)
            most = 0
            with ThreadPoolExecutor(6) as pool:
                list(pool.map(read_image, data))
            assert most in expected or not data, name


@pytest.mark.parametrize("progressive", [False, True])
def test_progressive_jpeg_takes_memory_even_when_decoded_small(
    corpus: ModuleType, monkeypatch: pytest.MonkeyPatch, progressive: bool
) -> None:
    data = corpus.encode(corpus.photo(900, 900), "JPEG", progressive=progressive)
    monkeypatch.setattr(budget.decoding, "total", 1_000_000)
    if progressive:
        with pytest.raises(UnreadableImage, match="too large: decoding takes"):
            read_image(data, (100, 100))
    else:
        read_image(data, (100, 100))
    with pytest.raises(UnreadableImage, match="too large: decoding takes"):
        read_image(data)


def test_within_keeps_the_aspect_and_never_enlarges(corpus: ModuleType) -> None:
    for turn in (1, 6):
        data = corpus.encode(corpus.stored(corpus.photo(600, 900), turn), "JPEG", exif=corpus.exif(turn))
        image = read_details(data, within=300)
        assert image.pixels.shape == (200, 300, 3)
        assert (image.height, image.width) == (600, 900)
        np.testing.assert_array_equal(read_details(data, within=900).pixels, read_image(data))
        with pytest.raises(ValueError, match="at least"):
            read_details(data, within=0)


def test_bands_change_no_pixel(corpus: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large images are converted in parts."""
    cases = [case for case in corpus.good().values() if len(case.data) < 100_000]
    whole = [read_image(case.data) for case in cases]
    monkeypatch.setattr(modes, "BAND_PIXELS", 100)
    monkeypatch.setattr(read, "BAND_PIXELS", 100)
    for case, expected in zip(cases, whole, strict=True):
        pixels = read_image(case.data)
        np.testing.assert_array_equal(pixels, expected, err_msg=case.name)
        assert not pixels.flags.writeable


def test_layers_of_a_psd_are_not_frames() -> None:
    image = Image.new("RGB", (2, 2))
    image.n_frames = 5  # type: ignore[attr-defined]
    image.format = "TIFF"
    assert read._frames(image) == 5
    image.format = "PSD"
    assert read._frames(image) == 1


def test_kept_error_keeps_no_image(corpus: ModuleType) -> None:
    with pytest.raises(UnreadableImage) as caught:
        read_image(corpus.bad()["hollow.png"].data)
    assert caught.value.__cause__ is not None
    trace, frames = caught.value.__cause__.__traceback__, 0
    while trace is not None:
        frames += 1
        assert not any(isinstance(value, Image.Image) for value in trace.tb_frame.f_locals.values())
        trace = trace.tb_next
    assert frames > 2


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be counted here")
def test_files_are_closed_again(corpus_files: Any) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    kept: list[BaseException] = []
    for path in (*corpus_files[0], *corpus_files[1]):
        try:
            read_details(path, (8, 8))
        except UnreadableImage as error:
            kept.append(error)
    assert len(kept) == len(corpus_files[1])
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


SCRIPT = """
import resource, sys
from pathlib import Path
from tlkit.images.read import UnreadableImage, read_details
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"tensorflow", "keras", "scipy", "sklearn", "pandas", "pillow_heif"}, loaded
read, refused = 0, 0
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if path.is_file():
        try:
            read_details(path, (32, 32))
            read += 1
        except UnreadableImage:
            refused += 1
print(read, refused, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
def test_whole_corpus_says_nothing_and_stays_small(corpus_files: Any) -> None:
    folder = corpus_files[0][0].parent.parent
    command = [sys.executable, "-W", "always", "-X", "dev", "-c", SCRIPT, str(folder)]
    root = str(Path(read.__file__).parents[2])
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=50, env={**os.environ, "PYTHONPATH": root}, check=False
    )
    assert ran.stderr == ""
    assert ran.returncode == 0
    good, bad, megabytes = map(int, ran.stdout.split())
    assert (good, bad) == (len(corpus_files[0]), len(corpus_files[1]))
    # The largest sound header declares 8000x8000 pixels, a quarter of a gigabyte: the bombs would take many.
    assert megabytes < 500
