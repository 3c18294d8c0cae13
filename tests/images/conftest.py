"""Give the tests the corpus of images, whatever way pytest imports them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tlkit.images import read


def _load_corpus() -> ModuleType:
    name = "images_corpus"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("corpus.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up while it is being executed.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_corpus = _load_corpus()


@pytest.fixture(autouse=True)
def _warnings_as_outside_pytest() -> None:
    """Put back the filter the reader sets when it is imported: pytest starts each test with its own."""
    read._silence_pillow()


@pytest.fixture(scope="session")
def corpus() -> ModuleType:
    """The module `corpus.py`."""
    return _corpus


@pytest.fixture(scope="session")
def corpus_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """The good and the bad images, as files."""
    return _corpus.write(tmp_path_factory.mktemp("corpus"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `good_image` or `bad_image` once for each of them."""
    for fixture, cases in (("good_image", _corpus.good), ("bad_image", _corpus.bad)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, cases().values(), ids=cases().keys())
