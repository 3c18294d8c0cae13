"""The page that classifies images in the browser: its parts, its copy of LiteRT.js, and the whole in Chromium."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import PIL
import pytest
from conftest import ROOT, Ran, Trained, examples, image
from PIL import Image

import tlkit as package
from tlkit.backbones.engines import LiteRTNetwork
from tlkit.errors import TlkitError
from tlkit.formats.source import Source
from tlkit.formats.web import FILES, PAGE, web_forward, write_web
from tlkit.formats.web_runtime import HELPER, PACKAGE, VARIANTS, find_web_runtime
from tlkit.images.read import read_image

FOREIGN = re.compile(r"https?:|//[a-z]", re.IGNORECASE)
IS_NEW_PILLOW = int(PIL.__version__.split(".")[0]) >= 13  # it shrinks the height of tall images first, as the page does
NAMES = ("<img src=x onerror=document.title='caught'>", "&lt;b&gt; \u202e \U0001f98a", "long" * 60, "w\u00f6rter")


def packages(folder: Path) -> Path:
    """A ``node_modules`` folder laid out like npm's, with files that do nothing."""
    core, helper = folder / PACKAGE, folder / HELPER
    for place, name in ((core, PACKAGE), (helper, HELPER)):
        (place / "dist").mkdir(parents=True)
        (place / "package.json").write_text(json.dumps({"name": name, "version": "9.9.9"}))
    (core / "dist" / "index.js").write_text(f'import {{ createWasmLib }} from "{HELPER}";\n')
    (helper / "dist" / "index.js").write_text("export {};\n")
    (core / "LICENSE.txt").write_text("the licence")
    (core / "wasm").mkdir()
    for variant in VARIANTS:
        for suffix in ("js", "wasm"):
            (core / "wasm" / f"{variant}.{suffix}").write_text(f"{variant} {suffix}")
    return folder


def source(bundle: Path, runtime: Path, precision: str = "fp32") -> Source:
    from tlkit.formats.card import make_card

    loaded = package.load(bundle)
    return Source(
        keras_file=bundle / "model.keras",
        lite=(bundle / "model.tflite").read_bytes(),
        card=make_card(loaded.metadata, bundle.name, precision, loaded.ood),
        precision=precision,
        calibration=np.zeros((0, *loaded.input_size, 3), np.uint8),
        ood=loaded.ood,
        web_runtime=runtime,
    )


