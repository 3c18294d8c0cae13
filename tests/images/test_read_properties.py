"""Whatever the bytes, the reader gives a whole image of the asked size or says why not, soon and quietly."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tlkit.images import read
from tlkit.images.formats import sniff_format, suffix_matches
from tlkit.images.modes import scale_to_8_bits
from tlkit.images.opening import RefusedError
from tlkit.images.read import UnreadableImage, read_details, read_image

SIZES = st.none() | st.tuples(st.integers(1, 40), st.integers(1, 40))
MAGIC = st.sampled_from(
    [
        *(b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFF____WEBPVP8 "),
        *(b"P5 ", b"P6 9 9 255 ", b"\0\0\1\0\1\0", b"8BPS\0\1", b"qoif", b"\x01\xda", b"\xff\x4f\xff\x51"),
        *(b"\0\0\0\x1cftypavif\0\0\0\0mif1avifmiaf", b"\0\0\0\x0cjP  \r\n\x87\n", b"II+\0\x08\0\0\0", b"\n\5\1"),
    ]
)
# Damage may turn a header into that of a large image; what it costs to find its pixels missing is bounded.
SOON = timedelta(seconds=5)


def read_or_refuse(data: bytes, size: tuple[int, int] | None) -> None:
    """Read, and check all that holds for any bytes at all."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read._silence_pillow()
        try:
            image = read_details(data, size)
        except UnreadableImage as error:
            _assert_sound_refusal(error)
        else:
            pixels = image.pixels
            assert pixels.dtype == np.uint8
            assert pixels.shape == (*(size or (image.height, image.width)), 3)
            assert image.width * image.height <= read.MAX_PIXELS
            assert image.frames >= 1
    assert [str(warning.message) for warning in caught] == []


def _assert_sound_refusal(error: UnreadableImage) -> None:
    """The reason is short, and no line of ours raised anything but a refusal on purpose."""
    assert 0 < len(error.reason) < 80
    cause = error.__cause__
    assert cause is not None
    trace = cause.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    ours = Path(trace.tb_frame.f_code.co_filename).parent == Path(read.__file__).parent
    assert not ours or isinstance(cause, RefusedError), repr(cause)


@settings(max_examples=examples(4), deadline=SOON)
@given(data=st.binary(max_size=600), size=SIZES)
@example(data=b"", size=None)
def test_arbitrary_bytes(data: bytes, size: tuple[int, int] | None) -> None:
    read_or_refuse(data, size)


@settings(max_examples=examples(8), deadline=SOON)
@given(magic=MAGIC, data=st.binary(max_size=400), size=SIZES)
def test_arbitrary_bytes_after_a_true_start(magic: bytes, data: bytes, size: tuple[int, int] | None) -> None:
    read_or_refuse(magic + data, size)


@settings(max_examples=examples(16), deadline=SOON)
@given(data=st.data())
def test_damaged_image(corpus: ModuleType, data: Any) -> None:
    case = data.draw(st.sampled_from(list(corpus.good().values())), label="image")
    changed = bytearray(case.data)
    # Half of the damage goes to the header, where it does most.
    places = st.integers(0, len(changed) - 1) | st.integers(0, min(len(changed), 200) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6), label="flips"):
        changed[place] = value
    start, end = sorted(data.draw(st.tuples(places, places), label="cut"))
    kind = data.draw(st.sampled_from(["keep", "truncate", "remove", "repeat"]), label="kind")
    if kind == "truncate":
        del changed[end:]
    elif kind == "remove":
        del changed[start:end]
    elif kind == "repeat":
        changed[end:end] = changed[start:end]
    read_or_refuse(bytes(changed), data.draw(SIZES, label="size"))


@settings(max_examples=examples(4), deadline=SOON)
@given(data=st.data())
def test_lossless_image_of_any_size_and_mode_comes_back(corpus: ModuleType, data: Any) -> None:
    channels = data.draw(st.sampled_from([1, 3]), label="channels")
    shape = (data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60)))
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed")
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, channels), dtype=np.uint8)
    image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
    format = data.draw(st.sampled_from(["PNG", "TIFF", "BMP", "PPM", "TGA", "SGI"]), label="format")
    turn = data.draw(st.integers(1, 8), label="orientation") if format in ("PNG", "TIFF") else 1
    stored = corpus.stored(np.asarray(image), turn) if turn > 1 else np.asarray(image)
    encoded = corpus.encode(stored, format, **({"exif": corpus.exif(turn)} if turn > 1 else {}))
    np.testing.assert_array_equal(read_image(encoded), np.broadcast_to(pixels, (*shape, 3)))


@settings(max_examples=examples(4), deadline=SOON)
@given(data=st.data())
def test_scaling_keeps_order_and_range(data: Any) -> None:
    kind = data.draw(st.sampled_from([np.uint16, np.int32, np.uint32, np.float32]), label="kind")
    numbers = (
        st.floats(width=32) if kind is np.float32 else st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    )
    values = np.array([data.draw(st.lists(numbers, min_size=1, max_size=20))], kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grey = scale_to_8_bits(values)
    assert grey.dtype == np.uint8
    assert grey.shape == values.shape
    known = ~np.isnan(values[0])
    order = np.argsort(values[0][known], kind="stable")
    assert (np.diff(grey[0][known][order].astype(int)) >= 0).all()


@settings(max_examples=examples(4))
@given(header=st.binary(max_size=600), name=st.text(max_size=20).filter(lambda text: "\0" not in text))
def test_sniffing_never_fails(header: bytes, name: str) -> None:
    format = sniff_format(header)
    assert format is None or isinstance(suffix_matches(name, format), bool)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_any_aspect_at_any_size(corpus: ModuleType, side: int) -> None:
    for shape in ((side, 5000), (5000, side)):
        for format in ("PNG", "JPEG"):
            data = corpus.encode(np.full((*shape, 3), 90, np.uint8), format)
            for size in ((1, 1), (224, 224), (1, 300)):
                pixels = read_image(data, size)
                assert pixels.shape == (*size, 3)
                assert np.abs(pixels.astype(int) - 90).max() <= 3
