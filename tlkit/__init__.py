"""tlkit: a folder of photographs in, a trustworthy image classifier out.

>>> import tlkit
>>> result = tlkit.train("images")  # doctest: +SKIP
>>> for row in tlkit.predict("photos", model=result.model):  # doctest: +SKIP
...     print(row.file, row.label, row.probability)
>>> classifier = tlkit.load(result.model)  # doctest: +SKIP
>>> classifier.predict("photo.jpg").label  # doctest: +SKIP

Names are imported when first used, so ``import tlkit`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tlkit.version import VERSION

__version__ = VERSION

_HOME = {
    "train": "tlkit.api.train.run",
    "resume": "tlkit.api.train.run",
    "TrainResult": "tlkit.api.train.run",
    "recommend": "tlkit.api.recommend.recommend",
    "Recommendation": "tlkit.api.recommend.recommend",
    "predict": "tlkit.api.predict",
    "predict_iter": "tlkit.api.predict",
    "Prediction": "tlkit.api.predict",
    "predict_file": "tlkit.api.predict_file",
    "Predicted": "tlkit.api.predict_file",
    "merge": "tlkit.api.merge",
    "Merged": "tlkit.api.merge",
    "sort_into": "tlkit.api.sort",
    "Sorted": "tlkit.api.sort",
    "undo": "tlkit.api.sort",
    "embed": "tlkit.api.embed.embed",
    "embed_file": "tlkit.api.embed.file",
    "embed_iter": "tlkit.api.embed.embed",
    "Embedded": "tlkit.api.embed.file",
    "Embedding": "tlkit.api.embed.embed",
    "evaluate": "tlkit.api.evaluate",
    "Evaluation": "tlkit.api.evaluation",
    "explain": "tlkit.api.explain",
    "export": "tlkit.api.export.export",
    "Exported": "tlkit.api.export.result",
    "Explained": "tlkit.api.explain",
    "review": "tlkit.serve.review",
    "Applied": "tlkit.api.review_apply",
    "check": "tlkit.api.check",
    "check_part": "tlkit.api.check_parts",
    "features": "tlkit.api.features",
    "Kept": "tlkit.api.features",
    "Part": "tlkit.api.part_file",
    "compare": "tlkit.api.compare",
    "Comparison": "tlkit.api.comparison",
    "Checked": "tlkit.images.check",
    "load": "tlkit.api.classifier",
    "Classifier": "tlkit.api.classifier",
    "Bundle": "tlkit.bundle.load",
    "suggest": "tlkit.api.suggest",
    "Suggested": "tlkit.api.suggest",
    "Suggestion": "tlkit.api.suggest",
    "TlkitError": "tlkit.errors",
}
__all__ = [
    "Applied",
    "Bundle",
    "Checked",
    "Classifier",
    "Comparison",
    "Embedded",
    "Embedding",
    "Evaluation",
    "Explained",
    "Exported",
    "Kept",
    "Merged",
    "Part",
    "Predicted",
    "Prediction",
    "Recommendation",
    "Sorted",
    "Suggested",
    "Suggestion",
    "TlkitError",
    "TrainResult",
    "check",
    "check_part",
    "compare",
    "embed",
    "embed_file",
    "embed_iter",
    "evaluate",
    "explain",
    "export",
    "features",
    "load",
    "merge",
    "predict",
    "predict_file",
    "predict_iter",
    "recommend",
    "resume",
    "review",
    "sort_into",
    "suggest",
    "train",
    "undo",
]

if TYPE_CHECKING:
    from tlkit.api.check import check
    from tlkit.api.check_parts import check_part
    from tlkit.api.classifier import Classifier, load
    from tlkit.api.compare import compare
    from tlkit.api.comparison import Comparison
    from tlkit.api.embed.embed import Embedding, embed, embed_iter
    from tlkit.api.embed.file import Embedded, embed_file
    from tlkit.api.evaluate import evaluate
    from tlkit.api.evaluation import Evaluation
    from tlkit.api.explain import Explained, explain
    from tlkit.api.export.export import export
    from tlkit.api.export.result import Exported
    from tlkit.api.features import Kept, features
    from tlkit.api.merge import Merged, merge
    from tlkit.api.part_file import Part
    from tlkit.api.predict import Prediction, predict, predict_iter
    from tlkit.api.predict_file import Predicted, predict_file
    from tlkit.api.recommend.recommend import Recommendation, recommend
    from tlkit.api.review_apply import Applied
    from tlkit.api.sort import Sorted, sort_into, undo
    from tlkit.api.suggest import Suggested, Suggestion, suggest
    from tlkit.api.train.run import TrainResult, resume, train
    from tlkit.bundle.load import Bundle
    from tlkit.errors import TlkitError
    from tlkit.images.check import Checked
    from tlkit.serve.review import review


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tlkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