def test_the_folder_has_the_page_the_network_and_the_library(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "web"
    write_web(folder, source(trained.bundle, packages(tmp_path / "node_modules")))
    assert {each.name for each in folder.iterdir()} == {
        *(*FILES, "model.tflite", "model.json", "known.bin", "NOTICE.txt", "litert")
    }
    assert (folder / "litert" / "index.js").read_text() == 'import { createWasmLib } from "./wasm-utils.js";\n'
    assert {each.name for each in (folder / "litert" / "wasm").iterdir()} == {
        f"{variant}.{suffix}" for variant in VARIANTS for suffix in ("js", "wasm")
    }
    assert (folder / "litert" / "LICENSE.txt").read_text() == "the licence"
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert "@litertjs/core 9.9.9" in (folder / "NOTICE.txt").read_text()
    bundle = package.load(trained.bundle)
    card = json.loads((folder / "model.json").read_text())
    assert card["classes"] == list(bundle.classes)
    assert card["known"]["threshold"] == card["unknown"]["threshold"]
    pixels = np.random.default_rng(0).integers(0, 256, (2, *bundle.input_size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(web_forward(folder)(pixels), bundle.probabilities(pixels))


def test_a_bundle_without_statistics_gives_a_page_that_says_so(trained: Trained, tmp_path: Path) -> None:
    known = source(trained.bundle, packages(tmp_path / "node_modules"))
    write_web(tmp_path / "web", replace(known, ood=None, card={**known.card, "unknown": None}))
    assert not (tmp_path / "web" / "known.bin").exists()
    assert json.loads((tmp_path / "web" / "model.json").read_text())["known"] is None


def test_half_precision_keeps_the_unknown_images(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("litert_quantizer", reason="litert-quantizer is not installed: pip install 'tlkit[quantize]'")
    full = source(trained.bundle, packages(tmp_path / "node_modules"))
    half = replace(full, precision="fp16", card={**full.card, "precision": "fp16"})
    for name, each in (("full", full), ("half", half)):
        write_web(tmp_path / name, each)
    sizes = [(tmp_path / name / "model.tflite").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    assert (tmp_path / "half" / "known.bin").read_bytes() == (tmp_path / "full" / "known.bin").read_bytes()
    pixels = np.random.default_rng(0).integers(0, 256, (2, *full.input_size, 3), dtype=np.uint8)
    network = LiteRTNetwork(tmp_path / "half" / "model.tflite")
    assert full.ood is not None
    assert network(pixels).shape[1] == len(full.classes) + len(full.ood.mean)
    np.testing.assert_allclose(
        web_forward(tmp_path / "half")(pixels), web_forward(tmp_path / "full")(pixels), atol=0.02
    )


def test_int8_does_not_tell_unknown_images(trained: Trained, garden: Path, tmp_path: Path) -> None:
    pytest.importorskip("litert_quantizer", reason="litert-quantizer is not installed: pip install 'tlkit[quantize]'")
    full = source(trained.bundle, packages(tmp_path / "node_modules"))
    pixels = np.stack([read_image(file, full.input_size) for file in sorted(garden.rglob("*.png"))[::8]])
    write_web(tmp_path / "web", replace(full, precision="int8", calibration=pixels))
    assert json.loads((tmp_path / "web" / "model.json").read_text())["known"] is None
    assert web_forward(tmp_path / "web")(pixels[:2]).shape == (2, len(full.classes))


def test_the_page_names_no_other_host() -> None:
    for name in FILES:
        if name != "LICENSE":
            text = re.sub(r"^\s*(//|/?\*).*$", "", (PAGE / name).read_text(), flags=re.MULTILINE)
            assert not FOREIGN.findall(re.sub(r" // .*", "", text)), name
    assert FOREIGN.search("https://example.org")


def test_the_library_is_found_where_npm_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = packages(tmp_path / "node_modules")
    for place in (tmp_path, modules, modules / PACKAGE, str(modules)):
        assert find_web_runtime(place).core.resolve() == modules / PACKAGE
    (tmp_path / "below" / "further").mkdir(parents=True)
    for place in (tmp_path, tmp_path / "below" / "further"):
        monkeypatch.chdir(place)
        assert find_web_runtime().version == "9.9.9"


def break_core(modules: Path) -> None:
    shutil.rmtree(modules / PACKAGE)


def break_helper(modules: Path) -> None:
    shutil.rmtree(modules / HELPER)


def break_variant(modules: Path) -> None:
    (modules / PACKAGE / "wasm" / f"{VARIANTS[1]}.wasm").unlink()


def break_script(modules: Path) -> None:
    (modules / PACKAGE / "dist" / "index.js").write_text("export {};")


def break_description(modules: Path) -> None:
    (modules / PACKAGE / "package.json").write_text("[")


@pytest.mark.parametrize("damage", [break_core, break_helper, break_variant, break_script, break_description])
def test_an_incomplete_library_is_refused(damage: Callable[[Path], None], tmp_path: Path) -> None:
    modules = packages(tmp_path / "node_modules")
    damage(modules)
    with pytest.raises(TlkitError) as refused:
        find_web_runtime(modules)
    assert "npm install @litertjs/core@" in str(refused.value.hint)


def test_export_refuses_before_any_work(tlkit: Callable[..., Ran], trained: Trained, tmp_path: Path) -> None:
    ran = tlkit("export", "--model", trained.bundle, "--format", "web", cwd=tmp_path)
    assert ran.code == 2
    assert "@litertjs/core" in ran.err
    assert "hint: npm install @litertjs/core@2.5.3" in ran.err
    assert "Predicting" not in ran.err
    ran = tlkit("export", "--model", trained.bundle, "--format", "litert", "--runtime", tmp_path, cwd=tmp_path)
    assert (ran.code, "--runtime requires --format web" in ran.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.skipif(not IS_NEW_PILLOW, reason="Pillow before 13 filters in another order")
def test_images_are_resized_as_pillow_does(tmp_path: Path) -> None:
    (tmp_path / "resize.mjs").write_text((PAGE / "resize.js").read_text())
    (tmp_path / "run.mjs").write_text("""
import fs from "fs";
import { resized } from "./resize.mjs";
const found = JSON.parse(fs.readFileSync("cases.json")).map(({ pixels, width, height, target }) => {
  const data = Buffer.from(pixels, "base64");
  const band = (top, rows) => data.subarray(4 * top * width, 4 * (top + rows) * width);
  return Buffer.from(resized(band, width, height, target, false)).toString("base64");
});
fs.writeFileSync("found.json", JSON.stringify(found));
""")
    rng, cases, wanted = np.random.default_rng(0), [], []
    for _ in range(examples(2)):
        width, height, columns, rows = np.exp(rng.uniform(0, np.log([500, 500, 100, 100]))).astype(int).tolist()
        pixels = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
        shown = Image.fromarray(pixels[..., :3].copy())
        wanted.append(np.asarray(shown.resize((columns, rows), Image.Resampling.BICUBIC, reducing_gap=2.0)))
        cases.append(
            {
                "pixels": base64.b64encode(pixels.tobytes()).decode(),
                **{"width": width, "height": height, "target": [rows, columns]},
            }
        )
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    subprocess.run(["node", "run.mjs"], cwd=tmp_path, check=True)
    found = json.loads((tmp_path / "found.json").read_text())
    away = [
        np.abs(np.frombuffer(base64.b64decode(text), np.uint8).reshape(each.shape).astype(int) - each)
        for text, each in zip(found, wanted, strict=True)
    ]
    assert max(each.max() for each in away) <= 1  # the last bit of a float
    assert np.mean([each.max() > 0 for each in away]) < 0.05


class Server(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def web_runtime() -> Path:
    folder = Path(os.environ.get("TLKIT_WEB_RUNTIME", ROOT / "node_modules"))
    try:
        find_web_runtime(folder)
    except TlkitError as missing:
        pytest.skip(f"{missing}; TLKIT_WEB_RUNTIME may name its folder")
    return folder


@pytest.fixture(scope="module")
def exported(
    tlkit: Callable[..., Ran], trained: Trained, web_runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("web")
    ran = tlkit("export", "--model", trained.bundle, "--format", "web", "--runtime", web_runtime, cwd=folder)
    assert ran.code == 0, ran.err
    return folder / "garden-web" / "web"


@pytest.fixture(scope="module")
def tab(exported: Path) -> Iterator[chromium.Chromium]:
    if chromium.found() is None:
        pytest.skip("Chromium is not installed")
    with chromium.Chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(exported: Path) -> Iterator[Callable[[Path], str]]:
    """Serves folders; gives their addresses."""
    servers = []

    def serve(folder: Path) -> str:
        handler = functools.partial(Server, directory=str(folder))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}/"

    yield serve
    for each in servers:
        each.shutdown()
        each.server_close()


STATUS = "document.getElementById('status').textContent"
ANSWERS = """[...document.querySelectorAll('.result')].reverse().map((each) =>
  each.dataset.answer ? JSON.parse(each.dataset.answer) : each.innerText)"""


def ready(tab: chromium.Chromium, address: str) -> None:
    tab.open(address)
    assert tab.wait_for(f"{STATUS} !== 'Loading the classifier…' && {STATUS}") == "Ready."


def answers(tab: chromium.Chromium, count: int) -> list[Any]:
    tab.wait_for(f"document.querySelectorAll('.result').length === {count} && !/^Working/.test({STATUS})")
    found: list[Any] = tab.evaluate(ANSWERS)
    return found


@pytest.fixture(scope="module")
def photos(garden: Path, unseen: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty photos of the sample, and files that are hard to read alike."""
    folder = tmp_path_factory.mktemp("photos")
    chosen = [*sorted(unseen.glob("*.png")), *sorted(garden.rglob("*.png"))[::7]][:20]
    photo = Image.open(unseen / "flowers-yellow-flower.png").convert("RGB")
    large = photo.resize((1200, 1000), Image.Resampling.LANCZOS)
    for turn in (3, 6):
        exif = Image.Exif()
        exif[0x0112] = turn
        large.save(folder / f"turned-{turn}.jpg", exif=exif, quality=90)
    image(1, (300, 900)).quantize(32).save(folder / "palette.gif")
    clear = image(2, (400, 300)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((400, 300)))
    clear.save(folder / "clear.png")
    image(3, (7, 5)).convert("L").save(folder / "tiny-grey.jpg")
    return [*chosen, *sorted(folder.iterdir())]


def test_the_browser_answers_like_predict(
    tab: chromium.Chromium, address: Callable[[Path], str], exported: Path, trained: Trained, photos: list[Path]
) -> None:
    served = address(exported)
    ready(tab, served)
    tab.choose("#files", photos)
    found, bundle = answers(tab, len(photos)), package.load(trained.bundle)
    for file, answer, wanted in zip(photos, found, bundle.predict(photos), strict=True):
        assert isinstance(answer, dict), answer
        # alike, but not the same: a JPEG that is reduced while it is read
        alike = file.name.startswith("turned") or not IS_NEW_PILLOW
        apart = np.abs(np.array(answer["probabilities"]) - bundle.predict_proba(file)[0]).max()
        assert apart <= (0.01 if alike else 1e-4), (file.name, apart)
        assert bundle.classes[int(np.argmax(answer["probabilities"]))] == wanted.label
        assert answer["unknown"] == wanted.unknown, file.name
    assert all(each.startswith((served, "data:")) for each in tab.requests()), tab.requests()
    assert f"{served}litert/wasm/litert_wasm_internal.wasm" in tab.requests()
    tree = [node for node in tab.call("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree}
    assert {("button", "Choose images"), ("button", "Clear"), ("image", photos[0].name)} <= named
    assert "status" in {role for role, _ in named}


def test_images_are_dropped_and_pasted(
    tab: chromium.Chromium, address: Callable[[Path], str], exported: Path, unseen: Path
) -> None:
    ready(tab, address(exported))
    file = sorted(unseen.glob("*.png"))[0]
    data = base64.b64encode(file.read_bytes()).decode()
    tab.evaluate(f"""
const bytes = Uint8Array.from(atob("{data}"), (letter) => letter.charCodeAt(0));
const held = () => {{
  const data = new DataTransfer();
  data.items.add(new File([bytes], "photo.png", {{ type: "image/png" }}));
  return data;
}};
document.body.dispatchEvent(new DragEvent("drop", {{ dataTransfer: held(), bubbles: true, cancelable: true }}));
document.body.dispatchEvent(new ClipboardEvent("paste", {{ clipboardData: held(), bubbles: true }}));
""")
    first, second = answers(tab, 2)
    assert first == second
    assert first["unknown"] is False
    assert tab.evaluate(STATUS) == "Done: 2 images."
    tab.evaluate("document.getElementById('clear').click()")
    assert tab.evaluate(f"[{STATUS}, document.activeElement.id]") == ["Cleared.", "files"]
    tab.evaluate(
        "document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: new DataTransfer(), bubbles: true }))"
    )
    assert tab.evaluate(STATUS) == "There is no image on the clipboard."


def test_names_stay_text_and_fit_a_phone(
    tab: chromium.Chromium, address: Callable[[Path], str], exported: Path, unseen: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "web"
    shutil.copytree(exported, folder)
    card = json.loads((folder / "model.json").read_text())
    card["classes"], card["source"]["name"] = list(NAMES), f"{NAMES[0]}.tlkit"
    (folder / "model.json").write_text(json.dumps(card))
    file = tmp_path / f"{NAMES[0]}.png"
    shutil.copy(sorted(unseen.glob("*.png"))[0], file)
    ready(tab, address(folder))
    tab.screenshot(tmp_path / "phone.png", 400, 800, "dark")
    tab.choose("#files", [file])
    answers(tab, 1)
    shown = tab.evaluate("[...document.querySelectorAll('.bars span:first-child')].map((each) => each.textContent)")
    assert set(shown) >= set(NAMES)
    assert tab.evaluate("document.title") == NAMES[0]
    assert tab.evaluate("document.querySelectorAll('img, b').length") == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"


def test_what_goes_wrong_is_said(
    tab: chromium.Chromium, address: Callable[[Path], str], exported: Path, tmp_path: Path
) -> None:
    ready(tab, address(exported))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    tab.choose("#files", [broken])
    assert "This browser cannot read the file as an image." in answers(tab, 1)[0]
    folder = tmp_path / "web"
    shutil.copytree(exported, folder)
    (folder / "model.tflite").unlink()
    tab.open(address(folder))
    tab.wait_for(f"{STATUS} === 'The classifier cannot be loaded: model.tflite cannot be loaded (status 404)'")
    tab.open((exported / "index.html").as_uri())
    assert "python -m http.server" in tab.evaluate(STATUS)
