"""``tlkit.export``: what is written, what it is checked on, and what is refused without a trace."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Trained, image
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import tlkit
from tlkit.api.export import export as exporting
from tlkit.api.export import formats as table
from tlkit.api.export.check import compare, probabilities_of
from tlkit.api.export.formats import BOUNDS, FORMATS, Format, check_possible, formats_of, precision_of
from tlkit.api.export.images import CALIBRATION, GENERATED, CheckImages, check_images
from tlkit.backbones.engines import Forward, LiteRTNetwork
from tlkit.bundle.load import load
from tlkit.bundle.manifest import LITE
from tlkit.bundle.save import MANIFEST, manifest_digest
from tlkit.errors import TlkitError
from tlkit.files import file_hash
from tlkit.formats.card import make_card
from tlkit.formats.source import Source
from tlkit.plan.choices import EXPORTS, FP16, FP32, INT8, PRECISIONS
from tlkit.progress import SilentProgress, ignore

SHOW = SilentProgress()


def row(name: str = "litert") -> Format:
    return next(each for each in FORMATS if each.name == name)


@pytest.fixture
def bundle(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sample's bundle, and a folder of one's own to work in."""
    monkeypatch.chdir(tmp_path)
    return trained.bundle


def changed(bundle: Path, target: Path, *, without_lite: bool = False, **changes: Any) -> Path:
    """A copy of a bundle with some changes."""
    from tlkit.formats.card import labels_bytes

    shutil.copytree(bundle, target)
    manifest = json.loads((target / MANIFEST).read_text())
    manifest.update(changes)
    (target / "labels.txt").write_bytes(labels_bytes(manifest["classes"]))
    manifest["files"]["labels.txt"] = file_hash(target / "labels.txt")
    if without_lite:
        (target / LITE).unlink()
        del manifest["files"][LITE]
    manifest["digest"] = manifest_digest({key: value for key, value in manifest.items() if key != "digest"})
    (target / MANIFEST).write_text(json.dumps(manifest))
    return target


# what is written


def test_the_file_answers_like_predict_and_says_what_it_is(bundle: Path, garden: Path) -> None:
    result = tlkit.export(bundle, "litert", images=garden)
    assert result.folder == Path.cwd() / "garden-litert"
    assert {path.name for path in result.folder.iterdir()} == {"export.json", "model.tflite"}
    (file,) = result.files
    pixels = np.stack([np.asarray(image(n, (224, 224))) for n in range(3)])
    found = LiteRTNetwork(file.path)(pixels)
    assert found.shape == (3, 4), "the features for unknown images are not exported"
    np.testing.assert_allclose(found, load(bundle).probabilities(pixels), atol=1e-6)
    its = file.agreement
    assert its is not None
    assert (its.images, its.same_label, its.accuracy) == (16, 1.0, its.original_accuracy)
    assert its.max_difference <= 1e-4
    assert file.size == file.path.stat().st_size
    written = json.loads((result.folder / "export.json").read_text())
    assert written["card"]["classes"] == ["birds", "flowers", "fruit", "vegetables"]
    assert written["card"]["source"]["sha256"] == json.loads((bundle / MANIFEST).read_text())["digest"]
    assert written["exports"][0]["path"] == "model.tflite"
    assert str(Path.cwd()) not in json.dumps(written), "a path of this machine"
    assert result.to_json()["exports"][0]["path"] == str(file.path)


def test_the_card_says_what_a_program_needs(bundle: Path) -> None:
    its = load(bundle)
    card = make_card(its.manifest, "garden.tlkit", FP16, its.ood)
    assert card["input"] == {"size": [224, 224], "colour": "RGB", "range": [0, 255], "resize": card["input"]["resize"]}
    assert "bicubic" in card["input"]["resize"]
    assert card["unknown"]["rate"] == 0.05
    assert card["unknown"]["threshold"] == its.ood.threshold(0.05)  # type: ignore[union-attr]
    assert (card["precision"], card["tlkit"]) == ("fp16", tlkit.__version__)
    assert card["source"]["backbone"] == "efficientnet-lite0"
    cooled = make_card(
        {**its.manifest, "calibration": {"temperature": 1.5}, "unknown": {"rate": 0}}, "x", FP32, its.ood
    )
    assert cooled["temperature"] == 1.5
    assert cooled["unknown"] == {"rate": 0.0, "threshold": None}, "JSON has no infinity"
    assert make_card(its.manifest, "x", FP32)["unknown"] is None


