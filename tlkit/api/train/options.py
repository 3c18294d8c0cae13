"""What ``train`` was asked for, as plain data: checked at once, kept with a run so that it can be taken up again."""

from __future__ import annotations

import math
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tlkit.advisor.advise import MEASURED, Advice, check_advisor
from tlkit.backbones import catalog
from tlkit.backbones.engines import AUTO as AUTO_ENGINE
from tlkit.backbones.engines import check_engine
from tlkit.backbones.own.keras_file import checked_preprocessing
from tlkit.backbones.weights.loading import IMAGENET
from tlkit.errors import TlkitError
from tlkit.finetune.augmentation import AUTO as AUTO_AUGMENT
from tlkit.finetune.augmentation import check_augment
from tlkit.images.splits import check_test_split
from tlkit.images.stratified import check_fraction
from tlkit.linear.flip_check import FlipCheck
from tlkit.linear.ood import RATE, check_rate
from tlkit.linear.taps import check_boundary
from tlkit.plan.fields import checked
from tlkit.plan.plan import AUTO as AUTO_STRATEGY
from tlkit.plan.plan import EARLY, FREEZE, LAST, check_features, check_strategy

CLASS_WEIGHTS = ("auto", "none")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class TrainOptions:
    """Every option of ``train`` that decides its result; see `tlkit.api.train.run.train` for what they mean.

    ``expected`` and ``advice`` are what the advisor said where it chose the strategy: the accuracy with its interval's
    ends, 0..1, and its reasons; ``flips`` is what it saw of mirrored images, None: nothing. ``backbone_sha256`` is
    the hash of the file that the backbone must be, where a plan or an earlier start says so.
    """

    images: str
    strategy: str = AUTO_STRATEGY
    advisor: str = MEASURED
    pilot: bool = False
    features: str = LAST
    boundary: str | None = None
    backbone: str = catalog.DEFAULT
    backbone_sha256: str | None = None
    preprocessing: str | None = None
    max_params: float | None = None
    max_latency: float | None = None
    weights: str = IMAGENET
    from_bundle: str | None = None
    image_size: int | None = None
    val_split: float = 0.2
    test_split: float | None = None
    class_weights: str = "auto"
    drop_leaks: bool = False
    epochs: float | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    augment: str = AUTO_AUGMENT
    mixed_precision: bool | None = None
    time_budget: float | None = None
    tensorboard: str | None = None
    engine: str = AUTO_ENGINE
    unknown_rate: float = RATE
    report: bool = True
    seed: int = 0
    expected: tuple[float, float, float] | None = None
    advice: tuple[str, ...] = ()
    flips: FlipCheck | None = None

    @property
    def tunes(self) -> bool:
        """Whether weights are trained, beyond the head that is solved."""
        return self.strategy != FREEZE and self.epochs != 0

    def check(self) -> None:
        """Refuse what cannot be, before any work.

        Raises:
            TlkitError: A value is unknown, out of range or has no meaning with the strategy.
        """
        check_strategy(self.strategy)
        check_advisor(self.advisor)
        if self.pilot and (self.strategy != AUTO_STRATEGY or self.advisor != MEASURED):
            raise TlkitError(
                "--pilot has no meaning where nothing is measured",
                "it goes with --strategy auto and --advisor measured",
            )
        check_features(self.features)
        check_boundary(self.boundary, self.strategy)
        check_fraction(self.val_split)
        check_test_split(self.test_split, self.val_split)
        check_engine(self.engine)
        if self.preprocessing is not None:
            checked_preprocessing(self.preprocessing)
            if not catalog.is_file_name(self.backbone):
                raise TlkitError(
                    "--preprocessing has no meaning without a backbone of your own", "it goes with a .keras file"
                )
        check_augment(self.augment)
        if self.class_weights not in CLASS_WEIGHTS:
            raise TlkitError(f"unknown --class-weights '{self.class_weights}'", f"one of {', '.join(CLASS_WEIGHTS)}")
        _check_range("--epochs", self.epochs, least=0)
        _check_range("--learning-rate", self.learning_rate, above=0, most=1)
        _check_range("--batch-size", self.batch_size, least=1)
        _check_range("--time-budget", self.time_budget, above=0)
        _check_range("--max-params", self.max_params, above=0)
        _check_range("--max-latency", self.max_latency, above=0)
        check_rate(self.unknown_rate)
        if self.epochs == 0 and self.strategy not in (FREEZE, EARLY):
            raise TlkitError(
                f"--epochs 0 leaves nothing of {self.strategy}", f"--strategy {FREEZE} solves the head alone"
            )
        if not self.tunes:
            self._refuse_tuning()

    def _refuse_tuning(self) -> None:
        given = {
            "--learning-rate": self.learning_rate is not None,
            "--epochs": self.epochs not in (None, 0),
            "--batch-size": self.batch_size is not None,
            "--augment": self.augment != AUTO_AUGMENT,
            "--mixed-precision": self.mixed_precision is not None,
            "--tensorboard": self.tensorboard is not None,
        }
        if wrong := [name for name, is_given in given.items() if is_given]:
            raise TlkitError(
                f"{wrong[0]} has no meaning where no weights are trained",
                "it goes with --strategy fine-tune, last-layers and early-layers",
            )

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dump``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrainOptions:
        """Rebuild what `to_json` gave.

        Raises:
            TlkitError: Fields are missing or unknown.
        """
        found = dict(checked(cls, data, "set of options"))
        if found.get("expected") is not None:
            found["expected"] = tuple(found["expected"])
        if found.get("flips") is not None:
            found["flips"] = FlipCheck(**found["flips"])
        return cls(**{**found, "advice": tuple(found.get("advice", ()))})

    def with_advice(self, advice: Advice) -> TrainOptions:
        """The options with the strategy that the advisor chose; what has no meaning with it is left out."""
        changed = replace(
            self,
            strategy=advice.strategy,
            pilot=False,
            features=self.features if self.features != LAST else advice.features,
            boundary=advice.boundary,
            expected=advice.expected,
            advice=(*self.advice, *advice.reasons),
        )
        if changed.tunes:
            return changed
        return replace(
            changed,
            epochs=None,
            learning_rate=None,
            batch_size=None,
            augment=AUTO_AUGMENT,
            mixed_precision=None,
            tensorboard=None,
        )


def parse_time(text: str) -> float:
    """Seconds of a time such as "90s", "10m", "1.5h" or "600".

    Raises:
        TlkitError: It is no such time, or not above zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text, re.IGNORECASE)
    seconds = float(found[1]) * _UNITS[found[2].lower()] if found else 0.0
    if not seconds > 0:
        raise TlkitError(f"not a time: --time-budget '{text}'", "such as 90s, 10m or 1.5h")
    return seconds


def absolute_backbone(backbone: str) -> str:
    """A name as it is, a file's path so that it means the same from another folder."""
    return absolute(backbone) if catalog.is_file_name(backbone) else backbone


def absolute(path: str | os.PathLike[str]) -> str:
    """A path that means the same from another folder."""
    return str(Path(path).expanduser().absolute())


def _check_range(
    name: str, value: float | None, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> None:
    if value is None:
        return
    if not math.isfinite(value) or value < least or value <= above or value > most:
        bound = f"at least {least:g}" if least > -math.inf else f"above {above:g}"
        raise TlkitError(f"{name} must be {bound}{f' and at most {most:g}' if most < math.inf else ''}, not {value:g}")
