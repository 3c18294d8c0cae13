"""Bundles as ONNX files, run by ONNX Runtime."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Trained
from numpy.typing import NDArray

from tlkit.backbones.litert.graph import Graph
from tlkit.bundle.load import Bundle, load
from tlkit.bundle.manifest import LITE, MODEL
from tlkit.errors import TlkitError
from tlkit.formats import onnx as writer
from tlkit.formats.card import make_card
from tlkit.formats.onnx import onnx_forward, onnx_properties, onnx_session, write_onnx
from tlkit.formats.source import Source
from tlkit.images.read import read_image
from tlkit.plan.choices import FP16, FP32

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def source_of(bundle: Bundle, precision: str = FP32, **changes: Any) -> Source:
    values = {
        "keras_file": bundle.path / MODEL,
        "lite": (bundle.path / LITE).read_bytes(),
        "card": make_card(bundle.manifest, bundle.path.name, precision, bundle.ood),
        "precision": precision,
        "calibration": np.zeros((0, *bundle.input_size, 3), np.uint8),
        "ood": bundle.ood,
    }
    return Source(**{**values, **changes})


@pytest.fixture(scope="module")
def bundle(trained: Trained) -> Bundle:
    return load(trained.bundle)


@pytest.fixture(scope="module")
def exported(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("onnx")
    for precision in (FP32, FP16):
        write_onnx(folder / f"{precision}.onnx", source_of(bundle, precision))
    return {precision: folder / f"{precision}.onnx" for precision in (FP32, FP16)}


@pytest.fixture(scope="module")
def photos(bundle: Bundle, fresh: Path) -> NDArray[np.uint8]:
    return np.stack([read_image(file, bundle.input_size) for file in sorted(fresh.rglob("*.*"))])


@pytest.mark.parametrize(("precision", "bound"), [(FP32, 1e-4), (FP16, 0.02)])
def test_a_file_answers_like_predict(
    bundle: Bundle, exported: dict[str, Path], photos: NDArray[np.uint8], precision: str, bound: float
) -> None:
    found, wanted = onnx_forward(exported[precision])(photos), bundle.probabilities(photos)
    assert len(photos) >= 8
    assert (found.dtype, found.shape) == (np.float32, wanted.shape)
    np.testing.assert_allclose(found, wanted, atol=bound)
    assert np.ptp(wanted, axis=0).max() > 0.3, "all images alike: nothing was compared"


@pytest.mark.parametrize("count", [1, 3, 8])
def test_any_number_of_images_at_once(exported: dict[str, Path], photos: NDArray[np.uint8], count: int) -> None:
    session = onnx_session(exported[FP32])
    (alone,) = session.run(["probabilities"], {"image": photos[:1].astype(np.float32)})
    (found,) = session.run(["probabilities"], {"image": photos[:count].astype(np.float32)})
    assert len(found) == count
    np.testing.assert_allclose(found[:1], alone, atol=1e-6)


def test_the_score_of_unknown_images_is_computed_inside(
    bundle: Bundle, exported: dict[str, Path], photos: NDArray[np.uint8]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, *bundle.input_size, 3), dtype=np.uint8)
    grey = np.full((1, *bundle.input_size, 3), 127, np.uint8)
    pixels = np.concatenate([photos, noise, grey])
    assert bundle.ood is not None
    wanted = bundle.ood.score(bundle.forward()(pixels)[:, len(bundle.classes) :])
    (found,) = onnx_session(exported[FP32]).run(["ood_score"], {"image": pixels.astype(np.float32)})
    assert found.shape == wanted.shape
    # around 0 for known images, so a relative difference alone means nothing there
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
    limit = source_of(bundle).card["unknown"]["threshold"]
    assert ((found > limit) == (wanted > limit)).all()
    assert 0 < (wanted > limit).sum() < len(wanted), "known and unknown images"


def test_weights_in_half_precision_take_half_the_space(exported: dict[str, Path]) -> None:
    sizes = {precision: file.stat().st_size for precision, file in exported.items()}
    assert sizes[FP16] < 0.55 * sizes[FP32]


@pytest.mark.parametrize("precision", [FP32, FP16])
def test_a_file_is_valid_and_all_its_shapes_are_known(exported: dict[str, Path], precision: str) -> None:
    onnx.checker.check_model(str(exported[precision]), full_check=True)
    model = onnx.load(exported[precision])
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    tensors = {each.name: each.type.tensor_type.shape.dim for each in inferred.graph.value_info}
    assert len(tensors) > 100
    unknown = [name for name, sides in tensors.items() if not all(side.HasField("dim_value") for side in sides[1:])]
    assert unknown == []
    (image,), outputs = model.graph.input, {each.name: each for each in model.graph.output}
    assert [side.dim_param or side.dim_value for side in image.type.tensor_type.shape.dim] == ["batch", 224, 224, 3]
    assert list(outputs) == ["probabilities", "ood_score"]
    wanted = {"probabilities": ["batch", 4], "ood_score": ["batch"]}
    for name, each in outputs.items():
        assert [side.dim_param or side.dim_value for side in each.type.tensor_type.shape.dim] == wanted[name]


def test_maps_are_turned_only_where_they_must_be(exported: dict[str, Path]) -> None:
    kinds = [node.op_type for node in onnx.load(exported[FP32]).graph.node]
    assert kinds.count("Transpose") == 3, "the image, and two small matrices of the score"


def test_the_file_says_what_it_is(bundle: Bundle, exported: dict[str, Path]) -> None:
    its = onnx_session(exported[FP16]).get_modelmeta().custom_metadata_map
    assert ast.literal_eval(its["names"]) == dict(enumerate(bundle.classes))
    assert json.loads(its["labels"]) == list(bundle.classes)
    assert (its["task"], its["imgsz"]) == ("classify", "[224, 224]")
    card = json.loads(its["tlkit"])
    assert (card["precision"], card["classes"]) == ("fp16", list(bundle.classes))
    assert card["unknown"]["threshold"] > 0


def test_names_of_any_kind_are_read_again(bundle: Bundle, tmp_path: Path) -> None:
    names = ["a'b\"", "two\nlines", "猫 🐈", "\udcff"]
    card = {**source_of(bundle).card, "classes": names}
    write_onnx(tmp_path / "odd.onnx", source_of(bundle, card=card))
    its = onnx_session(tmp_path / "odd.onnx").get_modelmeta().custom_metadata_map
    assert its == onnx_properties(card)
    assert list(ast.literal_eval(its["names"]).values()) == names
    assert json.loads(its["labels"]) == json.loads(its["tlkit"])["classes"] == names


def test_a_bundle_without_statistics_has_one_output(bundle: Bundle, tmp_path: Path) -> None:
    write_onnx(tmp_path / "plain.onnx", source_of(bundle, ood=None))
    assert [each.name for each in onnx_session(tmp_path / "plain.onnx").get_outputs()] == ["probabilities"]


def test_statistics_without_their_features_are_left_out(
    bundle: Bundle, exported: dict[str, Path], photos: NDArray[np.uint8], tmp_path: Path
) -> None:
    write_onnx(tmp_path / "one.onnx", source_of(bundle, lite=source_of(bundle).lite_network))
    assert [each.name for each in onnx_session(tmp_path / "one.onnx").get_outputs()] == ["probabilities"]
    found, wanted = (onnx_forward(file)(photos[:2]) for file in (tmp_path / "one.onnx", exported[FP32]))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_weights_beyond_the_range_of_half_precision_and_few_weights_stay_as_they_are() -> None:
    from tlkit.formats.lite_file import LiteFile
    from tlkit.formats.onnx_graph import OnnxGraph

    graph = OnnxGraph(LiteFile((), ((),), {}, 0, ()), half=True)
    for values in (np.full(5000, 1e5), np.full(5000, 1e4), np.full(1000, 1e4)):
        graph.constant(values.astype(np.float32))
    full, half = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    assert [each.data_type for each in graph.initializers] == [full, half, full]


def test_a_network_beyond_the_size_of_a_file_is_refused(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_BYTES", 1000)
    with pytest.raises(TlkitError, match="too large for ONNX: 13,"):
        write_onnx(tmp_path / "large.onnx", source_of(bundle))
    assert not (tmp_path / "large.onnx").exists()


def test_a_quantised_network_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    graph = Graph(source_of(bundle).lite)
    graph.graph.tensors[3].type = graph.schema.TensorType.INT8
    quantised = graph.finish(*(int(each) for each in graph.graph.outputs))
    with pytest.raises(TlkitError, match="not a float32 network"):
        write_onnx(tmp_path / "new.onnx", source_of(bundle, lite=quantised))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_onnx(tmp_path / "no" / "such.onnx", source_of(bundle))


def test_tensorflow_is_not_needed(trained: Trained, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from pathlib import Path; import numpy as np\n"
        "from tlkit.bundle.load import load\n"
        "from tlkit.formats.onnx import write_onnx, onnx_forward\n"
        "from tlkit.formats.source import Source\n"
        f"bundle = load({str(trained.bundle)!r}); file = Path({str(tmp_path / 'x.onnx')!r})\n"
        "card = {'tlkit': '1', 'classes': list(bundle.classes), 'input': {'size': [224, 224]}}\n"
        "lite = (bundle.path / 'model.tflite').read_bytes()\n"
        "write_onnx(file, Source(bundle.path / 'model.keras', lite, card, 'fp32', np.zeros(0, np.uint8), bundle.ood))\n"
        "print(onnx_forward(file)(np.zeros((2, 224, 224, 3), np.uint8)).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "(2, 4)\n", done.stderr