@pytest.mark.parametrize("kind", ["path", "text", "bundle", "loaded"])
def test_a_bundle_may_be_given_in_any_way(bundle: Path, kind: str) -> None:
    given: Any = {"path": bundle, "text": str(bundle), "bundle": load(bundle), "loaded": tlkit.load(bundle)}[kind]
    result = tlkit.export(given, ["litert"], output="out")
    assert result.folder == Path.cwd() / "out"
    assert result.images == f"{GENERATED} generated images, as no real ones were found"


def test_names_of_any_kind_travel_inside(bundle: Path) -> None:
    odd = ["a\nb", 'quo"te, {x}', "\udcff", "🐈 猫"]
    its = changed(bundle, Path("odd.tlkit"), classes=odd)
    result = tlkit.export(its, "litert")
    assert json.loads((result.folder / "export.json").read_text())["card"]["classes"] == odd


# names of formats and precisions


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("litert", ["litert"]),
        ("TFLite", ["litert"]),
        ("saved_model", ["saved-model"]),
        (" keras , tflite,litert", ["keras", "litert"]),
        (["saved_model,keras", "litert"], ["saved-model", "keras", "litert"]),
        (("SavedModel",), ["saved-model"]),
    ],
)
def test_usual_spellings_of_formats(given: Any, expected: list[str]) -> None:
    assert [each.name for each in formats_of(given)] == expected


@pytest.mark.parametrize(("given", "expected"), [("half", FP16), ("FP16", FP16), ("float32", FP32), ("Int8", INT8)])
def test_usual_spellings_of_precisions(given: str, expected: str) -> None:
    assert precision_of(given) == expected


@pytest.mark.parametrize(
    ("given", "near"),
    [("litrt", "litert"), ("tflit", "litert"), ("savedmodl", "saved-model"), ("qqq", "one of litert")],
)
def test_an_unknown_format_gets_the_nearest_name(given: str, near: str) -> None:
    with pytest.raises(TlkitError, match=f"unknown format '{given}'") as error:
        formats_of(given)
    assert near in str(error.value.hint)


@pytest.mark.parametrize("given", ["", " , ", []])
def test_no_format_at_all(given: Any) -> None:
    with pytest.raises(TlkitError, match="no format is named"):
        formats_of(given)


@pytest.mark.parametrize("call", [lambda: formats_of([3]), lambda: precision_of(16)])  # type: ignore[list-item, arg-type]
def test_names_are_texts(call: Callable[[], object]) -> None:
    with pytest.raises(TlkitError, match="cannot be of type int"):
        call()


def test_an_unknown_precision_gets_the_nearest_name() -> None:
    with pytest.raises(TlkitError, match="unknown precision 'fp61'") as error:
        precision_of("fp61")
    assert "fp16" in str(error.value.hint)


def test_every_row_is_whole() -> None:
    assert {each.name for each in FORMATS} <= set(EXPORTS)
    every = [spelling for each in FORMATS for spelling in (each.name, *each.spellings)]
    assert len(set(every)) == len(every), "two formats share a spelling"
    for each in FORMATS:
        assert FP32 in each.precisions
        assert set(each.precisions) <= set(PRECISIONS)


# refused, and nothing is left


def test_a_precision_that_a_format_cannot_have(bundle: Path) -> None:
    with pytest.raises(TlkitError, match="keras cannot be exported as fp16") as error:
        tlkit.export(bundle, "keras", precision="half")
    assert "keras can be fp32" in str(error.value.hint)
    assert not list(Path.cwd().iterdir())


