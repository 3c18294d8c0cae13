"""A bundle as a .tflite file: in three precisions, with metadata that MediaPipe reads."""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ran, Trained
from numpy.typing import NDArray

from tlkit.backbones.engines import LiteRTNetwork
from tlkit.backbones.litert.graph import Graph
from tlkit.bundle.load import Bundle, load
from tlkit.errors import TlkitError
from tlkit.formats.card import make_card
from tlkit.formats.litert import litert_forward, write_litert
from tlkit.formats.source import FP16, FP32, INT8, Source
from tlkit.formats.tflite_metadata import with_metadata
from tlkit.images.batches import load_image

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def bundle(trained: Trained) -> Bundle:
    return load(trained.bundle)


def images(folder: Path, size: tuple[int, int], most: int = 24) -> Pixels:
    files = sorted(folder.rglob("*.png")) + sorted(folder.rglob("*.jpg"))
    found = [load_image(file, size).image for file in files[:: max(1, len(files) // most)]]
    return np.stack([image.pixels for image in found if image is not None])


def source(bundle: Bundle, precision: str, calibration: Pixels | None = None) -> Source:
    return Source(
        keras_file=bundle.path / "model.keras",
        lite=(bundle.path / "model.tflite").read_bytes(),
        card=make_card(bundle.manifest, bundle.path.name, precision),
        precision=precision,
        calibration=np.zeros((0, *bundle.input_size, 3), np.uint8) if calibration is None else calibration,
    )


@pytest.fixture(scope="module")
def exports(bundle: Bundle, garden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sample's bundle in each precision that can be written here."""
    place = tmp_path_factory.mktemp("litert")
    quantizer = importlib.util.find_spec("litert_quantizer") is not None
    for precision in (FP32, FP16, INT8) if quantizer else (FP32,):
        calibration = images(garden, bundle.input_size) if precision == INT8 else None
        write_litert(place / f"{precision}.tflite", source(bundle, precision, calibration))
    return {file.stem: file for file in sorted(place.iterdir())}


def test_float32_is_the_network_of_the_bundle(bundle: Bundle, exports: dict[str, Path], unseen: Path) -> None:
    shown = images(unseen, bundle.input_size)
    wanted = LiteRTNetwork(bundle.path / "model.tflite")(shown)
    found = litert_forward(exports[FP32])(shown)
    assert found.shape == (len(shown), len(bundle.classes))
    np.testing.assert_array_equal(found, wanted[:, : len(bundle.classes)])


@pytest.mark.parametrize(("precision", "difference", "share"), [(FP16, 0.02, 0.52), (INT8, 0.15, 0.32)])
def test_fewer_bits_are_smaller_and_answer_alike(
    precision: str, difference: float, share: float, bundle: Bundle, exports: dict[str, Path], unseen: Path
) -> None:
    pytest.importorskip("litert_quantizer")
    shown = images(unseen, bundle.input_size)
    wanted, found = (litert_forward(exports[each])(shown) for each in (FP32, precision))
    assert 0 < np.abs(found - wanted).max() < difference
    np.testing.assert_array_equal(found.argmax(1), wanted.argmax(1))
    assert exports[precision].stat().st_size < share * exports[FP32].stat().st_size


def test_int8_computes_convolutions_in_integers(exports: dict[str, Path]) -> None:
    pytest.importorskip("litert_quantizer")
    kinds = [details["dtype"] for details in interpreter(exports[INT8]).get_tensor_details()]
    assert kinds.count(np.int8) > 80
    taken, given = interpreter(exports[INT8]).get_input_details(), interpreter(exports[INT8]).get_output_details()
    assert [each["dtype"] for each in (*taken, *given)] == [np.float32, np.float32]


def test_int8_without_images_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(TlkitError, match="int8 needs images"):
        write_litert(tmp_path / "m.tflite", source(bundle, INT8))
    assert not list(tmp_path.iterdir())


def test_the_command_writes_int8_and_says_what_it_costs(
    tlkit: Callable[..., Ran], trained: Trained, garden: Path, tmp_path: Path
) -> None:
    pytest.importorskip("litert_quantizer")
    arguments = ("--format", "tflite", "--precision", "int8", "--images", garden, "--json")
    ran = tlkit("export", "--model", trained.bundle, *arguments, cwd=tmp_path)
    assert ran.code == 0, ran.err
    (export,) = ran.json["exports"]
    found = export["agreement"]
    assert found["images"] == 16  # those that training did not use
    assert found["same_label"] >= 15 / 16
    assert found["accuracy"]["change_ci95"][0] <= found["accuracy"]["change"] <= found["accuracy"]["change_ci95"][1]
    assert [path.name for path in tmp_path.iterdir()] == ["garden-litert-int8"]


def test_the_same_network_gives_the_same_file(bundle: Bundle, exports: dict[str, Path], tmp_path: Path) -> None:
    write_litert(tmp_path / "again.tflite", source(bundle, FP32))
    assert (tmp_path / "again.tflite").read_bytes() == exports[FP32].read_bytes()


def test_labels_and_card_lie_in_an_archive_behind_the_network(bundle: Bundle, exports: dict[str, Path]) -> None:
    for precision, file in exports.items():
        with zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None
            assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
            assert archive.read("labels.txt").decode().splitlines() == list(bundle.classes)
            card = json.loads(archive.read("tlkit.json"))
        assert card == {**make_card(bundle.manifest, bundle.path.name, precision)}


def test_names_of_any_kind_are_one_line_each(bundle: Bundle) -> None:
    names = ["two\nlines", "no \udcff text", "ümlaut", "  ", 'comma, quote"']
    card = {**make_card(bundle.manifest, "b", FP32), "classes": names}
    data = with_metadata(source(bundle, FP32).lite_network, card)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        lines = archive.read("labels.txt").decode().split("\n")
        assert json.loads(archive.read("tlkit.json"))["classes"] == names
    assert lines == ["two lines", "no \\udcff text", "ümlaut", "  ", 'comma, quote"', ""]


def test_metadata_is_what_the_schema_says(bundle: Bundle, exports: dict[str, Path]) -> None:
    schema = pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated")
    from tlkit.backbones.litert.packing import unpacked

    model = unpacked(exports[FP32].read_bytes())
    (entry,) = [each for each in model.metadata if each.name == b"TFLITE_METADATA"]
    data = bytes(np.asarray(model.buffers[entry.buffer].data, dtype=np.uint8))
    assert schema.ModelMetadata.ModelMetadataBufferHasIdentifier(data, 0)
    found = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(data, 0))
    (graph,) = found.subgraphMetadata
    (image,), (output,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    assert image.content.contentProperties.colorSpace == schema.ColorSpaceType.RGB
    size = image.content.contentProperties.defaultSize
    assert (size.height, size.width) == tuple(bundle.input_size)
    (unit,) = image.processUnits
    assert (list(unit.options.mean), list(unit.options.std)) == ([0.0], [1.0])
    assert (list(image.stats.max), list(image.stats.min)) == ([255.0], [0.0])
    assert [(each.name, each.type) for each in output.associatedFiles] == [(b"labels.txt", 2)]
    assert [each.name for each in found.associatedFiles] == [b"tlkit.json"]


def test_mediapipe_gives_the_same_labels(bundle: Bundle, exports: dict[str, Path], unseen: Path) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    vision = pytest.importorskip("mediapipe.tasks.python.vision")
    base = pytest.importorskip("mediapipe.tasks.python").BaseOptions
    shown = images(unseen, bundle.input_size)
    for file in exports.values():
        options = vision.ImageClassifierOptions(base_options=base(model_asset_path=str(file)))
        wanted = litert_forward(file)(shown)
        with vision.ImageClassifier.create_from_options(options) as classifier:
            for pixels, row in zip(shown, wanted, strict=True):
                picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
                found = classifier.classify(picture).classifications[0].categories
                assert {each.category_name: each.score for each in found} == pytest.approx(
                    dict(zip(bundle.classes, row.tolist(), strict=True)), abs=1e-6
                )


def interpreter(file: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(file))


def test_a_quantised_network_is_no_start_for_anything_else(exports: dict[str, Path]) -> None:
    pytest.importorskip("litert_quantizer")
    for precision in (FP16, INT8):
        with pytest.raises(TlkitError, match="it was quantised"):
            Graph(exports[precision].read_bytes())
