"""The result of a run, before its bundle is written."""

from __future__ import annotations

from dataclasses import dataclass

from tlkit.api.train.dataset import Dataset, Skipped, skipped_files
from tlkit.api.train.run_dir import Place, RunDir
from tlkit.api.train.start import Start
from tlkit.api.train.trained import Trained
from tlkit.backbones.extractor import Extractor
from tlkit.images.folder import ImageFolder


@dataclass(frozen=True)
class Finished:
    """The result of a run, before its bundle is written.

    Attributes:
        trained: The network and its metrics.
        dataset: Images and split.
        extractor: The backbone.
        start: What training started from.
        folder: The images found.
        place: Where the bundle goes.
        run: The folder of a run that fine-tunes; None: only a head was solved.
        added_to: Name of the bundle that images were added to; "": none. The names of its images begin with it.
        taps: Names of the taps of the head in the extractor, if they differ from those of the plan.
    """

    trained: Trained
    dataset: Dataset
    extractor: Extractor
    start: Start
    folder: ImageFolder
    place: Place
    run: RunDir | None
    added_to: str = ""
    taps: tuple[str, ...] = ()

    @property
    def head_taps(self) -> tuple[str, ...]:
        """Names of the taps of the head, as the extractor names them."""
        return self.taps or self.trained.plan.taps

    @property
    def skipped(self) -> Skipped:
        """(file, reason) of every image that could not be read."""
        return skipped_files(self.folder, self.dataset.features)