def test_a_missing_package_is_named_before_any_work(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = replace(row(), modules={"no_such_package": "onnx"})
    monkeypatch.setattr(table, "FORMATS", (wanted,))
    monkeypatch.setattr(exporting, "check_images", lambda *_: pytest.fail("work was begun"))
    with pytest.raises(TlkitError, match="no_such_package is missing") as error:
        tlkit.export(bundle, "litert")
    assert error.value.hint == 'pip install "tlkit[onnx]"'


def test_a_package_for_quantising_is_only_needed_for_that() -> None:
    wanted = replace(row(), precisions=PRECISIONS, quantizers={"no_such_package": "quantize"})
    check_possible([wanted], FP32)
    with pytest.raises(TlkitError, match="no_such_package is missing"):
        check_possible([wanted], INT8)


@pytest.mark.parametrize("what", ["folder", "file", "broken link"])
def test_existing_output_is_left_alone(bundle: Path, what: str) -> None:
    place = Path("out")
    {
        "folder": place.mkdir,
        "file": lambda: place.write_text("mine"),
        "broken link": lambda: place.symlink_to("nowhere"),
    }[what]()
    with pytest.raises(TlkitError, match="output exists") as error:
        tlkit.export(bundle, "litert", output=place)
    assert "--output" in str(error.value.hint)
    assert [path.name for path in Path.cwd().iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("no/such/folder", "no such folder"),
        (3, "cannot be of type int"),
        ("a\0b", "cannot look up"),
        ("x" * 300, "cannot look up"),
        ("x" * 250, "cannot write"),
    ],
)
def test_outputs_that_cannot_be(bundle: Path, output: Any, message: str) -> None:
    with pytest.raises(TlkitError, match=message):
        tlkit.export(bundle, "litert", output=output)
    assert not list(Path.cwd().iterdir())


def test_nothing_is_written_into_a_bundle(bundle: Path) -> None:
    with pytest.raises(TlkitError, match="inside the bundle"):
        tlkit.export(bundle, "litert", output=bundle / "litert")


def writing(monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, Source], None], **changes: Any) -> None:
    """Let the second of two formats be written so."""
    second = replace(row(), name="onnx", spellings=(), place="model.onnx", write=write, **changes)
    monkeypatch.setattr(table, "FORMATS", (row(), second))


def full(path: Path, source: Source) -> None:
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def full_for_a_library(path: Path, source: Source) -> None:
    path.mkdir()
    raise RuntimeError(f"{{{{function_node SaveV2}}}} {path}{'x' * 200}; No space left on device [Op:SaveV2]")


def no_converter(path: Path, source: Source) -> None:
    raise NotImplementedError("operator\nTFL_GELU")


def no_network(path: Path, source: Source) -> None:
    path.write_bytes(b"no network")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (full, "cannot write .*: No space left on device"),
        (full_for_a_library, "no space left"),
        (no_converter, "this network cannot be exported as onnx: operator TFL_GELU"),
        (no_network, "the onnx export cannot be run"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, Source], None], message: str
) -> None:
    writing(monkeypatch, write)
    with pytest.raises(TlkitError, match=message):
        tlkit.export(bundle, "litert,onnx")
    assert not list(Path.cwd().iterdir())


