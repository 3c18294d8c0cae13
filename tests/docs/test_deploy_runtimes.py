"""The snippets of docs/deploy.md for ONNX Runtime, OpenVINO, batches and the browser, and what its Dockerfile names."""

from __future__ import annotations

import configparser
import functools
import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import chromium
import pytest
from conftest import ROOT, Ran, Trained
from PIL import Image

import tlkit as package
from tlkit.api.predict import Prediction
from tlkit.errors import TlkitError
from tlkit.formats.web_runtime import COMMAND, find_web_runtime

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def snippet(title: str, language: str) -> str:
    """The first block in a language, in the section of that title."""
    found = re.search(rf"^```{language}\n(.*?)^```", dict(SECTION.findall(PAGE))[title], re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def place(trained: Trained, unseen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``photo.jpg``, turned by its EXIF data, and ``garden.tlkit``."""
    folder = tmp_path_factory.mktemp("deploy")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.open(unseen / "birds-magpie.png").convert("RGB")
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "photo.jpg", exif=exif, quality=95)
    shutil.copytree(trained.bundle, folder / "garden.tlkit")
    return folder


@pytest.fixture(scope="module")
def wanted(place: Path, trained: Trained) -> Prediction:
    return package.load(trained.bundle).predict(place / "photo.jpg")


@pytest.fixture
def run(
    place: Path, tlkit: Callable[..., Ran], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], list[str]]:
    """Runs what a section says: its export, then its Python; gives the printed lines."""

    def do(title: str) -> list[str]:
        for line in snippet(title, "sh").splitlines() if "```sh" in dict(SECTION.findall(PAGE))[title] else ():
            if line.startswith("tlkit export"):
                ran = tlkit(*line.split("#")[0].split()[1:], cwd=place)
                assert ran.code == 0, ran.err
        monkeypatch.chdir(place)
        capsys.readouterr()
        exec(compile(snippet(title, "python"), "docs/deploy.md", "exec"), {"__name__": "__main__"})
        return capsys.readouterr().out.splitlines()

    return do


def check(line: str, wanted: Prediction) -> None:
    label, probability = line.rsplit(" ", 1)
    assert label == wanted.label
    assert float(probability) == pytest.approx(wanted.probability, abs=0.001)


def test_onnx_runtime_answers_like_predict(run: Callable[[str], list[str]], wanted: Prediction) -> None:
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    line, known = run("Python with ONNX Runtime")
    check(line, wanted)
    assert known == ("unknown" if wanted.unknown else "known")


def test_openvino_answers_like_predict(run: Callable[[str], list[str]], wanted: Prediction) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    (line,) = run("Intel processors with OpenVINO")
    check(line, wanted)


def test_batches_are_labelled(run: Callable[[str], list[str]], wanted: Prediction) -> None:
    (line,) = run("Batch jobs")
    assert line.startswith(f"['{wanted.label}' None] [None '")


def test_a_batch_job_is_resumed(tlkit: Callable[..., Ran], place: Path) -> None:
    (place / "photos").mkdir()
    shutil.copy(place / "photo.jpg", place / "photos")
    first, second = snippet("Batch jobs", "sh").splitlines()
    assert tlkit(*first.split()[1:], cwd=place).code == 0
    written = (place / "labels.csv").read_text()
    ran = tlkit(*second.split()[1:], cwd=place)
    assert (ran.code, "output exists" in ran.err) == (2, True)  # the run had ended
    assert (place / "labels.csv").read_text() == written


class Server(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def served(place: Path, tlkit: Callable[..., Ran]) -> Iterator[str]:
    """The address of the page that the section on browsers exports, with a page of one's own beside it."""
    runtime = Path(os.environ.get("TLKIT_WEB_RUNTIME", ROOT / "node_modules"))
    try:
        find_web_runtime(runtime)
    except TlkitError as missing:
        pytest.skip(f"{missing}; TLKIT_WEB_RUNTIME may name its folder")
    if chromium.found() is None:
        pytest.skip("Chromium is not installed")
    install, export, serve = snippet("In a browser", "sh").splitlines()
    assert install == COMMAND
    ran = tlkit(*export.split()[1:], "--runtime", runtime, cwd=place)
    assert ran.code == 0, ran.err
    folder = place / serve.split()[-1]
    (folder / "own.js").write_text(snippet("In a browser", "js"))
    (folder / "own.html").write_text(
        '<!doctype html><body><script type="module">\n'
        'import { classify } from "./own.js";\nself.classify = classify;\n</script>\n'
    )
    shutil.copy(place / "photo.jpg", folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_a_page_of_ones_own_answers_like_predict(served: str, wanted: Prediction) -> None:
    with chromium.Chromium() as tab:
        tab.open(f"{served}own.html")
        tab.wait_for("self.classify !== undefined")
        found = tab.evaluate('fetch("photo.jpg").then((answer) => answer.blob()).then((file) => classify(file))')
    assert found[0][0] == wanted.label
    assert found[0][1] == pytest.approx(wanted.probability, abs=1e-3)


def test_the_dockerfile_names_what_serve_needs() -> None:
    text = (ROOT / "docs" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    (serve,) = re.findall(r"--no-compile (starlette .*?) \\", text)
    extra = settings["options.extras_require"]["serve"].split()
    assert set(serve.split()) == {re.split("[<>=]", each)[0] for each in extra} | {"h5py", "matplotlib"}
    assert (ROOT / "predict-only.txt").exists()
    assert json.loads(text.split("ENTRYPOINT ")[1].splitlines()[0]) == ["tlkit"]
