from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from conftest import Ran

from tlkit.backbones import catalog


def test_it_says_what_works_and_what_to_do_about_the_rest(tlkit: Callable[..., Ran], tmp_path: Path) -> None:
    row = catalog.get("vgg16")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / row.weights_file).write_bytes(b"half a file")
    env = {"KERAS_HOME": str(tmp_path), "TLKIT_CACHE": str(tmp_path / "cache"), "TLKIT_CACHE_SIZE": "lots"}
    ran = tlkit("doctor", "--json", env=env)
    assert ran.code == 0
    assert not ran.json["ok"]
    found = {(each["section"], each["name"]): each for each in ran.json["findings"]}
    assert found["libraries", "tensorflow"]["state"] == "works"
    assert found["engines", "LiteRT"]["state"] == found["engines", "Keras"]["state"] == "works"
    assert "ms per image" in found["engines", "LiteRT"]["detail"]
    assert found["weights", catalog.DEFAULT]["state"] == "works"
    assert found["weights", "vgg16"]["state"] == "broken"
    assert found["weights", "vgg16"]["advice"] == "tlkit backbones fetch vgg16"
    assert found["cache", "folder"]["state"] == "broken"
    assert "TLKIT_CACHE_SIZE is not a size" in found["cache", "folder"]["detail"]
    assert "JPEG" in found["images", "formats"]["detail"]
    assert {each["name"] for each in ran.json["findings"] if each["section"] == "extras"} == {
        "coreml",
        "heif",
        "onnx",
        "openvino",
        "parquet",
        "quantize",
        "serve",
        "tensorboard",
    }
    assert not (tmp_path / "cache").exists()