def test_an_interrupt_leaves_nothing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, source: Source) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    writing(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        tlkit.export(bundle, "litert,onnx")
    assert not list(Path.cwd().iterdir())


def test_an_export_that_answers_otherwise_leaves_nothing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(path: Path) -> Forward:
        network = LiteRTNetwork(path)
        return lambda pixels: np.roll(network(pixels), 1, axis=1)

    writing(monkeypatch, row().write, forward=other)
    with pytest.raises(TlkitError, match="the onnx export differs from predict by"):
        tlkit.export(bundle, "litert,onnx")
    assert not list(Path.cwd().iterdir())


def test_what_has_no_runtime_is_marked(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writing(monkeypatch, row().write, forward=None)
    result = tlkit.export(bundle, "onnx")
    assert result.files[0].agreement is None
    assert json.loads((result.folder / "export.json").read_text())["exports"][0]["agreement"] is None


# the comparison


def compared(before: NDArray[np.float32], after: NDArray[np.float32], precision: str, labels: Any = None) -> Any:
    pixels = np.zeros((len(before), 2, 2, 3), np.uint8)
    images = CheckImages(pixels, labels or (None,) * len(before), "", pixels)

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros((len(pixels), 2), np.float32)

    return compare(row(), precision, images, (run, before), (run, after))


def test_figures_of_the_comparison() -> None:
    before = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.5, 0.5]], np.float32)
    after = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.5, 0.5]], np.float32)
    its = compared(before, after, INT8, (0, 0, 1, None))
    assert its.max_difference == pytest.approx(0.2)
    assert its.mean_difference == pytest.approx(0.05)
    assert its.same_label == 0.75
    assert (its.original_accuracy, its.accuracy) == (1.0, pytest.approx(2 / 3))
    assert (its.paired.images, its.paired.only_a) == (3, 1)
    assert its.to_json()["accuracy"]["change"] == pytest.approx(-1 / 3)


@given(st.sampled_from(PRECISIONS), st.floats(0, 0.05))
def test_differences_above_the_bound_are_refused(precision: str, apart: float) -> None:
    before = np.array([[0.7, 0.3]] * 4, np.float32)
    after = before + np.float32([apart, -apart])
    bound = BOUNDS[precision].difference
    if bound is not None and np.abs(after.astype(np.float64) - before).max() > bound:
        with pytest.raises(TlkitError, match="differs from predict"):
            compared(before, after, precision)
    else:
        assert compared(before, after, precision).same_label == 1.0


@pytest.mark.parametrize(
    ("precision", "different", "fine"), [(FP16, 1, True), (FP16, 2, False), (INT8, 20, True), (INT8, 21, False)]
)
def test_labels_may_differ_as_far_as_the_bound_allows(precision: str, different: int, fine: bool) -> None:
    before = np.tile(np.float32([0.505, 0.495]), (200, 1))
    after = before.copy()
    after[:different] = after[:different, ::-1]
    if fine:
        assert compared(before, after, precision).same_label == 1 - different / 200
    else:
        with pytest.raises(TlkitError, match=f"labels {different} of 200 images otherwise"):
            compared(before, after, precision)


def test_a_tie_is_no_other_label() -> None:
    before = np.array([[0.50002, 0.49998]], np.float32)
    assert compared(before, before[:, ::-1], FP32).same_label == 0.0
    with pytest.raises(TlkitError, match="labels 1 of 1 images"):
        compared(np.array([[0.50006, 0.49994]], np.float32), np.array([[0.49999, 0.50001]], np.float32), FP32)


def test_numbers_that_are_not_finite_are_refused() -> None:
    before = np.array([[0.7, 0.3]], np.float32)
    with pytest.raises(TlkitError, match="no finite probabilities"):
        compared(before, before * np.nan, INT8)


def test_networks_are_run_a_few_images_at_a_time() -> None:
    sizes = []

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        sizes.append(len(pixels))
        return np.tile(pixels[:, 0, 0, :1].astype(np.float32), (1, 5))

    pixels = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    found = probabilities_of(run, pixels, 3, ignore)
    assert found.shape == (20, 3)
    assert found[:, 0].tolist() == list(range(20))
    assert max(sizes) <= 8


# the images that it is made on


def test_held_out_images_are_preferred(bundle: Path, garden: Path) -> None:
    found = check_images(load(bundle), garden, None, FP32, SHOW)
    assert found.what == "16 images held out from training"
    assert sorted(set(found.labels)) == [0, 1, 2, 3]
    assert len(found.calibration) == 0


def test_new_images_count_as_held_out(bundle: Path, fresh: Path) -> None:
    assert check_images(load(bundle), fresh, None, FP32, SHOW).what == "8 images held out from training"


def test_where_training_used_all_of_them_they_are_taken_and_that_is_said(bundle: Path, garden: Path) -> None:
    refit = changed(bundle, Path("refit.tlkit"), refit=["train", "val"])
    assert check_images(load(refit), garden, None, FP32, SHOW).what == "79 images that training used too"


def test_images_are_found_in_a_folder_named_like_the_bundle(bundle: Path, garden: Path) -> None:
    its = load(changed(bundle, Path("photos-2.tlkit")))
    assert check_images(its, None, None, FP32, SHOW).what.startswith(f"{GENERATED} generated images")
    Path("photos").symlink_to(garden, target_is_directory=True)
    assert check_images(its, None, None, FP32, SHOW).what == "16 images held out from training"


def test_other_images_in_such_a_folder_are_not_taken_for_the_bundles(bundle: Path, fresh: Path) -> None:
    its = load(changed(bundle, Path("photos.tlkit")))
    Path("photos").symlink_to(fresh, target_is_directory=True)
    assert check_images(its, None, None, FP32, SHOW).what.startswith(f"{GENERATED} generated images")


def test_images_without_classes_have_no_labels(bundle: Path, unseen: Path, garden: Path) -> None:
    its = load(bundle)
    for images in (unseen, str(unseen / "*.png"), [unseen / "birds-magpie.png"], np.zeros((2, 9, 9, 3), np.uint8)):
        found = check_images(its, images, None, FP32, SHOW)
        assert set(found.labels) == {None}


def test_int8_is_calibrated_on_training_images_and_checked_on_others(bundle: Path, garden: Path) -> None:
    found = check_images(load(bundle), garden, None, INT8, SHOW)
    assert len(found.calibration) == 63
    assert found.what == "16 images held out from training"
    assert not {each.tobytes() for each in found.pixels} & {each.tobytes() for each in found.calibration}


def test_a_sample_for_calibration_serves_for_the_check_too(bundle: Path, garden: Path, unseen: Path) -> None:
    found = check_images(load(bundle), None, garden, INT8, SHOW)
    assert len(found.calibration) == CALIBRATION
    assert found.what == "15 images of the sample for calibration"
    assert not {each.tobytes() for each in found.pixels} & {each.tobytes() for each in found.calibration}
    few = check_images(load(bundle), None, [unseen / "birds-magpie.png"], INT8, SHOW)
    assert few.what == "1 image by which it was calibrated"


def test_int8_is_not_checked_on_the_images_that_it_was_calibrated_with(bundle: Path, garden: Path, fresh: Path) -> None:
    refit = load(changed(bundle, Path("refit.tlkit"), refit=["train", "val"]))
    assert check_images(refit, garden, None, INT8, SHOW).what == "15 images that training used too"
    assert check_images(load(bundle), fresh, fresh, INT8, SHOW).what == "8 images by which it was calibrated"
    assert check_images(load(bundle), fresh, garden, INT8, SHOW).what == "8 images held out from training"


def test_int8_without_images_says_what_is_needed(bundle: Path) -> None:
    with pytest.raises(TlkitError, match="--calibration IMAGES"):
        check_images(load(bundle), None, None, INT8, SHOW)


@pytest.mark.parametrize("option", ["images", "calibration"])
@pytest.mark.parametrize("given", ["gone.png", "empty", "text.png"])
def test_images_that_are_none(bundle: Path, option: str, given: str) -> None:
    Path("empty").mkdir()
    Path("text.png").write_text("text")
    with pytest.raises(TlkitError, match="no image"):
        tlkit.export(bundle, "litert", **{option: given})  # type: ignore[arg-type]
    assert {path.name for path in Path.cwd().iterdir()} == {"empty", "text.png"}
